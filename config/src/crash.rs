//! Named points at which a test can end the process, to see that nothing acknowledged is lost (invariant 7). They
//! are compiled in with debug assertions only; a release has none.

/// Ends the process if `AVOUCH_CRASH_AT` names this point.
#[cfg(debug_assertions)]
pub fn crash_point(name: &str) {
    use std::sync::OnceLock;
    static AT: OnceLock<Option<String>> = OnceLock::new();
    let at = AT.get_or_init(|| std::env::var("AVOUCH_CRASH_AT").ok());
    if at.as_deref() == Some(name) {
        std::process::abort();
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub fn crash_point(_name: &str) {}
