//! Which credentials this agent may use on this request. The one question whose answer is policy: an engine that
//! evaluates conditions is asked here, about the grants of this agent alone, and nothing around it changes.

use super::{Caller, denial::Miss};
use crate::request::CanonicalRequest;
use crate::state::{Credential, PolicyState};
use avouch_words::{Name, Ulid};
use std::collections::BTreeMap;

/// A credential that is granted and whose binding admits the request.
pub(super) struct Candidate<'a> {
    pub(super) credential: &'a Credential,
    /// The grants that say so, by id.
    pub(super) grants: Vec<Ulid>,
}

/// At least one candidate, by name; or the nearest miss, if anything is granted at all.
pub(super) fn permitted<'a>(
    state: &'a PolicyState,
    caller: &Caller,
    request: &CanonicalRequest,
) -> Result<Vec<Candidate<'a>>, Option<Miss>> {
    let mut candidates: BTreeMap<&Name, Candidate<'a>> = BTreeMap::new();
    let mut nearest: Option<Miss> = None;
    for grant in state.grants(&caller.agent) {
        let Some(credential) = state.credential(&grant.credential) else {
            continue;
        };
        match credential.binding.admits(request).and_then(|()| credential.binding.accepts(&caller.facts)) {
            Ok(()) => candidates
                .entry(&credential.name)
                .or_insert_with(|| Candidate { credential, grants: Vec::new() })
                .grants
                .push(grant.id),
            Err(mismatch) => {
                let miss = Miss { credential: credential.name.clone(), mismatch };
                let nearer = nearest.as_ref().is_none_or(|held| {
                    // Of two equally near, the first by name, so that the order of grants shows nowhere.
                    (held.mismatch, &miss.credential) < (miss.mismatch, &held.credential)
                });
                if nearer {
                    nearest = Some(miss);
                }
            }
        }
    }
    if candidates.is_empty() {
        return Err(nearest);
    }
    Ok(candidates.into_values().collect())
}
