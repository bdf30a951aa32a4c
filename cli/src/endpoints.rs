//! Where the sockets are, and how a verb gets to them.

use crate::failure::{Exit, Failure};
use avouch_wire::tonic::transport::Channel;
use std::ffi::OsString;
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
            Self::Admin => "admin.sock",
            Self::Helper => "helper.sock",
            Self::Session => "session.sock",
            Self::Workload => "workload.sock",
        }
    }

    const fn owner(self) -> &'static str {
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
    /// `--runtime-dir` alone if given; else `$XDG_RUNTIME_DIR/avouch`, the directory `avouch dev` uses where that
    /// is not set, and `/run/avouch`.
    pub fn new(flag: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if let Some(flag) = flag {
            return Self(vec![flag]);
        }
        let mut all = Vec::new();
        all.extend(absolute(&variable, "XDG_RUNTIME_DIR").map(|dir| dir.join("avouch")));
        all.extend(data_directory(&variable).map(|dir| dir.join("run")));
        all.push(PathBuf::from("/run/avouch"));
        Self(all)
    }

    /// The first of them that has this socket.
    pub fn find(&self, socket: Socket) -> Result<PathBuf, Failure> {
        let mut places = self.0.iter().flat_map(|dir| socket.places(dir));
        if let Some(found) = places.find(|path| path.exists()) {
            return Ok(found);
        }
        let looked: Vec<_> = self.0.iter().map(|dir| dir.display().to_string()).collect();
        let (owner, file) = (socket.owner(), socket.file());
        let sentence = format!("no {owner} runs here: there is no {file} in {}", looked.join(" or "));
        Err(Failure::new(Exit::Unreachable, sentence)
            .then("Start one with `avouch dev`, or say where it is with --runtime-dir."))
    }

    /// A gRPC channel to the first of them that has this socket.
    pub async fn connect(&self, socket: Socket) -> Result<Channel, Failure> {
        connect(&self.find(socket)?, socket).await
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

/// Where `avouch dev` keeps its state: `$XDG_DATA_HOME/avouch`, or `~/.local/share/avouch`.
pub fn data_directory(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let of_home = || absolute(variable, "HOME").map(|home| home.join(".local/share"));
    absolute(variable, "XDG_DATA_HOME").or_else(of_home).map(|dir| dir.join("avouch"))
}

/// Where `avouch dev` keeps what its state is sealed with: `$XDG_CONFIG_HOME/avouch`, or `~/.config/avouch`.
pub fn config_directory(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let of_home = || absolute(variable, "HOME").map(|home| home.join(".config"));
    absolute(variable, "XDG_CONFIG_HOME").or_else(of_home).map(|dir| dir.join("avouch"))
}

/// A variable that names a directory; the XDG rules have relative ones ignored.
pub fn absolute(variable: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// How long a connection to a socket may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(of: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| of.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn sockets_are_looked_for_in_the_order_the_help_gives() {
        let all = Directories::new(None, variables(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/home/a")]));
        let expected = ["/run/user/7/avouch", "/home/a/.local/share/avouch/run", "/run/avouch"];
        assert_eq!(all.0, expected.map(PathBuf::from));
        let relative = Directories::new(None, variables(&[("XDG_RUNTIME_DIR", "here")]));
        assert_eq!(relative.0, [PathBuf::from("/run/avouch")]);
        let flag = Directories::new(Some("/x".into()), variables(&[("XDG_RUNTIME_DIR", "/run/user/7")]));
        assert_eq!(flag.0, [PathBuf::from("/x")]);
    }

    #[test]
    fn a_missing_socket_is_named_with_what_to_do() {
        let none = Directories::new(Some("/nonexistent".into()), |_| None);
        let failure = none.find(Socket::Admin).expect_err("nothing there");
        assert_eq!(failure.code(), 7);
        let text = failure.to_string();
        assert!(text.contains("no issuer runs here: there is no admin.sock in /nonexistent"), "{text}");
        assert!(text.contains("avouch dev"), "{text}");
    }
}
