//! The decision (DESIGN §9): who asks, on the canonical request, against one version of the state. What it answers
//! is a value that nothing else can make, and it owns the request it was made for: what is injected was decided on
//! the same object (invariant 3).

mod chosen;
mod denial;
mod permit;
mod permitted;
mod reveal;

pub use denial::{Denial, Miss, Reason};
pub use permit::{Dial, Fill, Passage, Permit};
pub use reveal::{RevealPermit, decide_reveal};

use crate::placeholder::{self, Place, Placed};
use crate::request::CanonicalRequest;
use crate::state::{AgentState, PolicyState};
use avouch_words::{Millis, Name, Selector, Ulid};
use permit::Conflict;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who asks, as attested by the connection; nothing of it comes from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The agent.
    pub agent: Name,
    /// The running instance of it.
    pub instance: Ulid,
    /// The session whose listener the request came in by.
    pub session: Ulid,
    /// What is known of that session; empty where nothing is.
    pub facts: Arc<BTreeSet<Selector>>,
    /// Whether the session stands behind walls that were verified: it decides what `egress.unbound` is by default.
    pub contained: bool,
}

/// What the decision answers.
#[derive(Debug)]
pub enum Verdict {
    /// Fill the slots and send.
    Allow(Permit),
    /// Do not send.
    Deny(Denial),
    /// No credential of the trust domain binds this host and port: what happens is the setting `egress.unbound`'s.
    Unbound(Passage),
}

/// Decides. `decision` is the new identifier under which this answer is recorded.
pub fn decide(state: &PolicyState, caller: &Caller, request: CanonicalRequest, now: Millis, decision: Ulid) -> Verdict {
    let deny = |reason| Verdict::Deny(Denial::new(decision, state.version(), reason));
    // A lock stands before every other question, boundness included: a locked agent gets no bytes out.
    if let Err(reason) = standing(state, caller, now) {
        return deny(reason);
    }
    if let Some(place) = placeholder::in_target(&request) {
        return deny(Reason::Misplaced { place });
    }
    if !state.is_bound(request.origin()) {
        match request.placed().first() {
            None => {}
            Some(Placed::Name) => return deny(Reason::Misplaced { place: Place::HeaderName }),
            Some(Placed::Value { .. }) => return deny(Reason::Misplaced { place: Place::Header }),
        }
        return Verdict::Unbound(Passage::new(decision, state.version(), caller.clone(), request));
    }
    let permitted = permitted::permitted(state, caller, &request);
    let candidates = match chosen::chosen(state, caller, &request, permitted) {
        Ok(candidates) => candidates,
        Err(reason) => return deny(reason),
    };
    match Permit::new(decision, state.version(), caller.clone(), request, &candidates) {
        Ok(permit) => Verdict::Allow(permit),
        Err(Conflict::Slot { header, credentials }) => deny(Reason::AmbiguousSlot { header, credentials }),
        Err(Conflict::Route { credentials }) => deny(Reason::AmbiguousRoute { credentials }),
    }
}

/// Whether the agent may do anything at all.
fn standing(state: &PolicyState, caller: &Caller, now: Millis) -> Result<(), Reason> {
    if let Some(lock) = state.lock_on(&caller.agent, now) {
        return Err(Reason::Locked { lock: lock.id });
    }
    match state.agent(&caller.agent) {
        Some(AgentState::Active) => Ok(()),
        Some(
            held @ (AgentState::Registered | AgentState::Suspended | AgentState::Quarantined | AgentState::Retired),
        ) => Err(Reason::NotActive { state: held }),
        None => Err(Reason::UnknownAgent),
    }
}

#[cfg(test)]
mod tests;
