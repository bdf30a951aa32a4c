//! The issuer's one table of errors: what a call fails with, and how that goes over the wire. The only file that names
//! `tonic::Code`. The caller reads a stable code, one sentence and what to do; the reason goes to the log, with the
//! decision id that both have.

use avouch_core::refusal::{Denial, Fault, RETRY_AFTER_SECONDS, Refusal};
use avouch_policy::Retry;
use avouch_store::StoreError;
use avouch_wire::{Message as _, issuer};
use avouch_words::Ulid;
use tonic::{Code, Status};

/// What a call fails with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A field is not what it has to be.
    #[error("{field} {fault}")]
    Malformed {
        /// The field, as the message names it.
        field: &'static str,
        /// What is wrong with it, as the rest of a sentence.
        fault: String,
    },
    /// The connection shows no node SVID of this trust domain.
    #[error("the connection shows no valid node SVID")]
    NotANode,
    /// The uid at the other end is no operator's.
    #[error("uid {0} is mapped to no operator")]
    NotAnOperator(u32),
    /// The process at the other end is in a session.
    #[error("process {0} is in a session")]
    InsideSession(i32),
    /// Whether the process is in a session cannot be known.
    #[error("it cannot be known whether the caller is in a session: {0}")]
    Unattested(String),
    /// The spool of a node does not go on from where it is.
    #[error("the spool is out of step: {0}")]
    Spool(&'static str),
    /// The database.
    #[error("the database failed: {0}")]
    Store(#[from] StoreError),
    /// Too much at a time.
    #[error("too many {0} at a time")]
    Busy(&'static str),
    /// The issuer is being stopped.
    #[error("the issuer is stopping")]
    Stopping,
    /// Something of ours is broken.
    #[error("{0}")]
    Broken(String),
}

/// One line of the table.
struct Row {
    code: Code,
    word: &'static str,
    message: String,
    action: &'static str,
    retry: Retry,
    fault: Fault,
}

impl Failure {
    /// A field that is not what it has to be.
    pub(crate) fn malformed(field: &'static str, fault: impl ToString) -> Self {
        Self::Malformed { field, fault: fault.to_string() }
    }

    /// What the store says of a thing that an operator named: that it is there already, or that it is not.
    pub(crate) fn named(name: &str) -> impl FnOnce(StoreError) -> Self {
        let name = name.to_owned();
        move |error| match error {
            StoreError::Exists(kind) => Refusal::Exists { kind, name }.into(),
            StoreError::NotFound(kind) => Refusal::NotFound { kind, name }.into(),
            other => Self::Store(other),
        }
    }

    /// What the caller gets. The reason is logged under the decision id.
    pub(crate) fn status(&self, decision: Ulid) -> Status {
        let row = self.row();
        match row.fault {
            Fault::Caller => tracing::info!(%decision, code = row.word, reason = %self, "refused"),
            Fault::Later => tracing::warn!(%decision, code = row.word, reason = %self, "not now"),
            Fault::Us => tracing::error!(%decision, code = row.word, reason = %self, "failed"),
        }
        let refusal = self.told(decision);
        Status::with_details(row.code, row.message, refusal.encode_to_vec().into())
    }

    /// The same for one order of a batch.
    pub(crate) fn told(&self, decision: Ulid) -> issuer::Refusal {
        let row = self.row();
        issuer::Refusal {
            code: row.word.to_owned(),
            message: row.message,
            action: row.action.to_owned(),
            retry: row.retry.as_str().to_owned(),
            retry_after_seconds: row.retry.after_seconds().unwrap_or(0),
            decision_id: decision.to_string(),
        }
    }

    fn row(&self) -> Row {
        let caller = |code, word, message: &str, action| Row {
            code,
            word,
            message: message.to_owned(),
            action,
            retry: Retry::Never,
            fault: Fault::Caller,
        };
        let again = |word, message: &str, fault| Row {
            code: Code::Unavailable,
            word,
            message: message.to_owned(),
            action: "Ask again later.",
            retry: Retry::After(RETRY_AFTER_SECONDS),
            fault,
        };
        match self {
            Self::Refused(refusal) => Row {
                code: refused(refusal),
                word: refusal.code(),
                message: refusal.message(),
                action: refusal.action(),
                retry: refusal.retry(),
                fault: refusal.fault(),
            },
            Self::Malformed { .. } => {
                let message = format!("The field {self}.");
                caller(Code::InvalidArgument, "bad_request", &message, "Correct the field and ask again.")
            }
            Self::NotANode => caller(
                Code::Unauthenticated,
                "not_a_node",
                "This is answered to nodes of this trust domain only.",
                "Join with a join token, or renew the node's SVID.",
            ),
            Self::NotAnOperator(_) => caller(
                Code::PermissionDenied,
                "not_an_operator",
                "This uid is mapped to no operator.",
                "Add the uid to `operators` in the issuer's settings.",
            ),
            Self::InsideSession(_) => caller(
                Code::PermissionDenied,
                "inside_session",
                "A process in a session may not administer.",
                "Ask from a terminal that is not below `avouch run`.",
            ),
            Self::Unattested(_) => caller(
                Code::PermissionDenied,
                "unattested",
                "It cannot be known whether the caller is in a session, so it is refused.",
                "See that the issuer can read the `session_roots` of its settings, and that the helper runs.",
            ),
            Self::Spool(message) => caller(
                Code::FailedPrecondition,
                "spool_out_of_step",
                message,
                "Open the spool again and go on from where the issuer says.",
            ),
            // Something that was there a moment ago is not any more, or the other way round: a race, and no fault.
            Self::Store(StoreError::Exists(_) | StoreError::NotFound(_) | StoreError::Busy(_) | StoreError::Fenced) => {
                again("unavailable", "The issuer's state changed, or is busy.", Fault::Later)
            }
            // Never "not done": it may have been.
            Self::Store(StoreError::Unknown) => Row {
                code: Code::Unknown,
                action: "Look whether it was made before you ask again.",
                retry: Retry::Never,
                ..again(
                    "outcome_unknown",
                    "The database was lost in the middle; the change may have been made.",
                    Fault::Us,
                )
            },
            Self::Store(
                StoreError::Damaged { .. }
                | StoreError::Unrecorded
                | StoreError::Spoiled
                | StoreError::Event(_)
                | StoreError::Stopped
                | StoreError::Sql(_),
            ) => again("unavailable", "The issuer cannot read or write its state now.", Fault::Us),
            Self::Busy(_) => Row {
                code: Code::ResourceExhausted,
                ..again("busy", "The issuer has too much to do at this moment.", Fault::Later)
            },
            Self::Stopping => again("unavailable", "The issuer is stopping.", Fault::Later),
            Self::Broken(_) => Row {
                code: Code::Internal,
                action: "Look at the issuer's log.",
                ..again("internal", "The issuer failed.", Fault::Us)
            },
        }
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self::Refused(Refusal::Denied(denial))
    }
}

impl From<crate::state::Unreadable> for Failure {
    fn from(unreadable: crate::state::Unreadable) -> Self {
        match unreadable {
            crate::state::Unreadable::Store(error) => Self::Store(error),
            crate::state::Unreadable::Authority(error) => error.into(),
            clock @ crate::state::Unreadable::Clock(_) => Self::Broken(clock.to_string()),
        }
    }
}

impl From<avouch_core::refusal::Invalid> for Failure {
    fn from(invalid: avouch_core::refusal::Invalid) -> Self {
        Self::Refused(Refusal::Invalid(invalid))
    }
}

impl From<avouch_core::authority::AuthorityError> for Failure {
    fn from(error: avouch_core::authority::AuthorityError) -> Self {
        Self::Refused(Refusal::Authority(error))
    }
}

impl From<avouch_core::authority::BadCsr> for Failure {
    fn from(bad: avouch_core::authority::BadCsr) -> Self {
        Self::Refused(Refusal::Csr(bad))
    }
}

fn refused(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Denied(denial) => match denial {
            Denial::TrustDomain | Denial::Clock => Code::FailedPrecondition,
            Denial::TokenUnknown
            | Denial::TokenExpired
            | Denial::TokenReplayed
            | Denial::Node
            | Denial::NodeCloned
            | Denial::AgentUnknown
            | Denial::NodeNotAllowed
            | Denial::Locked(_)
            | Denial::InstanceElsewhere
            | Denial::InstanceNotLive
            | Denial::AudienceReserved
            | Denial::AudienceNotASource
            | Denial::AudienceInvalid => Code::PermissionDenied,
        },
        Refusal::Csr(_) | Refusal::Invalid(_) => Code::InvalidArgument,
        Refusal::NotFound { .. } => Code::NotFound,
        Refusal::Exists { .. } => Code::AlreadyExists,
        Refusal::Authority(_) => match refusal.fault() {
            Fault::Caller => Code::FailedPrecondition,
            Fault::Later => Code::Unavailable,
            Fault::Us => Code::Internal,
        },
    }
}
