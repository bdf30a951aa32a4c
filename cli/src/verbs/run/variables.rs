//! Placeholders in the environment of a session's program.

use crate::output;
use avouch_wire::local::SessionOpened;
use std::ffi::OsString;

/// Sets what the helper told to set, over what was inherited: a key of one's own that lies in such a variable stays out
/// of the session. Says which variables stay unset.
pub(super) fn set(environment: &mut Vec<(OsString, OsString)>, opened: &SessionOpened) {
    for variable in &opened.environment {
        environment.retain(|(name, _)| name.as_os_str() != variable.name.as_str());
        environment.push((OsString::from(&variable.name), OsString::from(&variable.value)));
    }
    if !opened.no_tokens.is_empty() {
        output::talk(format!("avouch: this session has no identity tokens: {}", opened.no_tokens));
    }
    for variable in &opened.ambiguous {
        environment.retain(|(name, _)| name.as_os_str() != variable.name.as_str());
        output::talk(format!(
            "avouch: {} is not set, as more than one granted credential would be in it ({}); \
             put one of them anew with another --env",
            variable.name,
            variable.credentials.join(", "),
        ));
    }
}
