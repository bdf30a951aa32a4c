//! Why no session was opened: for each reason a stable code, one sentence and what to do.

use super::NoListener;
use super::intake::BadIntake;
use super::walls::NoWalls;
use avouch_wire::local::SessionRefused;
use avouch_wire::unix::Unattested;

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// U21, invariant 11.
    #[error("a process inside a session may run its own agent and no other")]
    Inside,
    /// It would lie outside the walls of the session it was asked for in.
    #[error("inside a contained session there is none that is not contained")]
    Uncontained,
    /// Unknown agent, other selectors, locked: one text for all (U24).
    #[error("no session for this agent")]
    Denied,
    /// U07.
    #[error("this process is in a PID namespace that the helper does not see")]
    PidNamespace,
    /// Its user is not mapped.
    #[error("this user has no number in the helper's user namespace")]
    Unmapped,
    /// U23.
    #[error(transparent)]
    Listener(#[from] NoListener),
    /// It is said to be contained and is not.
    #[error(transparent)]
    Walls(#[from] NoWalls),
    /// Too many.
    #[error("too many sessions are open")]
    TooMany,
    /// What was said cannot be used.
    #[error(transparent)]
    Intake(#[from] BadIntake),
    /// No state yet, or something of ours failed.
    #[error("the helper is not ready for sessions")]
    NotReady,
}

impl Refused {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Inside => "inside_session",
            Self::Uncontained => "nested_uncontained",
            Self::Denied => "denied",
            Self::PidNamespace => "pid_namespace",
            Self::Unmapped => "user_unmapped",
            Self::Listener(_) => "listener_refused",
            Self::Walls(walls) => walls.code(),
            Self::TooMany => "too_many_sessions",
            Self::Intake(_) => "bad_request",
            Self::NotReady => "not_ready",
        }
    }

    const fn action(&self) -> &'static str {
        match self {
            Self::Inside => "Run it from outside the session, or name the session's own agent.",
            Self::Uncontained => "Leave --no-contain out.",
            Self::Denied => "Ask an operator which agents this user may run on this node, and whether one is locked.",
            Self::PidNamespace | Self::Walls(NoWalls::PidNamespace) => {
                "Run the helper on the host, or in the same PID namespace as the agents (hostPID: true, --pid=host)."
            }
            Self::Unmapped | Self::Walls(NoWalls::Unmapped) => {
                "Run the helper in a user namespace that maps this user, or in none."
            }
            Self::Listener(_) => "Hand over a TCP socket that listens on a loopback address and is no other session's.",
            Self::Walls(NoWalls::Unseen(_)) => {
                "Let the helper see all of /proc (hidepid=0, ProtectProc=default), or run without walls (--no-contain)."
            }
            Self::Walls(NoWalls::OldKernel) => "Use a newer kernel, or run without walls (--no-contain).",
            Self::Walls(_) => "Use an avouch of the same version as the helper, or run without walls (--no-contain).",
            Self::TooMany => "End sessions that are not needed.",
            Self::Intake(_) => "Use an avouch of the same version as the helper.",
            Self::NotReady => "Try again in a moment; avouch status says what the helper waits for.",
        }
    }

    /// What the caller reads.
    pub fn told(&self) -> SessionRefused {
        SessionRefused { code: self.code().to_owned(), message: self.to_string(), action: self.action().to_owned() }
    }
}

/// Everything that may be said to one who asks for a session, each code once.
pub fn refusals() -> Vec<SessionRefused> {
    let unseen = || NoWalls::Unseen(std::io::ErrorKind::PermissionDenied.into());
    let walls = [
        NoWalls::Gone,
        NoWalls::NotBelow,
        NoWalls::NotFirst,
        NoWalls::Shared("network"),
        unseen(),
        NoWalls::Outside,
        NoWalls::Open,
        NoWalls::NoSeccomp,
        NoWalls::Privileges,
        NoWalls::User(0),
        NoWalls::OldKernel,
        NoWalls::Profile,
    ];
    let plain = [
        Refused::Inside,
        Refused::Uncontained,
        Refused::Denied,
        Refused::PidNamespace,
        Refused::Unmapped,
        Refused::Listener(NoListener::NotListening),
        Refused::TooMany,
        Refused::Intake(BadIntake::Unreadable),
        Refused::NotReady,
    ];
    plain.into_iter().chain(walls.into_iter().map(Refused::Walls)).map(|refused| refused.told()).collect()
}

impl From<&Unattested> for Refused {
    fn from(unknown: &Unattested) -> Self {
        match unknown {
            Unattested::Invisible => Self::PidNamespace,
            Unattested::Unmapped => Self::Unmapped,
            Unattested::NoProcess
            | Unattested::Exited
            | Unattested::Replaced
            | Unattested::UidChanged
            | Unattested::Unreadable(_) => Self::Denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_stands_once_and_fits_the_record() {
        let all = refusals();
        let codes: BTreeSet<_> = all.iter().map(|refused| refused.code.as_str()).collect();
        assert_eq!(codes.len(), all.len());
        for refused in &all {
            let recorded = avouch_audit::field::Code::of(Box::leak(refused.code.clone().into_boxed_str()));
            assert_eq!(recorded.as_str(), refused.code);
            assert!(!refused.message.is_empty() && refused.action.ends_with('.'), "{}", refused.code);
        }
        for told in [NoWalls::PidNamespace, NoWalls::Unmapped] {
            assert!(codes.contains(told.code()), "of the caller and of its init it is the same");
        }
    }
}
