//! What the calls for brokered identities have in common: for whom they are, and how those that are no agent's are kept.

use super::order::Order;
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use avouch_audit::field::{Code, Moment, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::Node;
use avouch_core::issue::{Bearer, Probe};
use avouch_core::refusal::Denial;
use avouch_words::{Millis, Ulid};

/// For whom a brokered identity is asked.
pub(super) enum Whose {
    /// An instance of an agent.
    Agent(Order),
    /// The node, or a name that is nobody's.
    Bearer(Bearer),
}

impl Whose {
    pub(super) fn parse(app: &App, agent: &str, instance: &str, probe: bool) -> Result<Self, Failure> {
        match (agent.is_empty() && instance.is_empty(), probe) {
            (true, false) => Ok(Self::Bearer(Bearer::Node)),
            (true, true) => Ok(Self::Bearer(Bearer::Probe(Probe::new(&*app.rng)?))),
            (false, false) => Order::parse(agent, instance).map(Self::Agent),
            (false, true) => Err(Failure::malformed("probe", "is for no agent: leave agent and instance empty")),
        }
    }

    /// The agent asked for, as refusals are recorded.
    pub(super) fn agent(&self) -> &str {
        match self {
            Self::Agent(order) => order.agent.as_str(),
            Self::Bearer(Bearer::Node) => "",
            Self::Bearer(Bearer::Probe(probe)) => probe.name().as_str(),
        }
    }
}

/// What was signed for a bearer, and may not leave yet.
pub(super) struct Made<'a> {
    pub(super) bearer: &'a Bearer,
    /// `jwt` or `x509`.
    pub(super) kind: &'static str,
    pub(super) audience: Option<&'a str>,
    /// Its `jti`, or its serial.
    pub(super) id: String,
    /// The authority that signed it; none if that was a key that was brought.
    pub(super) authority: Option<Ulid>,
    pub(super) expires: Millis,
}

/// Records what was signed for a bearer, after deciding once more on what the transaction knows of the node; then it
/// may leave.
pub(super) async fn keep(
    app: &App,
    caller: &NodeCaller,
    made: Made<'_>,
    decide: impl Fn(&Node) -> Result<(), Denial>,
) -> Result<(), Failure> {
    let mut tx = app.store.begin().await?;
    let node = tx.node(&caller.node.name).await?.ok_or(Denial::Node)?;
    decide(&node)?;
    if let Some(authority) = made.authority {
        tx.note_expiry(authority, made.expires).await?;
    }
    let (node, kind, audience) = (node.id, Code::of(made.kind), made.audience.map(Outside::of));
    let (id, expires) = (Outside::of(made.id), Moment::from(made.expires));
    let event = match made.bearer {
        Bearer::Node => IssuerEvent::BrokeredNodeIssued { node, kind, audience, id, expires },
        Bearer::Probe(probe) => {
            IssuerEvent::ProbeIssued { probe: probe.name().clone(), node, kind, audience, id, expires }
        }
    };
    app.record(&mut tx, event).await?;
    Ok(app.commit(tx).await?)
}
