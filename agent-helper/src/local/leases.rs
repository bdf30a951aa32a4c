//! ListLeases, RevokeLease and RotateCredential: what sources are owed, and what is taken anew.

use super::{Desk, Refusal};
use crate::leases::Told;
use avouch_audit::record::HelperEvent;
use avouch_sources::ObligationKind;
use avouch_wire::local::{
    Lease, ListLeasesReply, RevokeLeaseReply, RevokeLeaseRequest, RotateCredentialReply, RotateCredentialRequest,
};
use avouch_words::Name;

/// Answers ListLeases.
pub fn list(desk: &Desk) -> ListLeasesReply {
    ListLeasesReply { leases: desk.leases.list().into_iter().map(told).collect() }
}

/// Answers RevokeLease.
pub fn revoke(desk: &Desk, uid: u32, request: &RevokeLeaseRequest) -> Result<RevokeLeaseReply, Refusal> {
    desk.leases.revoke(&request.id).map_err(|_| Refusal::NoLease)?;
    tracing::info!(uid, lease = request.id, "local.lease.revoked");
    Ok(RevokeLeaseReply {})
}

/// Answers RotateCredential.
pub fn rotate(desk: &Desk, uid: u32, request: &RotateCredentialRequest) -> Result<RotateCredentialReply, Refusal> {
    let credential = Name::parse(&request.credential).map_err(|_| Refusal::BadName)?;
    let kept = u32::try_from(desk.broker.rotate(&credential)).unwrap_or(u32::MAX);
    tracing::info!(uid, %credential, kept, "local.credential.rotated");
    desk.journal.note(HelperEvent::CredentialRotated { credential, kept, uid });
    Ok(RotateCredentialReply { kept })
}

fn told(told: Told) -> Lease {
    let kind = match told.what.kind {
        ObligationKind::Token => "login",
        ObligationKind::Lease => "credential",
    };
    Lease {
        id: told.id,
        source: told.what.source.to_string(),
        kind: kind.to_owned(),
        source_id: told.what.id,
        agent: told.what.agent.map(|agent| agent.to_string()).unwrap_or_default(),
        instance: told.what.instance.map(|instance| instance.to_string()).unwrap_or_default(),
        credential: told.what.credential.map(|credential| credential.to_string()).unwrap_or_default(),
        taken_ms: told.taken.0,
        expires_ms: told.what.expires.0,
        renewable: told.what.renewable,
        due: told.due.map(|why| why.as_str().to_owned()).unwrap_or_default(),
        tries: told.tries,
        fault: told.fault.map(|fault| fault.to_string()).unwrap_or_default(),
        next_ms: told.next.map_or(0, |next| u64::try_from(next.as_millis()).unwrap_or(u64::MAX)),
    }
}
