//! A decision in words, and as JSON.

use super::Found;
use super::record::Record;
use crate::output::{relative, rfc3339, shown};
use avouch_audit::record::Outcome;
use avouch_policy::Binding;
use avouch_wire::admin::{Judgement, Lock, Miss};
use avouch_words::Millis;
use serde_json::{Value, json};

/// What a person reads.
pub fn text(found: &Found, now: Millis) -> String {
    let Found { record, reply, lock, commands, advice } = found;
    let mut lines = vec![format!("{} was {} {}", record.decision, record.verdict(), relative(record.time, now))];
    let mut line = |name: &str, about: String| lines.push(format!("  {name:<9} {}", shown(&about)));
    line("agent", who(record, &reply.contained));
    line("request", record.line());
    line("rule", rule(record, lock.as_ref(), now));
    if let Some(code) = record.code() {
        line("told", format!("{} ({})", code.message(), code.as_str()));
    }
    if let Some(outcome) = &record.outcome {
        line("outcome", ended(outcome));
    }
    if let Some(judged) = &reply.now {
        // Near misses say something only where nothing fits.
        for (at, miss) in judged.misses.iter().take(SHOWN).enumerate().filter(|_| judged.rule == "not_granted") {
            line(if at == 0 { "nearest" } else { "" }, near(miss, record));
        }
        line("now", would(judged, record));
    }
    if !commands.is_empty() {
        lines.push(String::new());
        let sum = match (reply.now.as_ref().is_some_and(|now| now.enough && !now.changes.is_empty()), commands.len()) {
            (false, _) => "To look into it:",
            (true, 1) => "To let it through:",
            (true, _) => "To let it through, all of:",
        };
        lines.push(sum.to_owned());
        lines.extend(commands.iter().map(|command| format!("  {}", shown(command))));
    }
    if let Some(advice) = advice {
        lines.push(String::new());
        lines.push(shown(advice));
    }
    lines.join("\n") + "\n"
}

fn who(record: &Record, contained: &str) -> String {
    let session = record.caller.session.map_or_else(String::new, |session| format!(", session {session}"));
    let walls = if contained.is_empty() { String::new() } else { format!(", contained ({contained})") };
    format!("{} on {}{session}{walls}", record.caller.agent, record.node)
}

fn rule(record: &Record, lock: Option<&Lock>, now: Millis) -> String {
    let version = format!("state version {}", record.policy_version);
    if record.reason.is_none() && !record.uses.is_empty() {
        let uses: Vec<_> = record
            .uses
            .iter()
            .map(|one| {
                let grants: Vec<_> = one.grants.iter().map(ToString::to_string).collect();
                format!("{} by grant {}", one.credential, grants.join(" and "))
            })
            .collect();
        return format!("{} ({version})", uses.join(", "));
    }
    let Some(reason) = &record.reason else {
        return format!("nothing binds the target, and the helper's settings let it pass ({version})");
    };
    if let Some(place) = record.placeholder().filter(|place| !place.is_empty()) {
        return format!("{reason}: in the {} ({version})", place.replace('_', "'s "));
    }
    let about = match (lock, &record.lock, &record.mismatch, record.credentials.as_slice()) {
        (Some(lock), ..) => {
            let state = if lock.ended_ms == 0 { "" } else { ", ended since" };
            let since = relative(Millis(lock.created_ms), now);
            format!(": lock {} by {} ({since}{state}): {}", lock.id, lock.author, lock.reason)
        }
        (None, Some(lock), ..) => format!(": lock {lock}"),
        (None, None, Some(mismatch), [credential, ..]) => {
            format!(": the nearest granted was {credential}, which did not fit in {mismatch}")
        }
        (None, None, _, []) => String::new(),
        (None, None, _, credentials) => format!(": {}", credentials.join(" and ")),
    };
    format!("{reason}{about} ({version})")
}

fn ended(outcome: &Outcome) -> String {
    let status = |status: &Option<u16>| status.map_or_else(String::new, |status| format!(", HTTP {status}"));
    match outcome {
        Outcome::Ok { status: 0 } => "ended well".to_owned(),
        Outcome::Ok { status } => format!("answered, HTTP {status}"),
        Outcome::Error { kind, status: code } => format!("{}{}", kind.as_str(), status(code)),
        Outcome::Cut { status: code } => format!("cut by a lock or the session's end{}", status(code)),
        Outcome::Unknown {} => "unknown: the helper ended before it could know".to_owned(),
    }
}

/// What the nearest credential does not admit, and what it has instead.
fn near(miss: &Miss, record: &Record) -> String {
    let granted = if miss.granted { "" } else { ", not granted" };
    let spec = Binding::parse(&miss.binding).map(|binding| binding.spec()).ok();
    let has =
        |list: Option<&Vec<String>>| list.map_or_else(String::new, |list| format!(" (it has {})", list.join(", ")));
    let about = match miss.mismatch.as_str() {
        "" => String::new(),
        "path" => format!(": not the path{}", has(spec.as_ref().map(|spec| &spec.paths))),
        "method" => format!(": not the method{}", has(spec.as_ref().map(|spec| &spec.methods))),
        "query" => {
            let keys = record.request.as_ref().map_or("", |request| request.query_keys.as_str());
            let known = spec.map(|spec| spec.query).unwrap_or_default();
            let extra: Vec<&str> = keys.split('&').filter(|key| !known.iter().any(|known| known == key)).collect();
            format!(": not the query key {}", extra.join(", "))
        }
        "requires" => format!(
            ": the session lacks{}",
            has(spec.as_ref().map(|spec| &spec.requires)).replace("it has", "it wants")
        ),
        other => format!(": not the {other}"),
    };
    format!("{}{granted}{about}", miss.credential)
}

fn would(judged: &Judgement, record: &Record) -> String {
    let was = record.verdict();
    match judged.verdict.as_str() {
        "allowed" if record.placeholder().is_some() => "without the placeholder it would be let through".to_owned(),
        "allowed" if was == "refused" => "it would be let through".to_owned(),
        "allowed" => "the same".to_owned(),
        "unbound" if was == "passed" => "the same".to_owned(),
        "unbound" => "nothing binds the target: the helper's `egress.unbound` decides".to_owned(),
        _ if was == "refused" && record.reason.as_deref() == Some(judged.rule.as_str()) => "the same".to_owned(),
        _ => format!("refused: {}", judged.reason),
    }
}

/// What a script reads.
pub fn json(found: &Found) -> Value {
    let Found { record, reply, lock, commands, advice } = found;
    let uses = record.uses.iter().map(|one| {
        let grants: Vec<_> = one.grants.iter().map(ToString::to_string).collect();
        json!({"credential": one.credential.to_string(), "grants": grants})
    });
    let request = record.request.as_ref().map(|request| {
        let keys: Vec<&str> = request.query_keys.as_str().split('&').filter(|key| !key.is_empty()).collect();
        json!({
            "method": request.method.as_str(),
            "origin": record.origin(),
            "path": request.path.as_str(),
            "query": keys,
        })
    });
    let lock = lock.as_ref().map(|lock| {
        json!({
            "id": lock.id,
            "reason": lock.reason,
            "author": lock.author,
            "created": rfc3339(Millis(lock.created_ms)),
            "in_force": lock.ended_ms == 0,
        })
    });
    json!({
        "decision": record.decision,
        "verdict": record.verdict(),
        "time": rfc3339(record.time),
        "node": record.node,
        "agent": record.caller.agent.to_string(),
        "session": record.caller.session.map(|session| session.to_string()),
        "contained": Some(&reply.contained).filter(|profile| !profile.is_empty()),
        "request": request,
        "uses": uses.collect::<Vec<_>>(),
        "code": record.refusal,
        "rule": record.reason,
        "mismatch": record.mismatch,
        "credentials": record.credentials,
        "lock": lock,
        "outcome": record.outcome.as_ref().and_then(|outcome| serde_json::to_value(outcome).ok()),
        "policy_version": record.policy_version,
        "now": reply.now.as_ref().map(judged),
        "commands": commands,
        "advice": advice,
    })
}

fn judged(now: &Judgement) -> Value {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let misses = now.misses.iter().map(|miss| {
        json!({
            "credential": miss.credential,
            "granted": miss.granted,
            "mismatch": text(&miss.mismatch),
        })
    });
    json!({
        "verdict": now.verdict,
        "rule": text(&now.rule),
        "reason": text(&now.reason),
        "nearest": misses.collect::<Vec<_>>(),
        "enough": now.enough,
    })
}

/// Near misses that a person is shown.
const SHOWN: usize = 3;
