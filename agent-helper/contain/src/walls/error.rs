//! Why nothing was contained: one case for each thing that a host may lack.

use std::io;
use std::mem::discriminant;

/// Why there is no contained session. Every sentence names what is missing.
#[derive(Debug, thiserror::Error)]
pub enum ContainError {
    /// No user namespaces for this caller.
    #[error("this host gives no user namespaces: {0}")]
    UserNamespaces(String),
    /// They are given without any right in them (AppArmor's switch on Ubuntu).
    #[error("this host holds back user namespaces: they can be made, but nothing can be done in them: {0}")]
    UserNamespacesHeld(String),
    /// One of the other kinds.
    #[error("this host does not let a session have namespaces of its own: {0}")]
    Namespaces(String),
    /// The system calls of the new mount interface.
    #[error("this host does not let a session make mounts of its own: {0}")]
    Mounts(String),
    /// Parts of `/proc` are covered, as container engines do.
    #[error("a fresh /proc is forbidden here, as an outer container covers parts of its own: {0}")]
    FreshProc(String),
    /// No way to tell network namespaces from one another.
    #[error("this kernel cannot tell whose network a listener belongs to (SO_NETNS_COOKIE, Linux 5.14): {0}")]
    NetnsCookie(String),
    /// The loopback device.
    #[error("the session's loopback device cannot be set up: {0}")]
    Loopback(String),
    /// Root called, and there is no other id that it could give.
    #[error("a contained session never runs as root, and no other id can be had: {0}; name one with --uid")]
    NoId(String),
    /// Root called, and the directory cannot be given to the session's id.
    #[error(
        "the work directory cannot be given to the session's id: {0}; start in one that belongs to the id named with --uid"
    )]
    IdMap(String),
    /// The work directory would show what no session may see.
    #[error("this cannot be a work directory: {0}")]
    WorkDir(String),
    /// The Workload API socket cannot be reached.
    #[error("the Workload API socket cannot be given to the session: {0}")]
    Socket(String),
    /// What the profile asks of the kernel.
    #[error("the session cannot be sealed: {0}")]
    Seal(String),
    /// The session's terminal.
    #[error("the session cannot have a terminal of its own: {0}")]
    Terminal(String),
    /// A stage ended without a word.
    #[error("a stage of the session was lost: {0}")]
    Lost(String),
    /// Something that never fails did.
    #[error("the session cannot be prepared: {0}")]
    Io(String),
}

impl ContainError {
    /// What goes over the wire for this case, with its detail.
    pub(super) fn parts(&self) -> (u8, &str) {
        let place = CASES.iter().position(|case| discriminant(&case(String::new())) == discriminant(self));
        (place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX), self.detail())
    }

    /// The case that a stage told of.
    pub(super) fn told(case: u8, detail: String) -> Self {
        CASES.get(usize::from(case)).unwrap_or(&(Self::Lost as Case))(detail)
    }

    fn detail(&self) -> &str {
        match self {
            Self::UserNamespaces(detail)
            | Self::UserNamespacesHeld(detail)
            | Self::Namespaces(detail)
            | Self::Mounts(detail)
            | Self::FreshProc(detail)
            | Self::NetnsCookie(detail)
            | Self::Loopback(detail)
            | Self::NoId(detail)
            | Self::IdMap(detail)
            | Self::WorkDir(detail)
            | Self::Socket(detail)
            | Self::Seal(detail)
            | Self::Terminal(detail)
            | Self::Lost(detail)
            | Self::Io(detail) => detail,
        }
    }
}

impl From<io::Error> for ContainError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<rustix::io::Errno> for ContainError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(io::Error::from(error).to_string())
    }
}

impl From<nix::errno::Errno> for ContainError {
    fn from(error: nix::errno::Errno) -> Self {
        Self::Io(error.desc().to_owned())
    }
}

/// Makes one case, with what was being done when it happened.
pub(super) fn because<E: Into<io::Error>>(case: Case, doing: &str) -> impl FnOnce(E) -> ContainError {
    move |error| case(format!("{doing}: {}", error.into()))
}

pub(super) type Case = fn(String) -> ContainError;

const CASES: [Case; 15] = [
    ContainError::UserNamespaces,
    ContainError::UserNamespacesHeld,
    ContainError::Namespaces,
    ContainError::Mounts,
    ContainError::FreshProc,
    ContainError::NetnsCookie,
    ContainError::Loopback,
    ContainError::NoId,
    ContainError::IdMap,
    ContainError::WorkDir,
    ContainError::Socket,
    ContainError::Seal,
    ContainError::Terminal,
    ContainError::Lost,
    ContainError::Io,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_crosses_to_run_as_it_was() {
        let kinds: std::collections::HashSet<_> = CASES.iter().map(|case| discriminant(&case(String::new()))).collect();
        assert_eq!(kinds.len(), CASES.len(), "a case that stands twice stands in another's place");
        for case in CASES {
            let error = case("why".to_owned());
            let (number, detail) = error.parts();
            assert_eq!(ContainError::told(number, detail.to_owned()).to_string(), error.to_string());
        }
        assert!(matches!(ContainError::told(u8::MAX, String::new()), ContainError::Lost(_)));
    }
}
