//! Status: what this helper is, and whether it injects.

use super::Desk;
use avouch_wire::local::StatusReply;

/// Answers one call.
pub fn answer(desk: &Desk) -> StatusReply {
    let boot = desk.clock.boot();
    let fresh = desk.freshness.check(boot);
    let fault = desk.spool.fault();
    let held_by = match (&fresh, &fault) {
        (Err(stale), _) => stale.code(),
        (Ok(()), Some(_)) => "audit_unavailable",
        (Ok(()), None) => "",
    };
    let contact = desk.contact.standing();
    let (contact_fault, contact_reason) = contact.fault.unwrap_or_default();
    StatusReply {
        node_id: desk.node.to_string(),
        trust_domain: desk.node.trust_domain().to_string(),
        workload_socket: desk.workload_socket.display().to_string(),
        session_socket: desk.session_socket.display().to_string(),
        state_age_ms: desk.freshness.age(boot).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        state_version: desk.states.borrow().as_ref().map_or(0, |state| state.version),
        injecting: held_by.is_empty(),
        held_by: held_by.to_owned(),
        spooled: *desk.spool.durable().borrow(),
        acknowledged: desk.spool.acked().map_or(0, |acked| acked.next),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        issuer: if contact.issuer.is_empty() { desk.issuer.clone() } else { contact.issuer },
        contact_fault: contact_fault.to_owned(),
        contact_reason,
        clock_ahead_ms: contact.clock_ahead_ms,
        svid_expires_ms: contact.svid_expires.0,
        contain_required: desk.contain_required,
    }
}
