//! What a daemon's refusal means for whoever typed a verb.

use crate::failure::{Exit, Failure};
use avouch_wire::Message as _;
use avouch_wire::issuer::Refusal;
use avouch_wire::tonic::{Code, Status};

/// The failure that a status tells of: the daemon's own words if it sent any.
pub fn failure(status: &Status) -> Failure {
    let refusal = Refusal::decode(status.details()).unwrap_or_default();
    let sentence = match (refusal.message.is_empty(), status.message().is_empty()) {
        (false, _) => refusal.message,
        (true, false) => status.message().to_owned(),
        (true, true) => format!("the call failed: {}", status.code().description()),
    };
    let coded = if refusal.code.is_empty() { sentence } else { format!("{sentence} ({})", refusal.code) };
    Failure::new(exit(status.code(), &refusal.code), coded).then(refusal.action)
}

fn exit(code: Code, word: &str) -> Exit {
    if word.contains("expired") {
        return Exit::Expired;
    }
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::PermissionDenied => Exit::Denied,
        Code::Unauthenticated => Exit::NotAttested,
        Code::Unavailable => Exit::Unreachable,
        Code::DeadlineExceeded => Exit::Timeout,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => Exit::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_in_the_details_is_told_in_its_own_words() {
        let refusal = Refusal {
            code: "unknown_agent".into(),
            message: "There is no agent of this name.".into(),
            action: "See `avouch agent list`.".into(),
            ..Default::default()
        };
        let status = Status::with_details(Code::NotFound, "not found", refusal.encode_to_vec().into());
        let failure = failure(&status);
        assert_eq!(failure.code(), 3);
        assert_eq!(failure.to_string(), "There is no agent of this name. (unknown_agent)\n  See `avouch agent list`.");
    }

    #[test]
    fn a_bare_status_still_has_a_sentence_and_a_code() {
        for (code, exit) in [
            (Code::InvalidArgument, 2),
            (Code::PermissionDenied, 4),
            (Code::Unauthenticated, 5),
            (Code::Unavailable, 7),
            (Code::DeadlineExceeded, 124),
            (Code::Internal, 1),
        ] {
            let failure = failure(&Status::new(code, ""));
            assert_eq!(failure.code(), exit);
            assert!(failure.to_string().len() > 10);
        }
    }
}
