//! Every open request, stream and tunnel, with what it was permitted on. Each change of the state judges all of them
//! again; what would no longer be permitted is cut, in both directions, at once (case A29).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use avouch_policy::{AgentState, Caller, CanonicalRequest, PolicyState, Verdict, decide, decide_reveal};
use avouch_words::{Digest, Millis, Name, Ulid};
use tokio_util::sync::CancellationToken;

/// What an open call was permitted as.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// A request with credentials in it; it has to be permitted with the same bindings of the same credentials.
    Call {
        /// The request.
        request: CanonicalRequest,
        /// [`avouch_policy::Permit::pool_key`].
        fills: Digest,
    },
    /// A request or tunnel to what nothing binds.
    Passage(CanonicalRequest),
    /// A value that a program holds; it has to be permitted as the same issue of the same credential.
    Reveal {
        /// The credential.
        credential: Name,
        /// Where it lies and how it is bound.
        issue: Digest,
    },
    /// A tunnel that is intercepted: each request in it is judged by itself, the tunnel by whose it is.
    Intercepted,
}

/// The open calls of all sessions.
#[derive(Debug, Default)]
pub(crate) struct OpenCalls {
    calls: Mutex<HashMap<u64, Open>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Open {
    caller: Caller,
    subject: Subject,
    cut: CancellationToken,
}

/// An entry in the registry; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    calls: Arc<OpenCalls>,
    id: u64,
    cut: CancellationToken,
}

impl OpenCalls {
    /// Enters a call. `ended` is the session's end, which cuts it as well.
    pub(crate) fn enter(self: &Arc<Self>, caller: &Caller, subject: Subject, ended: &CancellationToken) -> Entry {
        let cut = ended.child_token();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let open = Open { caller: caller.clone(), subject, cut: cut.clone() };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(id, open);
        Entry { calls: Arc::clone(self), id, cut }
    }

    /// Judges all calls on this state, and cuts those that it does not permit. How many were cut.
    pub(crate) fn judge(&self, state: &PolicyState, now: Millis) -> usize {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let losers = calls.values().filter(|open| !open.cut.is_cancelled() && !permitted(open, state, now));
        losers.map(|open| open.cut.cancel()).count()
    }

    /// Judges one call: for one that was decided on a state which a newer one has replaced before it was entered.
    pub(crate) fn judge_one(&self, entry: &Entry, state: &PolicyState, now: Millis) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.get(&entry.id).is_some_and(|open| !permitted(open, state, now)) {
            entry.cut.cancel();
        }
    }

    /// How many are open, of one agent or of all.
    pub(crate) fn count(&self, agent: Option<&Name>) -> usize {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.values().filter(|open| agent.is_none_or(|agent| &open.caller.agent == agent)).count()
    }
}

impl Entry {
    /// Cancelled when the call has to end.
    pub(crate) fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.calls.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

fn permitted(open: &Open, state: &PolicyState, now: Millis) -> bool {
    // The answer is not recorded: it only says whether an answer that was recorded still holds.
    let unrecorded = Ulid::new(now, [0; 10]);
    let again = |request: &CanonicalRequest| decide(state, &open.caller, request.clone(), now, unrecorded);
    match &open.subject {
        Subject::Call { request, fills } => {
            matches!(again(request), Verdict::Allow(permit) if permit.pool_key() == *fills)
        }
        Subject::Passage(request) => matches!(again(request), Verdict::Unbound(_)),
        Subject::Reveal { credential, issue } => {
            let again = decide_reveal(state, &open.caller, credential, now, unrecorded);
            again.is_ok_and(|permit| super::reveal::issue(permit.fill()) == *issue)
        }
        Subject::Intercepted => {
            state.lock_on(&open.caller.agent, now).is_none()
                && state.agent(&open.caller.agent) == Some(AgentState::Active)
        }
    }
}
