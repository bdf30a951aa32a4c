//! What a request's placeholders choose: each has to name a credential that is granted, admits the request and is
//! filled in the very header in which the placeholder stands. Where a service takes a key in either of two headers,
//! programs differ in which they use: in one that nothing of this request fills and that never goes on, a placeholder
//! may stand for what is filled in the other.

use super::permitted::Candidate;
use super::{Caller, Miss, Reason};
use crate::binding::Mismatch;
use crate::placeholder::{KEY_FIELDS, Place, Placed};
use crate::request::CanonicalRequest;
use crate::state::PolicyState;
use avouch_words::Name;
use std::collections::BTreeMap;

/// The candidates that remain when placeholders have named theirs. Which names exist beside the caller's own grants
/// makes no difference to what is answered (case A30).
pub(super) fn chosen<'a>(
    state: &PolicyState,
    caller: &Caller,
    request: &CanonicalRequest,
    permitted: Result<Vec<Candidate<'a>>, Option<Miss>>,
) -> Result<Vec<Candidate<'a>>, Reason> {
    if request.placed().contains(&Placed::Name) {
        return Err(Reason::Misplaced { place: Place::HeaderName });
    }
    let mut candidates = match permitted {
        Ok(candidates) => candidates,
        Err(nearest) => {
            let named = request.placed().iter().find_map(|placed| match placed {
                Placed::Value { credential, .. } => credential.as_ref(),
                Placed::Name => None,
            });
            return Err(match named {
                Some(name) => Reason::Placeholder { miss: miss(state, caller, request, name).or(nearest) },
                None => Reason::NotGranted { nearest },
            });
        }
    };
    let mut named: BTreeMap<&str, &Name> = BTreeMap::new();
    for placed in request.placed() {
        let Placed::Value { header, credential } = placed else { continue };
        let fills = |candidate: &Candidate<'_>| candidate.credential.binding.slot().header() == header;
        let filled = candidates.iter().any(fills);
        let Some(credential) = credential.as_ref().filter(|_| filled || KEY_FIELDS.contains(&header.as_str())) else {
            return Err(Reason::Misplaced { place: Place::Header });
        };
        let meant =
            |candidate: &&Candidate<'_>| (fills(candidate) || !filled) && &candidate.credential.name == credential;
        let Some(slot) = candidates.iter().find(meant).map(|candidate| candidate.credential.binding.slot().header())
        else {
            return Err(Reason::Placeholder { miss: miss(state, caller, request, credential) });
        };
        if let Some(other) = named.insert(slot, credential).filter(|other| *other != credential) {
            let credentials = vec![other.clone(), credential.clone()];
            return Err(Reason::AmbiguousSlot { header: slot.to_owned(), credentials });
        }
    }
    candidates.retain(|candidate| {
        let credential = candidate.credential;
        named.get(credential.binding.slot().header()).is_none_or(|name| **name == credential.name)
    });
    Ok(candidates)
}

/// Why a credential of the caller's own is not filled here; nothing of one that is not granted.
fn miss(state: &PolicyState, caller: &Caller, request: &CanonicalRequest, name: &Name) -> Option<Miss> {
    let granted = state.grants(&caller.agent).iter().any(|grant| &grant.credential == name);
    let binding = &state.credential(name).filter(|_| granted)?.binding;
    let mismatch = binding.admits(request).and_then(|()| binding.accepts(&caller.facts)).err();
    Some(Miss { credential: name.clone(), mismatch: mismatch.unwrap_or(Mismatch::Slot) })
}
