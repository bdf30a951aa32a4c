//! What AWS answers instead of a secret, as one of the faults of sources. Only the code is looked at and logged: the
//! message names accounts and roles.

use std::error::Error;
use std::time::Duration;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};

use super::http::TooLong;
use crate::SourceFault;

/// How long it is waited when AWS asks for patience and does not say how much.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// The longest that it is waited.
pub const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// A fault, and whether the login is what was wrong with it.
pub(super) struct Refused {
    pub(super) fault: SourceFault,
    pub(super) by_login: bool,
}

impl From<SourceFault> for Refused {
    fn from(fault: SourceFault) -> Self {
        Self { fault, by_login: false }
    }
}

pub(super) fn refused<E: ProvideErrorMetadata + Error + 'static>(what: &'static str, error: SdkError<E>) -> Refused {
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    tracing::warn!(what, code, status, "aws.refused");
    let fault = match &error {
        SdkError::DispatchFailure(failure) => match failure.as_connector_error().and_then(Error::source) {
            Some(source) if source.is::<TooLong>() => SourceFault::Garbage,
            _ => SourceFault::Unavailable,
        },
        SdkError::ServiceError(_) => by_code(code, status.unwrap_or_default(), || {
            let after = error.raw_response()?.headers().get("retry-after")?.parse().ok()?;
            Some(Duration::from_secs(after).min(PATIENCE_MAX))
        }),
        SdkError::ResponseError(_) => SourceFault::Garbage,
        // Without an answer; what the SDK may add one day is none either.
        _ => SourceFault::Unavailable,
    };
    Refused { fault, by_login: LOGIN.contains(&code) }
}

/// The keys of the session have ended or are unknown.
const LOGIN: [&str; 5] =
    ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "RequestExpired", "UnrecognizedClientException"];

fn by_code(code: &str, status: u16, patience: impl FnOnce() -> Option<Duration>) -> SourceFault {
    match code {
        // The second says that the secret is marked for deletion.
        "ResourceNotFoundException" | "InvalidRequestException" => SourceFault::Missing,
        "InvalidParameterException" | "ValidationException" => SourceFault::Reference,
        // Its key in KMS is disabled, or waits for its deletion.
        "DecryptionFailure" => SourceFault::Sealed,
        "AccessDenied"
        | "AccessDeniedException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IDPRejectedClaim"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidIdentityToken"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => SourceFault::Denied,
        "RequestLimitExceeded" | "SlowDown" | "Throttling" | "ThrottlingException" | "TooManyRequestsException" => {
            SourceFault::Busy(patience().unwrap_or(PATIENCE))
        }
        _ => match status {
            401 | 403 => SourceFault::Denied,
            429 => SourceFault::Busy(patience().unwrap_or(PATIENCE)),
            // It says that all is well, and cannot be read.
            200..300 => SourceFault::Garbage,
            _ => SourceFault::Unavailable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_fault_and_unknown_ones_are_no_value() {
        let fault = |code: &str, status| by_code(code, status, || None);
        assert_eq!(fault("ResourceNotFoundException", 400), SourceFault::Missing);
        assert_eq!(fault("AccessDeniedException", 400), SourceFault::Denied);
        assert_eq!(fault("DecryptionFailure", 400), SourceFault::Sealed);
        assert_eq!(fault("ThrottlingException", 400), SourceFault::Busy(PATIENCE));
        assert_eq!(fault("InvalidParameterException", 400), SourceFault::Reference);
        assert_eq!(fault("InternalServiceError", 500), SourceFault::Unavailable);
        assert_eq!(fault("", 403), SourceFault::Denied);
        assert_eq!(fault("", 200), SourceFault::Garbage);
        assert_eq!(fault("", 302), SourceFault::Unavailable);
        assert_eq!(by_code("", 429, || Some(Duration::from_secs(7))), SourceFault::Busy(Duration::from_secs(7)));
    }
}
