//! Messages that carry keys, tokens or secrets print their name and nothing else.

use crate::{admin, issuer, local, workload};
use std::fmt;

macro_rules! prints_its_name {
    ($($message:ty => $name:literal),* $(,)?) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($name)
            }
        }
    )*};
}

prints_its_name! {
    workload::X509svid => "X509SVID",
    workload::Jwtsvid => "JWTSVID",
    workload::ValidateJwtsvidRequest => "ValidateJWTSVIDRequest",
    issuer::EnrolRequest => "EnrolRequest",
    issuer::SignJwtReply => "SignJwtReply",
    admin::CreateTokenReply => "CreateTokenReply",
    local::PutSecretRequest => "PutSecretRequest",
    local::RevealedPart => "RevealedPart",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_with_secrets_do_not_print_them() {
        let message = local::PutSecretRequest { value: b"hunter2".to_vec(), ..Default::default() };
        assert_eq!(format!("{message:?}"), "PutSecretRequest");
        let reply = workload::X509svidResponse {
            svids: vec![workload::X509svid { x509_svid_key: b"hunter2".to_vec(), ..Default::default() }],
            ..Default::default()
        };
        assert!(!format!("{reply:?}").contains("104"), "{reply:?}");
    }
}
