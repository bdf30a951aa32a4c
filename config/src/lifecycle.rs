//! How a part begins and ends: nothing secret comes in by the environment, nothing of its memory goes to disk, and a
//! signal ends it in order.

use crate::start_error::StartError;
use nix::sys::resource::{Resource, setrlimit};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::ffi::OsString;
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Makes this process undumpable and untraceable by its own uid, and sets the core limit to 0 (U12).
pub fn harden() -> Result<(), StartError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| StartError::Harden(error.into()))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| StartError::Harden(error.into()))
}

/// Refuses to start if a variable of ours that would hold a secret is set: any process of the uid could read it, and
/// unsetting does not help (U10). Pass `std::env::vars_os()`.
pub fn refuse_secrets_in_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), StartError> {
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let secret = SECRET_WORDS.iter().any(|word| name.ends_with(word));
        if name.starts_with("AVOUCH_") && secret && !value.is_empty() {
            return Err(StartError::SecretInEnvironment(name.into_owned()));
        }
    }
    Ok(())
}

/// A token that is cancelled at the first SIGTERM, SIGINT or SIGHUP. Call it inside the runtime.
pub fn shutdown_on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => "SIGHUP",
            () = cancel.cancelled() => return,
        };
        tracing::info!(signal = name, "stopping");
        cancel.cancel();
    });
    Ok(token)
}

/// What the name of a variable that holds a secret ends with.
const SECRET_WORDS: [&str; 6] = ["TOKEN", "SECRET", "KEY", "PASSWORD", "PASSPHRASE", "CREDENTIAL"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_the_environment_refuses_the_start() {
        let check = |name: &str, value: &str| refuse_secrets_in_environment([(name.into(), value.into())]);
        for name in ["AVOUCH_JOIN_TOKEN", "AVOUCH_SEAL_KEY", "AVOUCH_CLIENT_SECRET", "AVOUCH_TOKEN"] {
            let error = check(name, "x").unwrap_err();
            assert_eq!((error.code(), error.exit_code()), ("secret_in_environment", 2));
            assert!(error.to_string().contains(name) && error.action().contains("0600"), "{error}");
        }
        for (name, value) in
            [("AVOUCH_OUTPUT", "json"), ("GITHUB_TOKEN", "x"), ("AVOUCH_TOKEN", ""), ("AVOUCH_KEYS_DIR", "/k")]
        {
            assert!(check(name, value).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_hardened_process_leaves_no_core_and_cannot_be_read_by_its_uid() {
        harden().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(nix::sys::resource::getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
    }
}
