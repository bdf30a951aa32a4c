//! Step 10: the log of it all, checked as somebody would who trusts nobody.

use super::{PATH, expect, indented};
use crate::demo::canary;
use crate::demo::place::Place;
use crate::demo::world::{IssuerPart, Tool};
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Table};
use crate::verbs::audit::{Row, row};
use avouch_audit::entry::Entry;
use avouch_audit::export::{Part, read_parts, write_part};
use avouch_audit::verify::verify;
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::tonic::transport::Channel;

/// Exports and verifies, then changes one byte of a copy and verifies again.
pub(super) async fn audit(
    place: &Place,
    issuer: &mut IssuerPart,
    helper: &mut HelperClient<Channel>,
    tool: &Tool,
) -> Result<((), String), Failure> {
    let parts = issuer.audit(helper).await?;
    let mut export = Vec::new();
    for part in &parts {
        write_part(part, &mut export).map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    }
    for secret in tool.secrets() {
        expect(canary::find(&export, secret.expose()).is_none(), "the audit log holds a secret")?;
    }
    crate::files::create_private(&place.file("audit.jsonl"), &export)?;
    let report = verify(read_parts(export.as_slice()), None, None)
        .map_err(|fault| Failure::new(Exit::Failure, format!("the log does not verify: {fault}")))?;
    expect(report.is_clean(), "the log holds alarms")?;
    let rows: Vec<Row> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Entry(bytes) => Entry::decode(bytes).ok(),
            Part::Key(_) | Part::Checkpoint(_) => None,
        })
        .map(|entry| row(&entry))
        .filter(|row| TOLD.contains(&row.event))
        .collect();
    for event in TOLD {
        expect(rows.iter().any(|row| row.event == event), &format!("the log has no {event}"))?;
    }
    let changed = changed(&parts, &export)?;
    let named = verify(read_parts(changed.bytes.as_slice()), None, None).err().and_then(|fault| fault.index());
    let named = named.ok_or_else(|| Failure::new(Exit::Failure, "a changed byte was not noticed"))?;
    expect(named == changed.index, &format!("entry {} was changed, and entry {named} was named", changed.index))?;
    let shown = told(&rows).to_text();
    let line = format!(
        "The audit log, exported and verified offline, is whole: {} entries under {} signed heads. With one byte of \
         entry {} changed in a copy, verify names entry {named}. What it says of the above:\n\n{}",
        report.size,
        report.checkpoints,
        changed.index,
        indented(&shown)
    );
    Ok(((), line))
}

struct Changed {
    bytes: Vec<u8>,
    index: u64,
}

/// A copy of the export in which one byte of a record of the above is another.
fn changed(parts: &[Part], export: &[u8]) -> Result<Changed, Failure> {
    let none = || Failure::new(Exit::Failure, "the log holds no intent that could be changed");
    let intent = |part: &Part| match part {
        Part::Entry(bytes) => {
            let entry = Entry::decode(bytes).ok().filter(|entry| entry.body.code() == "broker.intent")?;
            Some((entry.index, bytes.clone()))
        }
        Part::Key(_) | Part::Checkpoint(_) => None,
    };
    let (index, bytes) = parts.iter().find_map(intent).ok_or_else(none)?;
    let start = export.windows(bytes.len()).position(|window| window == bytes).ok_or_else(none)?;
    let path = bytes.windows(PATH.len()).position(|window| window == PATH.as_bytes()).ok_or_else(none)?;
    let mut copy = export.to_vec();
    // The last letter of the path that was called.
    copy[start + path + PATH.len() - 1] ^= 1;
    Ok(Changed { bytes: copy, index })
}

/// The rows with the time since the first of them.
fn told(rows: &[Row]) -> Table {
    let mut table = Table::new(&["entry", "ms", "writer", "event", "agent", "about"]);
    let Some(first) = rows.first() else { return table };
    for row in rows {
        let since = u64::try_from(row.time.since(first.time).as_millis()).unwrap_or(u64::MAX);
        let (writer, agent) = (Cell::text(&row.writer), Cell::text(&row.agent));
        table.row(vec![
            Cell::number(row.index),
            Cell::number(since),
            writer,
            Cell::text(row.event),
            agent,
            Cell::text(&row.about),
        ]);
    }
    table
}

/// What the log has to say of the steps before.
const TOLD: [&str; 12] = [
    "authority.created",
    "token.used",
    "token.replayed",
    "agent.registered",
    "credential.put",
    "grant.created",
    "session.opened",
    "broker.intent",
    "broker.outcome",
    "broker.denied",
    "lock.created",
    "locks.applied",
];
