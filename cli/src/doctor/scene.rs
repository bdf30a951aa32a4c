//! What was seen: facts alone, with no opinion about them.

use avouch_config::LastFault;
use avouch_wire::{admin, local};
use avouch_words::Millis;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// All that the checks judge by.
#[derive(Debug)]
pub struct Scene {
    /// The time.
    pub now: Millis,
    /// This process's user.
    pub uid: u32,
    /// Variables, names and values that are text.
    pub environment: BTreeMap<String, String>,
    /// The session that the environment leads to; none outside.
    pub session: Option<Session>,
    /// The sockets that sessions are opened and identities asked for on.
    pub doors: Vec<Door>,
    /// What the helper says of itself.
    pub helper: Answer<local::StatusReply>,
    /// Why its last start failed, or what is wrong with its settings; only looked for where none answers.
    pub start_fault: Option<LastFault>,
    /// What the issuer says, where there is one on this machine.
    pub issuer: Answer<Issuer>,
    /// The helper's process, as the kernel shows it.
    pub peer: Option<PeerProcess>,
    /// What the Workload API says to this process.
    pub identity: Identity,
    /// The directories of the helper, as settings or habit have them.
    pub disks: Vec<Disk>,
    /// Node, if there is one in PATH.
    pub node: Option<String>,
    /// What this host lacks for contained sessions, the needed first; not tried inside a session.
    pub host: Option<Vec<Lacking>>,
    /// The machine's own certificates.
    pub system_roots: Option<PathBuf>,
}

/// The session that this process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The names that `avouch run` has set, with what it has set them to.
    pub names: Vec<(String, String)>,
    /// Whether each of its two files can be read.
    pub files: Vec<(PathBuf, Result<(), io::ErrorKind>)>,
    /// Its proxy, and whether it answers.
    pub proxy: Option<(SocketAddr, bool)>,
}

/// A socket of the helper's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Its path.
    pub path: PathBuf,
    /// What came of connecting to it.
    pub outcome: Result<(), io::ErrorKind>,
    /// What is in the way, if this user may not: the directory or socket, and its mode.
    pub barrier: Option<(PathBuf, u32)>,
    /// A directory on the way that others can write to, and so put another socket there.
    pub unsafe_dir: Option<(PathBuf, u32)>,
}

/// What a daemon answered.
#[derive(Debug)]
pub enum Answer<T> {
    /// There is no socket; where it was looked for.
    Absent(String),
    /// There is one, and nobody behind it.
    Dead(PathBuf),
    /// It does not talk to this caller; its code.
    Refused(String),
    /// Something else went wrong.
    Silent(String),
    /// It said this.
    Said(T),
}

/// What an operator sees of the issuer.
#[derive(Debug, Default)]
pub struct Issuer {
    /// About itself.
    pub status: admin::StatusReply,
    /// Its agents.
    pub agents: Vec<admin::Agent>,
    /// Its nodes.
    pub nodes: Vec<admin::Node>,
}

/// The process behind a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerProcess {
    /// Its number here; 0 if this pid namespace does not see it.
    pub pid: i32,
    /// It is in this pid namespace; unknown where that may not be looked at.
    pub same_namespace: Option<bool>,
}

/// What the Workload API said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// It was not asked.
    Unasked,
    /// These are this process's IDs.
    Known(Vec<String>),
    /// It has none.
    Nobody,
    /// There was no answer that says either.
    Silent(String),
}

/// A directory's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The directory, or the nearest above it that exists.
    pub dir: PathBuf,
    /// Bytes that an ordinary user may still write.
    pub free: u64,
    /// Files that may still be made.
    pub inodes: u64,
    /// Whose it is.
    pub owner: u32,
    /// This process may write to it.
    pub writable: bool,
}

/// Something that containment takes from a host, and this one has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Its name.
    pub name: &'static str,
    /// There is no contained session without it.
    pub needed: bool,
    /// What trying it showed.
    pub why: String,
    /// A command, or what to change.
    pub fix: String,
}

impl Scene {
    /// Whether this process is inside a session.
    pub fn inside(&self) -> bool {
        self.session.is_some() || matches!(&self.helper, Answer::Refused(code) if code == INSIDE)
    }

    /// What the helper said, if it did.
    pub fn status(&self) -> Option<&local::StatusReply> {
        match &self.helper {
            Answer::Said(status) => Some(status),
            Answer::Absent(_) | Answer::Dead(_) | Answer::Refused(_) | Answer::Silent(_) => None,
        }
    }

    /// The fault of the last start, if it is one of these.
    pub fn start_fault_of(&self, codes: &[&str]) -> Option<&LastFault> {
        self.start_fault.as_ref().filter(|fault| codes.contains(&fault.code.as_str()))
    }

    /// A variable that is set, to whatever.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// The helper's Workload API socket, as it says or as it was found.
    pub fn workload_socket(&self) -> Option<&Path> {
        let said = self.status().map(|status| Path::new(&status.workload_socket));
        said.or_else(|| self.doors.iter().map(|door| door.path.as_path()).find(|path| path.ends_with("workload.sock")))
    }
}

/// The helper's code for a caller inside a session.
pub const INSIDE: &str = "inside_session";

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A node where nothing is wrong, seen by an operator.
    pub fn sound() -> Scene {
        let now = Millis(1_700_000_000_000);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let door = |name: &str| Door {
            path: Path::new("/run/avouch/helper").join(name),
            outcome: Ok(()),
            barrier: None,
            unsafe_dir: None,
        };
        let status = local::StatusReply {
            node_id: "spiffe://t.test/node/join_token/n".into(),
            workload_socket: "/run/avouch/helper/workload.sock".into(),
            injecting: true,
            version: version.clone(),
            issuer: "issuer.test:8443".into(),
            svid_expires_ms: now.0 + 3_600_000,
            ..Default::default()
        };
        Scene {
            now,
            uid: 1000,
            environment: BTreeMap::new(),
            session: None,
            doors: vec![door("session.sock"), door("workload.sock")],
            helper: Answer::Said(status),
            start_fault: None,
            issuer: Answer::Said(Issuer {
                status: admin::StatusReply { version, ..Default::default() },
                ..Default::default()
            }),
            peer: Some(PeerProcess { pid: 7, same_namespace: Some(true) }),
            identity: Identity::Nobody,
            disks: Vec::new(),
            node: None,
            host: Some(Vec::new()),
            system_roots: Some("/etc/ssl/certs/ca-certificates.crt".into()),
        }
    }

    /// The same node, seen from inside a session whose environment is as `avouch run` made it.
    pub fn session() -> Scene {
        let names = [
            ("HTTPS_PROXY", "http://127.0.0.1:4567"),
            ("NO_PROXY", ""),
            ("NODE_USE_ENV_PROXY", "1"),
            ("SPIFFE_ENDPOINT_SOCKET", "unix:///run/avouch/helper/workload.sock"),
            ("SSL_CERT_FILE", "/run/avouch/helper/sessions/s/bundle.pem"),
            ("NODE_EXTRA_CA_CERTS", "/run/avouch/helper/sessions/s/extra.pem"),
        ];
        let names: Vec<_> = names.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let files =
            ["bundle.pem", "extra.pem"].map(|name| (Path::new("/run/avouch/helper/sessions/s").join(name), Ok(())));
        Scene {
            environment: names.iter().cloned().collect(),
            session: Some(Session {
                names,
                files: files.into(),
                proxy: Some((SocketAddr::from(([127, 0, 0, 1], 4567)), true)),
            }),
            helper: Answer::Refused(INSIDE.to_owned()),
            issuer: Answer::Refused(INSIDE.to_owned()),
            host: None,
            identity: Identity::Known(vec!["spiffe://t.test/agent/researcher".to_owned()]),
            ..sound()
        }
    }
}
