//! `audit list`, `audit verify` and `audit export`.

mod table;

pub use table::{Row, row, table};

use super::Context;
use crate::args::AuditVerb;
use crate::failure::{Exit, Failure};
use crate::output::{next, talk};
use crate::{files, progress, replies};
use avouch_audit::entry::Entry;
use avouch_audit::export::{Part, read_parts, write_part};
use avouch_audit::verify::{Report, verify};
use avouch_wire::admin::ExportAuditRequest;
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::admin::audit_part::Kind;
use avouch_wire::tonic::transport::Channel;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;

/// Lists, verifies or exports.
pub async fn run(context: &Context, verb: AuditVerb) -> Result<(), Failure> {
    match verb {
        AuditVerb::List => list(context).await,
        AuditVerb::Export { out } => export(context, &out).await,
        AuditVerb::Verify { file: None, key } => {
            let parts = fetch(context).await?;
            report(context, verify(parts.into_iter().map(Ok), key.as_deref(), None), key.is_some())?;
            next("avouch audit export --out audit.jsonl");
            Ok(())
        }
        AuditVerb::Verify { file: Some(file), key } => {
            let opened = File::open(&file);
            let opened = opened
                .map_err(|error| Failure::new(Exit::NotFound, format!("cannot read {}: {error}", file.display())))?;
            let parts = read_parts(BufReader::new(opened));
            report(context, verify(parts, key.as_deref(), None), key.is_some())
        }
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let parts = fetch(context).await?;
    let rows: Vec<Row> = parts.iter().filter_map(read_entry).map(|entry| row(&entry)).collect();
    context.output.list(&table(&rows, context.output.now()))?;
    next("avouch audit verify");
    Ok(())
}

fn read_entry(part: &Part) -> Option<Entry> {
    match part {
        Part::Entry(bytes) => Entry::decode(bytes).ok(),
        Part::Key(_) | Part::Checkpoint(_) => None,
    }
}

async fn export(context: &Context, out: &Path) -> Result<(), Failure> {
    let parts = fetch(context).await?;
    let mut bytes = Vec::new();
    for part in &parts {
        write_part(part, &mut bytes).map_err(|error| Failure::new(Exit::Failure, format!("cannot export: {error}")))?;
    }
    if out == Path::new("-") {
        let written = std::io::stdout().lock().write_all(&bytes);
        return written.map_err(|error| Failure::new(Exit::Failure, format!("cannot write to stdout: {error}")));
    }
    files::create_private(out, &bytes)?;
    let entries = parts.iter().filter(|part| matches!(part, Part::Entry(_))).count();
    talk(format!("{entries} entries are in {}.", out.display()));
    context.output.script(|| json!({"entries": entries, "file": out.display().to_string()}))?;
    next(format!("avouch audit verify {}", out.display()));
    Ok(())
}

async fn fetch(context: &Context) -> Result<Vec<Part>, Failure> {
    let mut admin = context.admin().await?;
    progress::during("Reading the log", whole_log(&mut admin)).await
}

/// The whole log, as the issuer gives it.
pub async fn whole_log(admin: &mut AdminClient<Channel>) -> Result<Vec<Part>, Failure> {
    let reply = admin.export_audit(ExportAuditRequest {}).await;
    let mut stream = reply.map_err(|status| replies::failure(&status))?.into_inner();
    let mut parts = Vec::new();
    while let Some(message) = stream.message().await.map_err(|status| replies::failure(&status))? {
        parts.extend(message.kind.map(|kind| match kind {
            Kind::Key(key) => Part::Key(key),
            Kind::Entry(bytes) => Part::Entry(bytes),
            Kind::Checkpoint(note) => Part::Checkpoint(note),
        }));
    }
    Ok(parts)
}

/// Says what the check found; fails on any doubt.
fn report(
    context: &Context,
    found: Result<Report, avouch_audit::verify::Fault>,
    key_was_known: bool,
) -> Result<(), Failure> {
    let report = found.map_err(|fault| {
        let sentence = match fault.index() {
            Some(index) => format!("the log cannot be believed from entry {index} on: {fault}"),
            None => format!("the log cannot be believed: {fault}"),
        };
        Failure::new(Exit::Failure, sentence).then("Keep this copy, and compare it with another export or checkpoint.")
    })?;
    context.output.tell(|| as_text(&report), || as_json(&report))?;
    if !key_was_known {
        talk("The log's own word was taken for its key; give --key to check who signed it.");
    }
    if report.is_clean() {
        return Ok(());
    }
    let alarms = report.alarms.len();
    Err(Failure::new(Exit::Failure, format!("the log is whole, and the issuer raised {alarms} alarms in it"))
        .then("Look at the entries named above, and at the nodes they are about."))
}

fn as_text(report: &Report) -> String {
    let mut text = format!(
        "{} entries are whole and signed ({} checkpoints)\nroot  {}\nkey   {}\n",
        report.size, report.checkpoints, report.root, report.key
    );
    for (writer, count) in &report.writers {
        text.push_str(&format!("{count} by {writer}\n"));
    }
    if report.without_outcome > 0 {
        text.push_str(&format!("{} intents have no outcome yet\n", report.without_outcome));
    }
    for alarm in &report.alarms {
        text.push_str(&format!("ALARM in entry {}: {} by {} ({})\n", alarm.index, alarm.code, alarm.node, alarm.spool));
    }
    text
}

fn as_json(report: &Report) -> Value {
    let writers: serde_json::Map<_, _> =
        report.writers.iter().map(|(writer, count)| (writer.to_string(), json!(count))).collect();
    let alarms: Vec<_> = report
        .alarms
        .iter()
        .map(|alarm| json!({"entry": alarm.index, "code": alarm.code, "node": alarm.node.to_string()}))
        .collect();
    json!({
        "size": report.size,
        "root": report.root.to_string(),
        "key": report.key,
        "checkpoints": report.checkpoints,
        "writers": writers,
        "without_outcome": report.without_outcome,
        "alarms": alarms,
    })
}
