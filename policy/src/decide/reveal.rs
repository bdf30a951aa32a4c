//! The decision on a value that a program is to hold itself: the same grants, locks and facts as for one that is put into
//! a request, and a binding that says that it may be had so.

use super::permit::Fill;
use super::permitted::Candidate;
use super::{Caller, Denial, Miss, Reason, standing};
use crate::binding::Mismatch;
use crate::state::PolicyState;
use avouch_words::{Millis, Name, Ulid};

/// Leave to give one credential's value to a program. Only the decision makes one.
#[derive(Debug)]
pub struct RevealPermit {
    decision: Ulid,
    version: u64,
    caller: Caller,
    fill: Fill,
}

/// Decides whether this caller may hold this credential's value. `decision` is the new identifier under which the answer
/// is recorded.
pub fn decide_reveal(
    state: &PolicyState,
    caller: &Caller,
    wanted: &Name,
    now: Millis,
    decision: Ulid,
) -> Result<RevealPermit, Denial> {
    let deny = |reason| Denial::new(decision, state.version(), reason);
    standing(state, caller, now).map_err(deny)?;
    let grants: Vec<Ulid> =
        state.grants(&caller.agent).iter().filter(|grant| &grant.credential == wanted).map(|grant| grant.id).collect();
    let credential = state.credential(wanted).filter(|_| !grants.is_empty());
    let credential = credential.ok_or_else(|| deny(Reason::NotGranted { nearest: None }))?;
    let miss = |mismatch| {
        let nearest = Some(Miss { credential: wanted.clone(), mismatch });
        deny(Reason::NotGranted { nearest })
    };
    if !credential.binding.reveals() {
        return Err(miss(Mismatch::Reveal));
    }
    credential.binding.accepts(&caller.facts).map_err(miss)?;
    let fill = Fill::new(&Candidate { credential, grants });
    Ok(RevealPermit { decision, version: state.version(), caller: caller.clone(), fill })
}

impl RevealPermit {
    /// The decision's id.
    pub fn decision(&self) -> Ulid {
        self.decision
    }

    /// The version of the state it was made on.
    pub fn policy_version(&self) -> u64 {
        self.version
    }

    /// Who asked.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What is given.
    pub fn fill(&self) -> &Fill {
        &self.fill
    }
}
