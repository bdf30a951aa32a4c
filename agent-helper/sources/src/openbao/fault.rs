//! The one table from what the store answered to a fault.

use std::time::Duration;

use reqwest::StatusCode;
use rustify_derive::Endpoint;

use super::client::{Reply, Way};
use crate::SourceFault;

/// How long is waited where the store does not say.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest patience that a store can ask for.
pub const PATIENCE_MAX: Duration = Duration::from_secs(300);

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// To be let in, or for something of one's own login or lease.
    Login,
    /// A secret.
    Secret,
    /// Credentials of a role.
    Role,
}

/// Whether the store is sealed, which anybody may ask.
#[derive(Debug, Endpoint)]
#[endpoint(path = "sys/seal-status")]
struct SealStatus {}

#[derive(serde::Deserialize)]
struct Seal {
    sealed: bool,
}

/// A reply that is none of a fault.
pub(super) async fn checked(reply: Reply, way: &Way, asked: Asked) -> Result<Reply, SourceFault> {
    let status = reply.status;
    if status.is_success() {
        return Ok(reply);
    }
    if status.is_redirection() {
        tracing::warn!(%status, "the store answers with a redirect, which is not followed: set the address of the active node");
    }
    Err(match fault(status, reply.patience, asked) {
        // A proxy before the store answers so too.
        SourceFault::Unavailable if status == StatusCode::SERVICE_UNAVAILABLE && is_sealed(way).await => {
            SourceFault::Sealed
        }
        fault => fault,
    })
}

fn fault(status: StatusCode, patience: Option<Duration>, asked: Asked) -> SourceFault {
    match (status.as_u16(), asked) {
        (429, _) => SourceFault::Busy(patience.unwrap_or(PATIENCE).min(PATIENCE_MAX)),
        (404, Asked::Secret | Asked::Role) => SourceFault::Missing,
        // "unknown role" is told by this status.
        (400, Asked::Role) => SourceFault::Missing,
        (400 | 401 | 403 | 404 | 405, _) => SourceFault::Denied,
        _ => SourceFault::Unavailable,
    }
}

async fn is_sealed(way: &Way) -> bool {
    let Ok(reply) = way.ask(SealStatus {}, None).await else { return false };
    serde_json::from_slice(&reply.body).is_ok_and(|seal: Seal| seal.sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_fault() {
        use SourceFault::{Busy, Denied, Missing, Unavailable};
        for (status, secret, role, login) in [
            (400, Denied, Missing, Denied),
            (403, Denied, Denied, Denied),
            (404, Missing, Missing, Denied),
            (405, Denied, Denied, Denied),
            (412, Unavailable, Unavailable, Unavailable),
            (429, Busy(PATIENCE), Busy(PATIENCE), Busy(PATIENCE)),
            (307, Unavailable, Unavailable, Unavailable),
            (500, Unavailable, Unavailable, Unavailable),
            (502, Unavailable, Unavailable, Unavailable),
            (503, Unavailable, Unavailable, Unavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(fault(status, None, Asked::Secret), secret, "{status}");
            assert_eq!(fault(status, None, Asked::Role), role, "{status}");
            assert_eq!(fault(status, None, Asked::Login), login, "{status}");
        }
    }

    #[test]
    fn patience_is_what_the_store_says_within_reason() {
        let busy = |seconds| fault(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(seconds)), Asked::Secret);
        assert_eq!(busy(7), SourceFault::Busy(Duration::from_secs(7)));
        assert_eq!(busy(u64::MAX), SourceFault::Busy(PATIENCE_MAX));
    }
}
