//! The one table from what went wrong to a gRPC status on the Workload API (spiffe-conformance §10, §11). Nothing
//! here says more than the standard's codes do: which agents exist is nobody's business.

use tonic::{Code, Status};

/// Why a call is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// WEP-05.
    #[error("the security header is missing: set the metadata workload.spiffe.io to true")]
    NoHeader,
    /// WAJ-02.
    #[error("at least one audience is needed, and none may be empty")]
    NoAudience,
    /// More, or longer, than anybody needs.
    #[error("too many audiences, or one that is too long")]
    TooMuchAudience,
    /// WAJ-05.
    #[error("the spiffe_id is not a SPIFFE ID")]
    BadSpiffeId,
    /// WAJ-20.
    #[error("audience and svid are both needed")]
    NothingToValidate,
    /// WAJ-21, SIL-01.
    #[error("the JWT-SVID is not valid for this audience")]
    InvalidToken,
    /// WEP-10, WAC-10, WAC-11, WAJ-05, WAJ-07: one text for all.
    #[error("no identity for this caller")]
    NotEntitled,
    /// WEP-09: starting, or the issuer cannot be reached.
    #[error("no identity is ready yet; try again")]
    NotReady,
    /// A31.
    #[error("too many calls from this user; slow down")]
    TooOften,
    /// The process that called has ended.
    #[error("the caller has gone")]
    Gone,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::NoHeader
            | Refusal::NoAudience
            | Refusal::TooMuchAudience
            | Refusal::BadSpiffeId
            | Refusal::NothingToValidate
            | Refusal::InvalidToken => Code::InvalidArgument,
            Refusal::NotEntitled => Code::PermissionDenied,
            Refusal::NotReady => Code::Unavailable,
            Refusal::TooOften => Code::ResourceExhausted,
            Refusal::Gone => Code::Cancelled,
        };
        Self::new(code, refusal.to_string())
    }
}
