//! Entries of the log as rows for people.

use crate::output::{Cell, Table};
use avouch_audit::entry::{Body, Entry};
use avouch_words::Millis;
use serde_json::Value;

/// What is shown of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub index: u64,
    /// When.
    pub time: Millis,
    /// The end of the writer's ID.
    pub writer: String,
    /// The event's code.
    pub event: &'static str,
    /// The agent it is about; empty for none.
    pub agent: String,
    /// Its other fields.
    pub about: String,
    /// The whole event.
    pub json: Value,
}

/// An entry as a row.
pub fn row(entry: &Entry) -> Row {
    let event = match &entry.body {
        Body::Event(event) => serde_json::to_value(event),
        Body::Record(record) => serde_json::to_value(&record.event),
    };
    let json = event.unwrap_or_default();
    let path = entry.writer.path().trim_start_matches('/');
    Row {
        index: entry.index,
        time: entry.time.millis(),
        writer: path.rsplit('/').next().unwrap_or(path).to_owned(),
        event: entry.body.code(),
        agent: text(&json["agent"]).or_else(|| text(&json["caller"]["agent"])).unwrap_or_default(),
        about: about(&json),
        json,
    }
}

/// All rows.
pub fn table(rows: &[Row], now: Millis) -> Table {
    let mut table = Table::new(&["entry", "time", "writer", "event", "agent", "about"]);
    for row in rows {
        table.row(vec![
            Cell::number(row.index),
            Cell::moment(row.time, now),
            Cell::text(&row.writer),
            Cell::text(row.event),
            Cell::text(&row.agent),
            Cell::both(&row.about, row.json.clone()),
        ]);
    }
    table
}

/// The fields that tell people something, in the order of [`TOLD`].
fn about(event: &Value) -> String {
    let mut told = Vec::new();
    if let Some(request) = event.get("request") {
        let part = |name: &str| text(&request[name]).unwrap_or_default();
        let (method, scheme, host) = (part("method"), part("scheme"), part("host"));
        told.push(format!("{method} {scheme}://{host}:{}{}", part("port"), part("path")));
    }
    if let Some(outcome) = event.get("outcome") {
        let end = text(&outcome["end"]).unwrap_or_default();
        told.push(text(&outcome["status"]).map_or(end.clone(), |status| format!("{end} {status}")));
    }
    for one in event["uses"].as_array().into_iter().flatten() {
        told.extend(text(&one["credential"]).map(|name| format!("credential={name}")));
    }
    for name in TOLD {
        let value = match &event[name] {
            Value::Array(all) => {
                let texts: Vec<_> = all.iter().filter_map(text).collect();
                (!texts.is_empty()).then(|| texts.join(","))
            }
            Value::Bool(flag) => flag.then(|| "yes".to_owned()),
            other => text(other),
        };
        told.extend(value.map(|value| format!("{name}={value}")));
    }
    told.join(" ")
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Fields that are shown by name.
const TOLD: [&str; 22] = [
    "kind",
    "node",
    "nodes",
    "selectors",
    "credential",
    "credentials",
    "source",
    "grant",
    "lock",
    "audience",
    "serial",
    "reason",
    "refusal",
    "mismatch",
    "decision",
    "cut",
    "killed",
    "after_us",
    "reflected",
    "stripped",
    "listener_alone",
    "version",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_is_told_with_what_it_was_and_what_was_put_in() {
        let event = json!({
            "code": "broker.intent", "decision": "D", "uses": [{"credential": "tool", "grants": ["G"]}],
            "request": {"scheme": "http", "host": "127.0.0.1", "port": 81, "method": "GET", "path": "/v1", "query_keys": ""},
        });
        assert_eq!(about(&event), "GET http://127.0.0.1:81/v1 credential=tool decision=D");
        let event = json!({"outcome": {"end": "ok", "status": 200}, "reflected": true, "stripped": false});
        assert_eq!(about(&event), "ok 200 reflected=yes");
    }
}
