//! ListSources: where secrets live, as this helper's settings say it.

use avouch_sources::{Shown, Source};
use avouch_wire::local as api;

use super::Desk;
use crate::state::NodeState;

/// Answers one call.
pub fn answer(desk: &Desk) -> api::ListSourcesReply {
    let state = desk.states.borrow().clone();
    let told = desk.sources.all.iter().map(|source| self::source(source.as_ref(), state.as_deref()));
    api::ListSourcesReply { sources: told.collect() }
}

/// One source, as it is told.
pub(super) fn source(source: &dyn Source, state: Option<&NodeState>) -> api::Source {
    let about = source.about();
    let (audience, state) = match (about.shown, state) {
        (Shown::Jwt { audience }, Some(state)) if !state.policy.is_reserved_audience(&audience) => {
            (audience, "audience_not_reserved")
        }
        (Shown::Jwt { audience }, Some(_)) => (audience, READY),
        (Shown::X509 | Shown::Nothing, Some(_)) => (String::new(), READY),
        (Shown::Jwt { audience }, None) => (audience, NOT_HEARD),
        (Shown::X509 | Shown::Nothing, None) => (String::new(), NOT_HEARD),
    };
    api::Source {
        name: source.name().to_string(),
        kind: source.kind().to_owned(),
        place: about.place,
        login: about.login.to_owned(),
        audience,
        state: state.to_owned(),
    }
}

const READY: &str = "ready";
/// Nothing was heard from the issuer yet, so nothing is injected.
const NOT_HEARD: &str = "issuer_unheard";
