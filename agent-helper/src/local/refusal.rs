//! The one table from what went wrong to a gRPC status on the helper's admin socket.

use avouch_policy::BadBinding;
use avouch_sources::sealed::PutFault;
use avouch_wire::Message;
use avouch_wire::issuer;
use tonic::{Code, Status};

/// Why a call is not answered.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// U01.
    #[error("uid is not an operator of this helper")]
    NotOperator,
    /// U21, invariant 11.
    #[error("a process inside a session may not administer")]
    Inside,
    /// The credential's name.
    #[error("the credential's name is no name: a-z, 0-9, '-', '_' and '.', at most 64")]
    BadName,
    /// The agent's name.
    #[error("the agent's name is no name: a-z, 0-9, '-', '_' and '.', at most 64")]
    BadAgent,
    /// No source is called so.
    #[error("this helper's settings name no source of this name")]
    NoSource,
    /// Nothing is known of agents, credentials and grants.
    #[error("this helper has heard nothing from the issuer yet")]
    NotHeard,
    /// Sources are entered for who lives here alone.
    #[error("no instance of the agent lives on this node")]
    NoInstance,
    /// The agent may not use it, or it lies elsewhere.
    #[error("the agent may use no credential of this name of this source")]
    NotOfSource,
    /// The binding.
    #[error("the binding cannot be used: {0}")]
    BadBinding(BadBinding),
    /// The value, or the store.
    #[error("the value was not stored: {0}")]
    Put(PutFault),
    /// There is none, or it cannot be opened.
    #[error("there is no sealed backup of this file")]
    NoBackup,
    /// None has that id.
    #[error("there is no such lease")]
    NoLease,
    /// What a backup would be written to.
    #[error("a backup is written only to an empty file of mode 0600 of the caller's own, that the helper may open")]
    NotYours,
    /// Nothing is restored that is not on record.
    #[error("the audit record could not be written, so nothing was restored")]
    NotRecorded,
    /// Something of ours failed.
    #[error("the helper failed")]
    Failed,
}

impl Refusal {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotOperator => "not_operator",
            Self::Inside => "inside_session",
            Self::BadName => "bad_name",
            Self::BadAgent => "bad_agent",
            Self::NoSource => "no_source",
            Self::NotHeard => "issuer_unheard",
            Self::NoInstance => "no_instance",
            Self::NotOfSource => "not_of_source",
            Self::BadBinding(_) => "bad_binding",
            Self::Put(PutFault::TooShort) => "value_too_short",
            Self::Put(PutFault::TooLong) => "value_too_long",
            Self::Put(PutFault::NotPrintable) => "value_not_printable",
            Self::Put(PutFault::TooMany) => "too_many_backups",
            Self::Put(PutFault::Write(_) | PutFault::Seal) => "not_stored",
            Self::NoBackup => "no_backup",
            Self::NoLease => "unknown_lease",
            Self::NotYours => "not_your_file",
            Self::NotRecorded => "audit_unavailable",
            Self::Failed => "internal",
        }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::NotOperator => "Call as an operator that the helper's settings name, or add this uid to `operators`.",
            Self::Inside => "Call from a terminal that is not below `avouch run`.",
            Self::BadName | Self::BadAgent => "Choose another name.",
            Self::NoSource => "See `avouch source list`.",
            Self::NotHeard => "See `avouch status`.",
            Self::NoInstance => "Start one and leave it running: `avouch run --agent AGENT -- sleep 300`.",
            Self::NotOfSource => "See `avouch credential list` and `avouch grant list`.",
            Self::BadBinding(_) => "Correct the binding and put the secret again.",
            Self::Put(PutFault::TooShort) => "Use a value of at least 8 bytes.",
            Self::Put(PutFault::TooLong) => "Use a shorter value.",
            Self::Put(PutFault::NotPrintable) => "Use a value of printable ASCII on one line.",
            Self::Put(PutFault::TooMany) => {
                "Restore one with `avouch import FILE --restore`, which takes it out of the store."
            }
            Self::NoBackup => "Name the file as it was named for `avouch import FILE --backup`.",
            Self::NoLease => "See `avouch lease list`; one that was given back is not in it any more.",
            Self::NotYours => "Restore as the user that the helper runs as, or have the helper run as root.",
            Self::Put(PutFault::Write(_) | PutFault::Seal) | Self::NotRecorded | Self::Failed => {
                "Look at the helper's log and its disk."
            }
        }
    }

    fn grpc(&self) -> Code {
        match self {
            Self::NotOperator | Self::Inside => Code::PermissionDenied,
            Self::BadName
            | Self::BadAgent
            | Self::BadBinding(_)
            | Self::NotYours
            | Self::Put(PutFault::TooShort | PutFault::TooLong | PutFault::NotPrintable) => Code::InvalidArgument,
            Self::NoBackup | Self::NoLease | Self::NoSource | Self::NoInstance | Self::NotOfSource => Code::NotFound,
            Self::Put(PutFault::TooMany) => Code::ResourceExhausted,
            Self::NotRecorded | Self::NotHeard => Code::Unavailable,
            Self::Put(PutFault::Write(_) | PutFault::Seal) | Self::Failed => Code::Internal,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let details = issuer::Refusal {
            code: refusal.code().to_owned(),
            message: refusal.to_string(),
            action: refusal.action().to_owned(),
            retry: "never".to_owned(),
            ..Default::default()
        };
        Self::with_details(refusal.grpc(), refusal.to_string(), details.encode_to_vec().into())
    }
}
