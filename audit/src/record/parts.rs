//! What several events have in common.

use crate::field::{Code, Count, Outside};
use crate::spool::SpoolId;
use avouch_words::{Name, Ulid};
use serde::{Deserialize, Serialize};

/// Who administers: known by uid on the local socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The uid of the process that called.
    pub uid: u32,
    /// The name that the settings give to that uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

/// The attested process group that calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// The agent.
    pub agent: Name,
    /// Its running instance.
    pub instance: Ulid,
    /// The session, for a call that came in by a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Ulid>,
}

/// The canonical request, as it was judged. Values of the query and bodies are not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `http` or `https`.
    pub scheme: Code,
    /// The host, without the port.
    pub host: Outside<255>,
    /// The port.
    pub port: u16,
    /// The method.
    pub method: Outside<20>,
    /// The path.
    pub path: Outside<2048>,
    /// The keys of the query, in order, with `&` between them (`&` in a key is escaped in a canonical request).
    pub query_keys: Outside<512>,
}

/// A credential that is put into a request, and the rules that say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The credential.
    pub credential: Name,
    /// The grants that allow it.
    pub grants: Vec<Ulid>,
}

/// What one durable intent covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One call.
    Each,
    /// A value that a program holds itself, until its outcome.
    Reveal,
}

/// What is owed to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseOf {
    /// A login at the source.
    Login,
    /// An issue of a credential.
    Credential,
}

/// How a permitted call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The tool answered, whatever it said, and the answer was passed on whole.
    Ok {
        /// The HTTP status.
        status: u16,
    },
    /// It failed on the way.
    Error {
        /// The refusal code that the agent was given, or what went wrong after the answer began.
        kind: Code,
        /// The HTTP status, if the tool's answer had begun.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// The agent was locked, or its session ended, in the middle.
    Cut {
        /// The HTTP status, if the tool's answer had begun.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// The helper ended before it could know. Written by its next start.
    Unknown {},
}

/// Why a helper injects nothing for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleCause {
    /// The lock state is older than the staleness bound, or was never learned.
    Age,
    /// The issuer sent a lower version than is held.
    VersionWentBack,
    /// The issuer speaks for another trust domain.
    OtherTrustDomain,
    /// A lock that is held is missing, and was not said to have ended.
    LocksVanished,
}

/// Where a spool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolEnd {
    /// The spool.
    pub spool: SpoolId,
    /// How many records it has.
    pub records: Count,
}

/// What became of a spool that was not found as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Its files are gone.
    Missing,
    /// Records in its middle, or acknowledged ones, are gone or changed.
    Broken,
}
