//! The screen.

use super::{Helper, Issuer, Part, injecting};
use crate::output::{Cell, Table, relative, shown, span};
use avouch_wire::admin::Refusal;
use avouch_words::Millis;
use std::time::Duration;

/// All of it, as far as there is something to tell.
pub fn all(issuer: &Part<Issuer>, helper: &Part<Helper>, now: Millis) -> String {
    let mut text = String::new();
    if let Part::Here(issuer) = issuer {
        line(&mut text, "domain", &format!("{}, as operator {}", issuer.status.trust_domain, issuer.status.operator));
    } else if let Part::Here(helper) = helper {
        line(&mut text, "domain", &helper.status.trust_domain);
    }
    line(&mut text, "issuer", &about(issuer, |issuer| issuer_line(issuer, now)));
    line(&mut text, "helper", &about(helper, helper_line));
    if let Part::Here(issuer) = issuer {
        nodes(&mut text, issuer, now);
    }
    if let Part::Here(helper) = helper {
        sessions(&mut text, helper, now);
    }
    if let Part::Here(issuer) = issuer {
        agents(&mut text, issuer);
        refusals(&mut text, issuer, now);
        endings(&mut text, issuer, now);
    }
    text
}

fn line(text: &mut String, name: &str, about: &str) {
    text.push_str(&format!("{name:<8} {}\n", shown(about)));
}

fn about<T>(part: &Part<T>, tell: impl FnOnce(&T) -> String) -> String {
    match part {
        Part::Absent => "not here".to_owned(),
        Part::Silent(failure) => format!("no answer: {}", failure.sentence()),
        Part::Here(told) => tell(told),
    }
}

fn issuer_line(issuer: &Issuer, now: Millis) -> String {
    let status = &issuer.status;
    format!(
        "running at {}, avouch {}, started {}, state version {}, {} audit entries",
        status.address,
        status.version,
        relative(Millis(status.started_ms), now),
        status.state_version,
        status.audit_size
    )
}

fn helper_line(helper: &Helper) -> String {
    let status = &helper.status;
    format!(
        "{}, {}, state version {} heard {} ago, {} of {} records acknowledged, Workload API at {}",
        injecting(status),
        status.node_id,
        status.state_version,
        span(Duration::from_millis(status.state_age_ms)),
        status.acknowledged,
        status.spooled,
        status.workload_socket
    )
}

fn nodes(text: &mut String, issuer: &Issuer, now: Millis) {
    let mut table = Table::new(&["node", "connected", "svid ends", "instances"]);
    for node in issuer.nodes.iter().take(ROWS) {
        let instances = issuer.instances.iter().filter(|instance| instance.node_id == node.id).count();
        table.row(vec![
            Cell::text(&node.id),
            Cell::flag(node.connected),
            Cell::moment(Millis(node.svid_expires_ms), now),
            Cell::number(u64::try_from(instances).unwrap_or(u64::MAX)),
        ]);
    }
    section(text, &table, issuer.nodes.len(), "No node has enrolled.", "avouch node list");
}

fn sessions(text: &mut String, helper: &Helper, now: Millis) {
    let mut table = Table::new(&["session", "agent", "contained", "uid", "pid", "since"]);
    for session in helper.sessions.iter().take(ROWS) {
        let contained = if session.contained.is_empty() { "no" } else { &session.contained };
        table.row(vec![
            Cell::text(&session.session),
            Cell::text(&session.agent),
            Cell::text(contained),
            Cell::number(session.uid.into()),
            Cell::number(session.pid.into()),
            Cell::moment(Millis(session.started_ms), now),
        ]);
    }
    section(text, &table, helper.sessions.len(), "No session is open.", "avouch status -o json");
}

fn agents(text: &mut String, issuer: &Issuer) {
    let mut table = Table::new(&["agent", "owner", "may use", "state"]);
    for agent in issuer.agents.iter().take(ROWS) {
        let lock = issuer.lock_on(&agent.name);
        let state = lock.map_or_else(|| "active".to_owned(), |lock| format!("LOCKED: avouch lock release {}", lock.id));
        let uses = issuer.may_use(&agent.name);
        let uses = if uses.is_empty() { "nothing".to_owned() } else { uses.join(" ") };
        table.row(vec![Cell::text(&agent.name), Cell::text(&agent.owner), Cell::text(uses), Cell::text(state)]);
    }
    section(text, &table, issuer.agents.len(), "No agent is registered.", "avouch agent list");
}

fn refusals(text: &mut String, issuer: &Issuer, now: Millis) {
    let mut table = Table::new(&["refused", "agent", "call", "code", "why"]);
    for refusal in issuer.refusals.iter().take(ROWS) {
        table.row(vec![
            Cell::moment(Millis(refusal.time_ms), now),
            Cell::text(&refusal.agent),
            Cell::text(call(refusal)),
            Cell::text(&refusal.code),
            Cell::text(format!("avouch why {}", refusal.decision)),
        ]);
    }
    section(text, &table, issuer.refusals.len(), "No call was refused.", "avouch audit list");
}

/// The call in few words: long paths are cut, as `why` has them whole.
fn call(refusal: &Refusal) -> String {
    if refusal.origin.is_empty() {
        return "-".to_owned();
    }
    let host = refusal.origin.trim_start_matches("https://").trim_end_matches(":443");
    if refusal.method == avouch_policy::request::TUNNEL {
        return format!("a tunnel to {host}");
    }
    let path: String = refusal.path.chars().take(PATH).collect();
    let more = if path.len() < refusal.path.len() { "…" } else { "" };
    format!("{} {host}{path}{more}", refusal.method)
}

fn endings(text: &mut String, issuer: &Issuer, now: Millis) {
    let endings = issuer.endings(now);
    if endings.is_empty() {
        return;
    }
    let mut table = Table::new(&["ends", "what"]);
    for ending in endings.iter().take(ROWS) {
        table.row(vec![Cell::moment(ending.at, now), Cell::text(&ending.what)]);
    }
    section(text, &table, endings.len(), "", "avouch lock list");
}

/// A table under the one before, or that there is nothing to be in it.
fn section(text: &mut String, table: &Table, all: usize, none: &str, more: &str) {
    text.push('\n');
    if all == 0 {
        text.push_str(none);
        text.push('\n');
        return;
    }
    text.push_str(&table.to_text());
    if all > ROWS {
        text.push_str(&format!("and {} more: {more}\n", all - ROWS));
    }
}

/// Rows of one table.
const ROWS: usize = 10;
/// Characters of a path.
const PATH: usize = 40;
