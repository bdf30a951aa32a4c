//! The same for scripts, whole.

use super::{Helper, Issuer, Part, injecting};
use crate::output::rfc3339;
use avouch_words::Millis;
use serde_json::{Value, json};

/// One object; what is not known is null.
pub fn all(issuer: &Part<Issuer>, helper: &Part<Helper>, now: Millis) -> Value {
    let of_issuer = |tell: fn(&Issuer) -> Value| match issuer {
        Part::Here(issuer) => tell(issuer),
        Part::Absent | Part::Silent(_) => Value::Null,
    };
    let sessions = match helper {
        Part::Here(helper) => sessions(helper),
        Part::Absent | Part::Silent(_) => Value::Null,
    };
    let endings = match issuer {
        Part::Here(issuer) => {
            let endings = issuer.endings(now);
            endings.iter().map(|ending| json!({"what": ending.what, "at": rfc3339(ending.at)})).collect()
        }
        Part::Absent | Part::Silent(_) => Value::Null,
    };
    json!({
        "issuer": part(issuer, self::issuer),
        "helper": part(helper, self::helper),
        "nodes": of_issuer(nodes),
        "sessions": sessions,
        "instances": of_issuer(instances),
        "agents": of_issuer(agents),
        "locks": of_issuer(locks),
        "refused": of_issuer(refused),
        "ending": endings,
    })
}

fn part<T>(part: &Part<T>, tell: impl FnOnce(&T) -> Value) -> Value {
    match part {
        Part::Absent => json!({"state": "not here"}),
        Part::Silent(failure) => json!({"state": "no answer", "error": failure.sentence()}),
        Part::Here(told) => tell(told),
    }
}

fn issuer(issuer: &Issuer) -> Value {
    let status = &issuer.status;
    let keys = status
        .authorities
        .iter()
        .map(|key| json!({"purpose": key.purpose, "state": key.state, "not_after": rfc3339(Millis(key.not_after_ms))}));
    json!({
        "state": "running",
        "trust_domain": status.trust_domain,
        "operator": status.operator,
        "address": status.address,
        "version": status.version,
        "started": rfc3339(Millis(status.started_ms)),
        "state_version": status.state_version,
        "audit_size": status.audit_size,
        "authorities": keys.collect::<Vec<_>>(),
    })
}

fn helper(helper: &Helper) -> Value {
    let status = &helper.status;
    json!({
        "state": injecting(status),
        "node": status.node_id,
        "trust_domain": status.trust_domain,
        "workload_socket": status.workload_socket,
        "session_socket": status.session_socket,
        "state_age_ms": status.state_age_ms,
        "state_version": status.state_version,
        "injecting": status.injecting,
        "held_by": status.held_by,
        "spooled": status.spooled,
        "acknowledged": status.acknowledged,
        "issuer": status.issuer,
        "contact_fault": text(&status.contact_fault),
    })
}

fn nodes(issuer: &Issuer) -> Value {
    let node = |node: &avouch_wire::admin::Node| {
        json!({
            "id": node.id,
            "connected": node.connected,
            "svid_expires": rfc3339(Millis(node.svid_expires_ms)),
        })
    };
    issuer.nodes.iter().map(node).collect()
}

fn instances(issuer: &Issuer) -> Value {
    let instance = |one: &avouch_wire::admin::Instance| json!({"id": one.id, "agent": one.agent, "node": one.node_id, "started": rfc3339(Millis(one.started_ms))});
    issuer.instances.iter().map(instance).collect()
}

fn sessions(helper: &Helper) -> Value {
    let session = |one: &avouch_wire::local::Session| {
        json!({
            "session": one.session,
            "agent": one.agent,
            "contained": text(&one.contained),
            "uid": one.uid,
            "pid": one.pid,
            "since": rfc3339(Millis(one.started_ms)),
        })
    };
    helper.sessions.iter().map(session).collect()
}

fn agents(issuer: &Issuer) -> Value {
    let agent = |agent: &avouch_wire::admin::Agent| {
        json!({
            "name": agent.name,
            "id": agent.spiffe_id,
            "owner": agent.owner,
            "may_use": issuer.may_use(&agent.name),
            "lock": issuer.lock_on(&agent.name).map(|lock| lock.id.clone()),
        })
    };
    issuer.agents.iter().map(agent).collect()
}

fn locks(issuer: &Issuer) -> Value {
    let lock = |lock: &avouch_wire::admin::Lock| {
        json!({
            "id": lock.id,
            "agent": lock.agent,
            "reason": lock.reason,
            "author": lock.author,
            "created": rfc3339(Millis(lock.created_ms)),
            "expires": (lock.expires_ms > 0).then(|| rfc3339(Millis(lock.expires_ms))),
        })
    };
    issuer.locks.iter().map(lock).collect()
}

fn refused(issuer: &Issuer) -> Value {
    let refusal = |refusal: &avouch_wire::admin::Refusal| {
        json!({
            "decision": refusal.decision,
            "time": rfc3339(Millis(refusal.time_ms)),
            "node": refusal.node_id,
            "agent": refusal.agent,
            "code": refusal.code,
            "reason": text(&refusal.reason),
            "method": text(&refusal.method),
            "origin": text(&refusal.origin),
            "path": text(&refusal.path),
        })
    };
    issuer.refusals.iter().map(refusal).collect()
}

fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
