//! The last steps before a session's program: each takes something away for good, and the order is theirs.

use crate::landlock::{self, LandlockError, View};
use crate::profile::{Profile, Want};
use crate::seccomp::SeccompError;
use crate::{keyring, limits, seccomp};

/// Why the session could not be sealed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The limits.
    #[error("its limits cannot be set: {0}")]
    Limits(#[source] std::io::Error),
    /// The profile requires a keyring of the session's own.
    #[error("there is no session keyring to be had, which the profile requires: {0}")]
    Keyring(nix::errno::Errno),
    /// Landlock.
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    /// The list of system calls.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
}

/// Sets the limits, joins a fresh keyring, and puts this thread and all that it starts under Landlock, `no_new_privs` and the
/// list of system calls. Inside the last user namespace, and behind every mount. Returns what the profile wants and
/// this host lacks: a sentence each.
pub(crate) fn seal(profile: &Profile, view: &View<'_>) -> Result<Vec<String>, SealError> {
    let mut lacking = Vec::new();
    limits::apply(profile.limits()).map_err(SealError::Limits)?;
    if profile.kernel.keyring != Want::Off
        && let Err(error) = keyring::join_fresh()
    {
        if profile.kernel.keyring == Want::Required {
            return Err(SealError::Keyring(error));
        }
        // The list below refuses every way to look at a key in any case.
        lacking.push(format!("this host gives no session keyring of its own ({})", error.desc()));
    }
    lacking.extend(landlock::restrict(profile, view)?.into_iter().map(|what| format!("this kernel has no {what}")));
    seccomp::install(&profile.kernel)?;
    Ok(lacking)
}
