//! Who calls, what that caller is entitled to at this moment, and what wakes its streams.

use super::refusal::Refusal;
use crate::attest::{Attestor, NotAttested};
use crate::identity::instance::{Holder, Instances, Process};
use crate::identity::jwt::JwtSvids;
use crate::identity::{Identities, IdentityKey};
use crate::journal::Journal;
use crate::peer::Caller;
use crate::state::NodeState;
use avouch_audit::record;
use avouch_words::{Bundle, Clock, Ulid};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// What the calls are answered from.
pub struct Desk {
    /// The newest state that is in force here; none before the first.
    pub states: watch::Receiver<Option<Arc<NodeState>>>,
    /// X.509 identities.
    pub identities: Identities,
    /// JWT-SVIDs.
    pub jwt: Arc<JwtSvids>,
    /// Which instance a caller is.
    pub instances: Arc<Instances>,
    /// Who a caller is.
    pub attestor: Arc<Attestor>,
    /// Where refusals that matter are recorded.
    pub journal: Journal,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a caller may be served, at one moment.
pub struct Entitlement {
    /// The state it was judged by.
    pub state: Arc<NodeState>,
    /// At least one, by name of agent: the first is the default identity (WAC-17).
    pub identities: Vec<IdentityKey>,
    session: Option<Ulid>,
}

impl Entitlement {
    /// The caller as records name it.
    pub fn caller(&self, whose: &IdentityKey) -> record::Caller {
        record::Caller { agent: whose.agent.clone(), instance: whose.instance, session: self.session }
    }

    /// The trust domain's authorities.
    pub fn bundle(&self) -> &Bundle {
        &self.state.bundle
    }
}

impl Desk {
    /// The state in force.
    pub fn state(&self) -> Result<Arc<NodeState>, Refusal> {
        self.states.borrow().clone().ok_or(Refusal::NotReady)
    }

    /// Attests the caller (what was found before is only checked to hold still) and says what it is entitled to.
    pub async fn entitlement(&self, caller: &Caller) -> Result<Entitlement, Refusal> {
        let attested = self.attestor.attest(caller).await.map_err(|error| match error {
            NotAttested::Gone => Refusal::Gone,
            NotAttested::Refused => Refusal::NotEntitled,
        })?;
        let state = self.state()?;
        let session = attested.member.as_ref().map(|member| member.session);
        let holder = session.map_or(Holder::Uid(caller.uid()), Holder::Session);
        let mut identities = Vec::new();
        for (name, agent) in &state.agents {
            // Inside a session a process is that session's agent and no other, even where its facts fit more.
            let narrowed_out = attested.member.as_ref().is_some_and(|member| &member.agent != name);
            if narrowed_out || !agent.matches(&attested.facts) || !state.is_entitled(name) {
                continue;
            }
            let whose = self.instances.of(name, holder, &*self.clock).map_err(|_| Refusal::NotReady)?;
            self.instances.serve(name, holder, Process::of(caller.peer()));
            identities.push(whose);
            if identities.len() == MOST_IDENTITIES {
                break;
            }
        }
        if identities.is_empty() { Err(Refusal::NotEntitled) } else { Ok(Entitlement { state, identities, session }) }
    }
}

/// The hints of one answer: each stands there once (WAC-14), with the first that has it.
#[derive(Default)]
pub struct Hints(BTreeSet<String>);

impl Hints {
    /// The hint of the next identity in the answer.
    pub fn of(&mut self, state: &NodeState, whose: &IdentityKey) -> String {
        let hint = state.agents.get(&whose.agent).map_or("", |agent| agent.hint.as_str());
        if !hint.is_empty() && self.0.insert(hint.to_owned()) { hint.to_owned() } else { String::new() }
    }
}

/// What wakes a stream: a new state, a session that began or ended, the end of the caller.
pub struct Wakes {
    caller: Arc<Caller>,
    states: watch::Receiver<Option<Arc<NodeState>>>,
    sessions: watch::Receiver<u64>,
}

impl Wakes {
    /// For a stream of this caller.
    pub fn new(desk: &Desk, caller: Arc<Caller>) -> Self {
        Self { caller, states: desk.states.clone(), sessions: desk.attestor.sessions_changed() }
    }

    /// What is looked at from now on has been seen; only what comes later wakes.
    pub fn mark(&mut self) {
        self.states.mark_unchanged();
        self.sessions.mark_unchanged();
    }

    /// Waits for something new.
    pub async fn changed(&mut self) -> Result<(), Refusal> {
        tokio::select! {
            () = self.caller.exited() => Err(Refusal::Gone),
            changed = self.states.changed() => changed.map_err(|_| Refusal::NotReady),
            changed = self.sessions.changed() => changed.map_err(|_| Refusal::NotReady),
        }
    }
}

/// Identities served to one caller.
const MOST_IDENTITIES: usize = 64;
