//! Why a request is answered as it is, and the smallest change that would let it through. It is asked by operators,
//! about a request as it was recorded and the state of now; it makes no permit, and nothing it says reaches an agent.

mod open;

use crate::binding::{Binding, Mismatch};
use crate::decide::{Caller, Reason, Verdict, decide};
use crate::request::{Body, CanonicalRequest, TUNNEL};
use crate::state::{Grant, PolicyState, StateParts};
use avouch_words::{Millis, Name, Selector, Ulid};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most changes that are looked for in a row.
pub const MAX_CHANGES: usize = 16;

/// What is known of one request of one agent.
#[derive(Debug)]
pub struct Why {
    /// What would be decided now.
    pub now: Now,
    /// Credentials of the same origin that do not go with the request: granted ones first, then the nearest.
    pub misses: Vec<NearMiss>,
    /// What has to be done, in this order; empty if nothing has to be, or nothing that is known here would do.
    pub changes: Vec<Change>,
    /// After these changes the request is let through with a credential.
    pub enough: bool,
}

/// What would be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Now {
    /// Let through, with these credentials and by these grants.
    Allowed(Vec<(Name, Vec<Ulid>)>),
    /// Refused.
    Denied(Reason),
    /// No credential binds the target: the setting `egress.unbound` decides.
    Unbound,
}

/// A credential that is for the same origin, but not for this request.
#[derive(Clone, Debug)]
pub struct NearMiss {
    /// The credential.
    pub credential: Name,
    /// The agent has a grant of it.
    pub granted: bool,
    /// The first thing that does not fit; none if only a grant is missing.
    pub mismatch: Option<Mismatch>,
    /// Its binding.
    pub binding: Binding,
}

/// Something that an operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Release this lock.
    ReleaseLock(Ulid),
    /// Grant the agent this credential.
    Grant(Name),
    /// Make a credential that is bound so, with a value.
    Bind {
        /// Its name, which no other has.
        credential: Name,
        /// Where it may go: this request alone.
        binding: Binding,
    },
    /// Put a credential anew, bound wider by the query keys of this request.
    Widen {
        /// The credential.
        credential: Name,
        /// Its new binding.
        binding: Binding,
    },
    /// Take this grant back, as its credential and another one are for the same place in the request.
    DeleteGrant(Ulid),
    /// Run the agent in a session of which this fact is known.
    Require(Selector),
}

/// Looks for what the decision turns on. `parts` hold the agents of the caller's node, and the credentials, grants and
/// locks of the whole trust domain.
pub fn why(parts: &StateParts, caller: &Caller, request: &CanonicalRequest, now: Millis) -> Why {
    let within = within(parts, request);
    let request = within.as_ref().unwrap_or(request);
    let taken: BTreeSet<Name> = parts.credentials.iter().map(|credential| credential.name.clone()).collect();
    let mut parts = slice(parts, caller, request);
    let mut caller = caller.clone();
    let first = judge(&parts, &caller, request, now);
    let misses = if is_tunnel(request) { Vec::new() } else { open::misses(&parts, &caller, request) };
    let mut changes = Vec::new();
    let mut judged = first.clone();
    while changes.len() < MAX_CHANGES {
        let Some(change) = next(&parts, &caller, request, &judged, &taken) else { break };
        let change = if within.is_some() { open::whole(change) } else { change };
        change.apply(&mut parts, &mut caller, now);
        changes.push(change);
        judged = judge(&parts, &caller, request, now);
    }
    let enough = matches!(judged, Now::Allowed(_));
    if !enough {
        // Half of a way leads nowhere.
        changes.clear();
    }
    Why { now: first, misses, changes, enough }
}

/// A tunnel to what nothing binds passes or does not as the settings say. Bound, it is looked into: then what would be
/// asked within is asked about, beginning with `/`.
fn within(parts: &StateParts, request: &CanonicalRequest) -> Option<CanonicalRequest> {
    if !is_tunnel(request) || PolicyState::new(parts.clone()).is_bound(request.origin()) {
        return None;
    }
    CanonicalRequest::from_origin_form(request.origin().clone(), b"GET", b"/", Body::None).ok()
}

fn is_tunnel(request: &CanonicalRequest) -> bool {
    request.method().as_str() == TUNNEL
}

/// What the answer can depend on, so that a large trust domain is not copied at each step.
fn slice(parts: &StateParts, caller: &Caller, request: &CanonicalRequest) -> StateParts {
    let grants: Vec<Grant> = parts.grants.iter().filter(|grant| grant.agent == caller.agent).cloned().collect();
    let near = |binding: &Binding| {
        let (bound, asked) = (binding.origin(), request.origin());
        bound.host() == asked.host() && bound.port() == asked.port()
    };
    StateParts {
        version: parts.version,
        epoch: parts.epoch.clone(),
        agents: parts.agents.iter().filter(|agent| agent.name == caller.agent).cloned().collect(),
        credentials: parts.credentials.iter().filter(|credential| near(&credential.binding)).cloned().collect(),
        grants,
        locks: parts.locks.clone(),
        bound_origins: parts.bound_origins.clone(),
        reserved_audiences: Vec::new(),
    }
}

fn judge(parts: &StateParts, caller: &Caller, request: &CanonicalRequest, now: Millis) -> Now {
    // A decision that is thrown away needs no identifier of its own.
    let decision = Ulid::new(now, [0; 10]);
    match decide(&PolicyState::new(parts.clone()), caller, request.clone(), now, decision) {
        Verdict::Allow(permit) => {
            let fills = permit.fills().iter();
            Now::Allowed(fills.map(|fill| (fill.credential().clone(), fill.grants().to_vec())).collect())
        }
        Verdict::Deny(denial) => match denial.reason() {
            // A tunnel that is looked into stands open to whoever is not locked; each request in it is decided on.
            Reason::NotGranted { .. } | Reason::AmbiguousSlot { .. } | Reason::AmbiguousRoute { .. }
                if is_tunnel(request) =>
            {
                Now::Allowed(Vec::new())
            }
            reason => Now::Denied(reason.clone()),
        },
        Verdict::Unbound(_) => Now::Unbound,
    }
}

/// The change that takes the next obstacle away.
fn next(
    parts: &StateParts,
    caller: &Caller,
    request: &CanonicalRequest,
    judged: &Now,
    taken: &BTreeSet<Name>,
) -> Option<Change> {
    match judged {
        Now::Allowed(_) => None,
        Now::Unbound | Now::Denied(Reason::NotGranted { .. }) => open::open(parts, caller, request, taken),
        Now::Denied(Reason::Locked { lock }) => Some(Change::ReleaseLock(*lock)),
        Now::Denied(Reason::AmbiguousSlot { credentials, .. } | Reason::AmbiguousRoute { credentials }) => {
            let last = credentials.last()?;
            let grant = parts.grants.iter().find(|grant| grant.credential == *last)?;
            Some(Change::DeleteGrant(grant.id))
        }
        // Whoever is nobody here is made somebody with knowledge that is not in any state.
        Now::Denied(Reason::UnknownAgent | Reason::NotActive { .. }) => None,
        // No change of the state lets a placeholder through: the request has to be written anew.
        Now::Denied(Reason::Placeholder { .. } | Reason::Misplaced { .. }) => None,
    }
}

impl Change {
    /// The same, done to a copy.
    fn apply(&self, parts: &mut StateParts, caller: &mut Caller, now: Millis) {
        match self {
            Self::ReleaseLock(id) => parts.locks.retain(|lock| lock.id != *id),
            Self::Grant(credential) => parts.grants.push(Grant {
                id: Ulid::new(now, [0; 10]),
                agent: caller.agent.clone(),
                credential: credential.clone(),
            }),
            Self::Bind { credential, binding } | Self::Widen { credential, binding } => {
                open::put(&mut parts.credentials, credential, binding);
            }
            Self::DeleteGrant(id) => parts.grants.retain(|grant| grant.id != *id),
            Self::Require(fact) => {
                let mut facts = BTreeSet::clone(&caller.facts);
                facts.insert(fact.clone());
                caller.facts = Arc::new(facts);
            }
        }
    }
}

#[cfg(test)]
mod tests;
