//! Why a start fails: what went wrong, what to do, and the exit code that says so.

use crate::fault::ConfigFaults;
use crate::file::FileFault;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why the issuer or the helper did not start. Its text is one sentence; [`StartError::action`] is another.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error("{0}")]
    Config(ConfigFaults),
    /// The settings file cannot be read.
    #[error("the settings file {} cannot be read: {reason}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// There is no home directory and the caller is not root.
    #[error("there is no home directory to keep files in")]
    NoPlace,
    /// A variable of ours that would hold a secret is set.
    #[error("the environment variable {0} is set, and avouch takes no secret from the environment")]
    SecretInEnvironment(String),
    /// The process cannot be hardened.
    #[error("the process cannot be made undumpable: {0}")]
    Harden(io::Error),
    /// Someone else listens on the port.
    #[error("the port {address} is taken{}", by(owner.as_ref()))]
    PortTaken {
        /// The address.
        address: SocketAddr,
        /// Who listens, where the system tells.
        owner: Option<Owner>,
    },
    /// Someone else listens on the socket.
    #[error("the socket {} is taken{}", path.display(), by(owner.as_ref()))]
    SocketTaken {
        /// The socket.
        path: PathBuf,
        /// Who listens, where the system tells.
        owner: Option<Owner>,
    },
    /// The address or socket cannot be listened on.
    #[error("cannot listen on {place}: {error}")]
    Listen {
        /// The address or the socket.
        place: String,
        /// What the system said.
        error: io::Error,
    },
    /// The key that seals authorities or credentials cannot be had; the text is a whole sentence.
    #[error("{0}")]
    SealKey(String),
    /// The file of a join token cannot be used.
    #[error("the join token in {} cannot be used: {fault}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: FileFault,
    },
    /// A directory cannot be used.
    #[error("the directory {} cannot be used: {fault}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        fault: FileFault,
    },
    /// The key file is in the state directory.
    #[error("the key file {} is below the state directory {}", file.display(), dir.display())]
    KeyInState {
        /// The key file.
        file: PathBuf,
        /// The state directory.
        dir: PathBuf,
    },
    /// The database is of another trust domain, or the token is, or the issuer is.
    #[error("the trust domain is wrong: the settings say {settings}, but {what} says {found}")]
    TrustDomain {
        /// The one in the settings.
        settings: String,
        /// What says otherwise: "the join token", "the issuer", "the database".
        what: &'static str,
        /// What it says.
        found: String,
    },
    /// The clocks of the node and the issuer are too far apart.
    #[error("the clock of this machine and that of the issuer are more than {} s apart", limit.as_secs())]
    Clock {
        /// How far apart they may be.
        limit: Duration,
    },
    /// The issuer's certificate is not valid at this machine's time.
    #[error("by the clock of this machine, what the issuer at {address} shows is not valid now: {reason}")]
    NotNow {
        /// The address.
        address: String,
        /// The rule that refused it.
        reason: String,
    },
    /// There is no node SVID and no token to get one with.
    #[error("this node has not joined yet, and there is no join token")]
    NotJoined,
    /// The node SVID that is stored is good no more, and there is no token to get another with.
    #[error("the node's SVID has expired or verifies no more")]
    SvidExpired,
    /// The text is not a join token.
    #[error("the join token is not one: {0}")]
    TokenMalformed(String),
    /// The token's time is over.
    #[error("the join token has expired")]
    TokenExpired,
    /// The token was used before, or was never made.
    #[error("the issuer refused the join token")]
    TokenRefused,
    /// The issuer refused for another reason.
    #[error("the issuer refused: {message}")]
    Refused {
        /// What it said.
        message: String,
        /// What it said to do.
        action: String,
    },
    /// The issuer is not the one that the token pins.
    #[error("whoever answers at {address} is not the issuer that the join token names: {reason}")]
    Imposter {
        /// The address.
        address: String,
        /// What the handshake said.
        reason: String,
    },
    /// The issuer cannot be reached.
    #[error("the issuer at {address} cannot be reached: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The database cannot be used.
    #[error("the database {} cannot be used: {reason}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The authorities cannot be unsealed or made.
    #[error("the authorities cannot be used: {0}")]
    Authorities(String),
    /// A source of the settings cannot be made.
    #[error("the source {name} cannot be used: {reason}")]
    Source {
        /// Which.
        name: avouch_words::Name,
        /// Why.
        reason: String,
    },
    /// Something below us failed.
    #[error("{what}: {reason}")]
    Internal {
        /// What was done.
        what: &'static str,
        /// What was said.
        reason: String,
    },
}

/// A process that has what we want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process id.
    pub pid: i32,
    /// Its program's name.
    pub program: String,
}

impl Owner {
    /// The process with this id, with its program's name as `/proc` tells it.
    pub fn of(pid: i32) -> Self {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let comm: String = comm.trim().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        Self { pid, program: if comm.is_empty() { "another process".to_owned() } else { comm } }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.program, self.pid)
    }
}

fn by(owner: Option<&Owner>) -> String {
    owner.map(|owner| format!(" by {owner}")).unwrap_or_default()
}

impl StartError {
    /// A stable word for it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config_invalid",
            Self::Settings { .. } => "config_unreadable",
            Self::NoPlace => "no_home",
            Self::SecretInEnvironment(_) => "secret_in_environment",
            Self::Harden(_) => "not_hardened",
            Self::PortTaken { .. } => "port_taken",
            Self::SocketTaken { .. } => "socket_taken",
            Self::Listen { .. } => "cannot_listen",
            Self::SealKey(_) => "key_file_unusable",
            Self::TokenFile { .. } => "token_file_unusable",
            Self::Directory { .. } => "directory_unusable",
            Self::KeyInState { .. } => "key_in_state",
            Self::TrustDomain { .. } => "wrong_trust_domain",
            Self::Clock { .. } | Self::NotNow { .. } => "clock_off",
            Self::NotJoined => "not_joined",
            Self::SvidExpired => "node_svid_expired",
            Self::TokenMalformed(_) => "token_malformed",
            Self::TokenExpired => "token_expired",
            Self::TokenRefused => "token_refused",
            Self::Refused { .. } => "issuer_refused",
            Self::Imposter { .. } => "issuer_not_pinned",
            Self::Unreachable { .. } => "issuer_unreachable",
            Self::Database { .. } => "database_unusable",
            Self::Authorities(_) => "authorities_unusable",
            Self::Source { .. } => "source_unusable",
            Self::Internal { .. } => "internal",
        }
    }

    /// What to do about it, as one sentence.
    pub fn action(&self) -> String {
        let fixed = match self {
            Self::Config(_) => "Correct the settings file and start again.",
            Self::Settings { .. } => "Name a file that exists and that this uid may read with --config.",
            Self::NoPlace => "Set HOME, or name a settings file with --config.",
            Self::SecretInEnvironment(name) => {
                return format!("Unset {name} and put the value in a file of mode 0600 that the settings name.");
            }
            Self::Harden(_) => "Allow prctl and setrlimit to this process.",
            Self::PortTaken { .. } => "Stop that program, or set another `listen`.",
            Self::SocketTaken { .. } => "Stop that program, or set another `runtime_dir`.",
            Self::Listen { .. } => "Set an address of this machine, or a directory that this uid may write.",
            Self::SealKey(_) => "Correct the key file, or name another as `seal_key_file`.",
            Self::TokenFile { path, fault } => return fault.action(path),
            Self::Directory { path, fault } => return fault.action(path),
            Self::KeyInState { .. } => "Move the key file out of the state directory, so that no backup holds both.",
            Self::TrustDomain { .. } => {
                "Set `trust_domain` to the one that is meant, or use a token made for this one."
            }
            Self::Clock { .. } | Self::NotNow { .. } => "Set both clocks, by NTP for example, and start again.",
            Self::NotJoined | Self::SvidExpired => {
                "Make a token with `avouch token create` on the issuer and name its file as `join_token_file`."
            }
            Self::TokenMalformed(_) => "Copy the whole token, on one line.",
            Self::TokenExpired | Self::TokenRefused => {
                "Make a new one on the issuer, with avouch token create --node NAME, and start again with it."
            }
            Self::Refused { action, .. } => return action.clone(),
            Self::Imposter { .. } => "Check the address, and make a new token on the issuer that is meant.",
            Self::Unreachable { .. } => "Check `issuer` in the settings, and that the issuer runs.",
            Self::Database { .. } => "Check the state directory's disk and owner, and that no other issuer uses it.",
            Self::Authorities(_) => "Name the key file that this database's authorities were sealed with.",
            Self::Source { .. } => "Correct its entry among `[[source]]` in the settings, or the file that it names.",
            Self::Internal { .. } => "Look at the log, and start again.",
        };
        fixed.to_owned()
    }

    /// The exit code (0 to 8, as all verbs have them).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Settings { .. }
            | Self::NoPlace
            | Self::SecretInEnvironment(_)
            | Self::SealKey(_)
            | Self::TokenFile { .. }
            | Self::KeyInState { .. }
            | Self::Source { .. }
            | Self::TokenMalformed(_) => USAGE,
            Self::TrustDomain { .. }
            | Self::Clock { .. }
            | Self::NotNow { .. }
            | Self::NotJoined
            | Self::TokenRefused
            | Self::Refused { .. }
            | Self::Imposter { .. } => NOT_ATTESTED,
            Self::Unreachable { .. } => UNREACHABLE,
            Self::TokenExpired | Self::SvidExpired => EXPIRED,
            Self::Harden(_)
            | Self::PortTaken { .. }
            | Self::SocketTaken { .. }
            | Self::Listen { .. }
            | Self::Directory { .. }
            | Self::Database { .. }
            | Self::Authorities(_)
            | Self::Internal { .. } => FAILURE,
        }
    }
}

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const NOT_ATTESTED: u8 = 5;
const UNREACHABLE: u8 = 7;
const EXPIRED: u8 = 8;
