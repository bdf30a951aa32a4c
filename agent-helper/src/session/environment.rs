//! The placeholders that a new session finds in its environment.

use avouch_policy::{PolicyState, variables};
use avouch_wire::local::{AmbiguousVariable, EnvironmentVariable, SessionOpened};
use avouch_words::Name;

/// Tells the session which variables to set, and which it has to do without.
pub(super) fn tell(opened: &mut SessionOpened, state: &PolicyState, agent: &Name) {
    let found = variables(state, agent);
    opened.environment = found.set.into_iter().map(|(name, value)| EnvironmentVariable { name, value }).collect();
    let ambiguous = found.ambiguous.into_iter().map(|(name, credentials)| AmbiguousVariable {
        name,
        credentials: credentials.iter().map(ToString::to_string).collect(),
    });
    opened.ambiguous = ambiguous.collect();
}
