//! `doctor`: why it does not work here. What can be seen from where it stands is looked at once ([`look`]); each check
//! then judges by itself, without looking ([`checks`]). They stand in an order in which a cause comes before what it
//! causes, so the first that is wrong is the likeliest real cause, and what to do about it is the first line.

mod checks;
mod look;
mod scene;

use crate::failure::{Exit, Failure};
use crate::output::{Cell, Format, Table, data, pretty};
use crate::verbs::Context;
use serde_json::{Value, json};

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    check: &'static str,
    state: State,
    about: String,
    fix: String,
}

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Good.
    Ok,
    /// Good enough, and worth knowing.
    Note,
    /// It cannot be seen from here.
    Unseen,
    /// This is why something does not work.
    Wrong,
}

impl Finding {
    fn new(check: &'static str, state: State, about: impl Into<String>) -> Self {
        Self { check, state, about: about.into(), fix: String::new() }
    }

    fn ok(check: &'static str, about: impl Into<String>) -> Self {
        Self::new(check, State::Ok, about)
    }

    fn unseen(check: &'static str, about: impl Into<String>) -> Self {
        Self::new(check, State::Unseen, about)
    }

    /// What to do goes with it: the command to be run.
    fn note(check: &'static str, about: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..Self::new(check, State::Note, about) }
    }

    fn wrong(check: &'static str, about: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..Self::new(check, State::Wrong, about) }
    }
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unseen => "not seen",
            Self::Wrong => "wrong",
        }
    }
}

/// Looks, judges and tells. Fails if something is wrong.
pub fn run(context: &Context) -> Result<u8, Failure> {
    // Before there is a runtime.
    let host = look::host();
    let looking = look::look(&context.directories, context.output.now(), host);
    let scene = crate::small_runtime()?.block_on(looking);
    let findings = checks::all(&scene);
    let first = first_line(&findings, scene.inside());
    match context.output.format() {
        Format::Table => data(format!("{first}\n\n{}", table(&findings).to_text()))?,
        Format::Json => data(pretty(&document(&first, &findings)))?,
    }
    Ok(if findings.iter().any(|finding| finding.state == State::Wrong) { Exit::Failure as u8 } else { 0 })
}

/// What is wrong first, and its fix.
fn first_line(findings: &[Finding], inside: bool) -> String {
    match findings.iter().find(|finding| finding.state == State::Wrong) {
        Some(Finding { about, fix, .. }) => format!("{}. {fix}", sentence(about)),
        None if inside => "Nothing is wrong with this session, as far as it can be seen from inside.".to_owned(),
        None => "Nothing is wrong here.".to_owned(),
    }
}

/// With a capital at its beginning and no stop at its end.
fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["check", "state", "about"]);
    for finding in findings {
        let about = match (finding.state, finding.fix.as_str()) {
            (State::Note, fix) if !fix.is_empty() => format!("{}. {fix}", finding.about),
            _ => finding.about.clone(),
        };
        table.row(vec![Cell::text(finding.check), Cell::text(finding.state.word()), Cell::text(about)]);
    }
    table
}

fn document(first: &str, findings: &[Finding]) -> Value {
    let checks = findings.iter().map(|finding| {
        let fix = (!finding.fix.is_empty()).then_some(&finding.fix);
        json!({"check": finding.check, "state": finding.state.word().replace(' ', "_"), "about": finding.about, "fix": fix})
    });
    let wrong = findings.iter().any(|finding| finding.state == State::Wrong);
    json!({"ok": !wrong, "first": first, "checks": checks.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_first_thing_wrong_with_its_fix() {
        let findings = [
            Finding::ok("disk", "1 GiB free"),
            Finding::note("node", "there is an old Node", "Use a newer one."),
            Finding::wrong("clock", "the clock is off", "Set it."),
            Finding::wrong("helper", "it does not run", "Start it."),
        ];
        assert_eq!(first_line(&findings, false), "The clock is off. Set it.");
        assert_eq!(first_line(&findings[..2], false), "Nothing is wrong here.");
        let text = table(&findings).to_text();
        assert!(text.contains("node    note   there is an old Node. Use a newer one."), "{text}");
        let document = document("x", &findings);
        assert_eq!((&document["ok"], &document["checks"][2]["fix"]), (&json!(false), &json!("Set it.")));
    }
}
