//! What the orders of nodes have in common: an agent and its instance, decided on one state.

use crate::app::App;
use crate::error::Failure;
use crate::state::State;
use avouch_audit::field::{Code, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::issue::Asked;
use avouch_core::{Agent, Instance, Lock, Node, Refusal};
use avouch_store::{StoreError, Tx};
use avouch_words::{Millis, Name, Ulid};
use std::collections::{BTreeMap, BTreeSet};

/// For whom something is to be signed.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) agent: Name,
    pub(super) instance: Ulid,
}

impl Order {
    pub(super) fn parse(agent: &str, instance: &str) -> Result<Self, Failure> {
        Ok(Self {
            agent: Name::parse(agent).map_err(|why| Failure::malformed("agent", why))?,
            instance: Ulid::parse(instance)
                .map_err(|_| Failure::malformed("instance", "is not an identifier of an instance"))?,
        })
    }

    /// The instance as it is kept once something was signed for it.
    pub(super) fn live(&self, node: &Node, now: Millis) -> Instance {
        Instance { id: self.instance, agent: self.agent.clone(), node: node.name.clone(), started: now, ended: None }
    }
}

/// What a decision is made on.
pub(super) struct Ground<'a> {
    pub(super) node: &'a Node,
    pub(super) state: &'a State,
    /// The agents as they are now, if that is not as in the state.
    pub(super) agents: Option<&'a BTreeMap<Name, Agent>>,
    pub(super) known: &'a BTreeMap<Ulid, Instance>,
    pub(super) locks: &'a [Lock],
    pub(super) now: Millis,
}

impl<'a> Ground<'a> {
    pub(super) fn asked(&self, order: &Order) -> Asked<'a> {
        Asked {
            node: self.node,
            agent: match self.agents {
                Some(agents) => agents.get(&order.agent),
                None => self.state.agent(&order.agent),
            },
            instance: order.instance,
            known: self.known.get(&order.instance),
            locks: self.locks,
            now: self.now,
        }
    }
}

/// What a transaction knows better than the state that was decided on: the node, its instances, the agents and the locks,
/// none of which can change any more before the commit, at whichever issuer.
pub(super) struct Latest {
    pub(super) node: Node,
    pub(super) known: BTreeMap<Ulid, Instance>,
    /// None if the state is still the newest.
    newer: Option<(Vec<Lock>, BTreeMap<Name, Agent>)>,
}

impl Latest {
    pub(super) async fn read(tx: &mut Tx, state: &State, node: &Name, orders: &[&Order]) -> Result<Self, Failure> {
        let node = tx.node(node).await?.ok_or(avouch_core::Denial::Node)?;
        let instances: Vec<Ulid> = orders.iter().map(|order| order.instance).collect();
        let known = tx.instances(&instances).await?;
        if tx.meta().await?.version == state.version {
            return Ok(Self { node, known, newer: None });
        }
        let names: BTreeSet<&Name> = orders.iter().map(|order| &order.agent).collect();
        let mut agents = BTreeMap::new();
        for name in names {
            agents.extend(tx.agent(name).await?.map(|agent| (name.clone(), agent)));
        }
        Ok(Self { node, known, newer: Some((tx.standing_locks().await?, agents)) })
    }

    pub(super) fn ground<'a>(&'a self, state: &'a State, now: Millis) -> Ground<'a> {
        let (locks, agents) = match &self.newer {
            Some((locks, agents)) => (locks.as_slice(), Some(agents)),
            None => (state.locks(), None),
        };
        Ground { node: &self.node, state, agents, known: &self.known, locks, now }
    }
}

/// Records that something was not signed.
pub(super) async fn record_refusal(
    app: &App,
    tx: &mut Tx,
    agent: &str,
    node: &Node,
    kind: &'static str,
    failure: &Failure,
) -> Result<(), StoreError> {
    let reason = match failure {
        Failure::Refused(Refusal::Denied(denial)) => denial.as_str(),
        Failure::Refused(refusal) => refusal.code(),
        _ => "bad_request",
    };
    let refused = IssuerEvent::IssueRefused {
        agent: Outside::of(agent),
        node: node.id.clone(),
        kind: Code::of(kind),
        reason: Code::of(reason),
    };
    app.record(tx, refused).await
}
