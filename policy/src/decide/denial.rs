//! A refusal with two texts: what the agent may read, and what the operator needs.

use crate::binding::Mismatch;
use crate::placeholder::Place;
use crate::refusal::RefusalCode;
use crate::state::AgentState;
use avouch_words::{Name, Ulid};

/// The answer no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    decision: Ulid,
    version: u64,
    reason: Reason,
}

/// Why, for the operator only: it names credentials, locks and the nearest miss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A lock is in force.
    #[error("lock {lock} is in force")]
    Locked {
        /// The lock.
        lock: Ulid,
    },
    /// The node has no such agent.
    #[error("this node knows no such agent")]
    UnknownAgent,
    /// Its life has not begun, or is halted or over.
    #[error("the agent is {state:?}, not Active")]
    NotActive {
        /// Where it is.
        state: AgentState,
    },
    /// No granted credential's binding admits the request.
    #[error("no granted credential goes with this request{}", .nearest.as_ref().map(Miss::sentence).unwrap_or_default())]
    NotGranted {
        /// The granted credential that came nearest.
        nearest: Option<Miss>,
    },
    /// A placeholder names a credential that does not go with the request where it stands.
    #[error("a placeholder names what does not go with this request there{}", .miss.as_ref().map(Miss::sentence).unwrap_or_default())]
    Placeholder {
        /// The credential that it names, if that is granted; else the one that came nearest, if none goes at all.
        miss: Option<Miss>,
    },
    /// A placeholder stands where nothing is put in.
    #[error("a placeholder stands in the {}", .place.as_str())]
    Misplaced {
        /// Where.
        place: Place,
    },
    /// Two credentials for one header.
    #[error("the header {header} would be filled by {}", names(.credentials))]
    AmbiguousSlot {
        /// The header, in lower case.
        header: String,
        /// The credentials, by name.
        credentials: Vec<Name>,
    },
    /// Credentials that are all to be filled, but whose bindings dial different addresses or trust different roots.
    #[error("the bindings of {} differ in address or ca", names(.credentials))]
    AmbiguousRoute {
        /// The credentials, by name.
        credentials: Vec<Name>,
    },
}

/// A granted credential that does not go with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The credential.
    pub credential: Name,
    /// The first thing its binding does not admit.
    pub mismatch: Mismatch,
}

impl Miss {
    fn sentence(&self) -> String {
        format!("; nearest is {}, which does not admit the {}", self.credential, self.mismatch.as_str())
    }
}

impl Reason {
    /// A stable word for records and metrics.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "locked",
            Self::UnknownAgent => "unknown_agent",
            Self::NotActive { .. } => "not_active",
            Self::NotGranted { .. } => "not_granted",
            Self::Placeholder { .. } => "placeholder",
            Self::Misplaced { .. } => "placeholder_misplaced",
            Self::AmbiguousSlot { .. } => "ambiguous_slot",
            Self::AmbiguousRoute { .. } => "ambiguous_route",
        }
    }
}

impl Denial {
    pub(super) fn new(decision: Ulid, version: u64, reason: Reason) -> Self {
        Self { decision, version, reason }
    }

    /// The decision's id, the one thing that the agent and the operator both see.
    pub fn decision(&self) -> Ulid {
        self.decision
    }

    /// The version of the state it was made on.
    pub fn policy_version(&self) -> u64 {
        self.version
    }

    /// The operator's reason. Never for the agent.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// What the agent reads. Locked, unknown, inactive, not granted and wrongly named are one code with one text (case A30).
    pub fn refusal(&self) -> RefusalCode {
        match self.reason {
            Reason::Locked { .. }
            | Reason::UnknownAgent
            | Reason::NotActive { .. }
            | Reason::NotGranted { .. }
            | Reason::Placeholder { .. } => RefusalCode::Denied,
            Reason::Misplaced { .. } => RefusalCode::PlaceholderMisplaced,
            Reason::AmbiguousSlot { .. } | Reason::AmbiguousRoute { .. } => RefusalCode::AmbiguousCredential,
        }
    }
}

fn names(credentials: &[Name]) -> String {
    credentials.iter().map(Name::as_str).collect::<Vec<_>>().join(" and ")
}
