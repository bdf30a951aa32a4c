//! What the demo tells its agents, and what they report: one line of JSON each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One thing to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Order {
    /// Show all that the program has: arguments, environment, its files.
    Own,
    /// Fetch an X.509-SVID and a JWT-SVID, check both, and ask for audiences that no agent gets.
    Identity {
        /// Audience of the JWT-SVID.
        audience: String,
        /// Audiences that must be refused.
        reserved: Vec<String>,
    },
    /// One HTTP call.
    Call {
        /// The method.
        method: String,
        /// The URL.
        url: String,
    },
    /// Open a stream and leave it open.
    HoldStream {
        /// The URL.
        url: String,
    },
    /// Make a call through a tunnel, and leave the tunnel open.
    HoldTunnel {
        /// The URL.
        url: String,
    },
    /// Call again and again until it is refused.
    UntilRefused {
        /// The URL.
        url: String,
    },
    /// Wait until all that is held open was cut.
    AwaitCut,
    /// Try every way round the broker.
    GoRound(Target),
}

/// Where things are that an agent has no business with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Target {
    /// The helper's seal key.
    pub key_file: PathBuf,
    /// Where the issuer's sockets are.
    pub issuer: PathBuf,
    /// Where the helper's are.
    pub sockets: PathBuf,
    /// The helper's process.
    pub helper: i32,
    /// The agent's own lock.
    pub lock: String,
    /// The tool's plain side.
    pub tool: SocketAddr,
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Why nothing did.
    pub error: Option<String>,
    /// HTTP status.
    pub status: u16,
    /// HTTP body.
    pub body: String,
    /// Facts by name.
    pub notes: BTreeMap<String, String>,
    /// When, on the clock since boot, in microseconds.
    pub at_us: u64,
    /// Everything that was read, in base64.
    pub(super) read: Vec<String>,
}

impl Report {
    /// A report of what was read.
    pub fn read(all: Vec<Vec<u8>>) -> Self {
        Self { read: all.iter().map(|one| STANDARD.encode(one)).collect(), ..Self::default() }
    }

    /// The same, and this was read as well.
    #[must_use]
    pub fn and_read(mut self, one: Vec<u8>) -> Self {
        self.read.push(STANDARD.encode(one));
        self
    }

    /// Everything that was read, as it was.
    pub fn all_read(&self) -> impl Iterator<Item = Vec<u8>> {
        self.read.iter().filter_map(|one| STANDARD.decode(one).ok())
    }

    /// A fact by name; empty if it is not there.
    pub fn note(&self, name: &str) -> &str {
        self.notes.get(name).map_or("", String::as_str)
    }
}
