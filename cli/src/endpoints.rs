//! Where the sockets are, and how a verb gets to them.

use crate::failure::{Exit, Failure};
use avouch_config::{ADMIN_SOCKET, HELPER_SOCKET, Paths, SESSION_SOCKET, WORKLOAD_SOCKET};
use avouch_wire::tonic::transport::Channel;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// File names of the sockets in a runtime directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The issuer's, for operators.
    Admin,
    /// The helper's, for operators.
    Helper,
    /// The helper's, for `run`.
    Session,
    /// The SPIFFE Workload API.
    Workload,
}

/// The directories that are looked into, the best first.
#[derive(Debug, Clone)]
pub struct Directories(Vec<PathBuf>);

impl Socket {
    /// Its name in the runtime directory.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Admin => ADMIN_SOCKET,
            Self::Helper => HELPER_SOCKET,
            Self::Session => SESSION_SOCKET,
            Self::Workload => WORKLOAD_SOCKET,
        }
    }

    /// Whose it is.
    pub const fn owner(self) -> &'static str {
        match self {
            Self::Admin => "issuer",
            Self::Helper | Self::Session | Self::Workload => "helper",
        }
    }

    /// Below a runtime directory: each part has one of its own there, or is given the whole.
    fn places(self, runtime: &Path) -> [PathBuf; 2] {
        let part = match self {
            Self::Admin => "server",
            Self::Helper | Self::Session | Self::Workload => "helper",
        };
        [runtime.join(part).join(self.file()), runtime.join(self.file())]
    }
}

impl Directories {
    /// `--runtime-dir` alone if given; else the user's own, then the system's.
    pub fn new(flag: Option<PathBuf>) -> Self {
        let usual = || Paths::user().into_iter().chain([Paths::system()]).map(|paths| paths.runtime);
        Self(flag.map_or_else(|| usual().collect(), |flag| vec![flag]))
    }

    /// The one, where there is only one: what a flag named.
    pub fn only(&self) -> Option<&Path> {
        match self.0.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.iter()
    }

    /// Wherever this socket may be, the best first.
    pub fn places(&self, socket: Socket) -> impl Iterator<Item = PathBuf> {
        self.0.iter().flat_map(move |dir| socket.places(dir))
    }

    /// The first of them that has this socket.
    pub fn find(&self, socket: Socket) -> Result<PathBuf, Failure> {
        if let Some(found) = self.places(socket).find(|path| path.exists()) {
            return Ok(found);
        }
        let (owner, file) = (socket.owner(), socket.file());
        let sentence = format!("no {owner} runs here: there is no {file} in {self}");
        Err(Failure::new(Exit::Unreachable, sentence)
            .then("Start one with `avouch dev`, or say where it is with --runtime-dir."))
    }

    /// A gRPC channel to the first of them that has this socket.
    pub async fn connect(&self, socket: Socket) -> Result<Channel, Failure> {
        connect(&self.find(socket)?, socket).await
    }
}

impl fmt::Display for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(|dir| dir.display().to_string()).collect();
        f.write_str(&all.join(" or "))
    }
}

/// A gRPC channel to a Unix socket.
pub async fn connect(path: &Path, socket: Socket) -> Result<Channel, Failure> {
    let silent = |why: String| {
        let sentence = format!("the {} does not answer at {}: {why}", socket.owner(), path.display());
        Failure::new(Exit::Unreachable, sentence).then("See whether it runs, and whether this user may use it.")
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, avouch_wire::unix::dial(path)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(silent(innermost(&error))),
        Err(_) => Err(silent("it took too long".to_owned())),
    }
}

/// The cause that says what happened; those around it only say that something did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// How long a connection to a socket may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_looked_into_alone_and_the_system_last() {
        assert_eq!(Directories::new(Some("/x".into())).0, [PathBuf::from("/x")]);
        assert_eq!(Directories::new(None).0.last(), Some(&PathBuf::from("/run/avouch")));
    }

    #[test]
    fn a_part_s_own_directory_comes_before_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let all = Directories::new(Some(dir.path().to_owned()));
        std::fs::write(dir.path().join("session.sock"), "").unwrap();
        assert_eq!(all.find(Socket::Session).unwrap(), dir.path().join("session.sock"));
        std::fs::create_dir(dir.path().join("helper")).unwrap();
        std::fs::write(dir.path().join("helper/session.sock"), "").unwrap();
        assert_eq!(all.find(Socket::Session).unwrap(), dir.path().join("helper/session.sock"));
    }

    #[test]
    fn a_missing_socket_is_named_with_what_to_do() {
        let none = Directories::new(Some("/nonexistent".into()));
        let failure = none.find(Socket::Admin).expect_err("nothing there");
        assert_eq!(failure.code(), 7);
        let text = failure.to_string();
        assert!(text.contains("no issuer runs here: there is no admin.sock in /nonexistent"), "{text}");
        assert!(text.contains("avouch dev"), "{text}");
    }
}
