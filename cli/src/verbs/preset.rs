//! `preset`: what is ready for well-known services.

use crate::args::PresetVerb;
use crate::failure::Failure;
use crate::output::{Cell, Format, Output, Table, data, next, quote};
use crate::presets::{self, Narrow, Preset};
use avouch_policy::binding::PlaceholderInBody;
use serde_json::{Value, json};

/// Lists presets, or shows one.
pub fn run(output: Output, verb: &PresetVerb) -> Result<(), Failure> {
    match verb {
        PresetVerb::List => {
            output.list(&table(&presets::all()?))?;
            next("avouch preset show github");
        }
        PresetVerb::Show { name } => {
            let preset = presets::find(name)?;
            show(output, &preset)?;
            next(put(&preset));
        }
    }
    Ok(())
}

/// What a preset binds, and how to bind less.
pub fn show(output: Output, preset: &Preset) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.one(&details(preset)),
        Format::Table => data(text(preset)),
    }
}

/// The command that puts a credential by this preset.
fn put(preset: &Preset) -> String {
    format!("avouch secret put {0} --preset {0}{1} --value-stdin", preset.name, needs(preset))
}

/// The command that binds as little as the example.
fn put_less(preset: &Preset, narrow: &Narrow) -> String {
    let each = |flag: &str, words: &[String]| -> String {
        words.iter().map(|word| format!(" {flag} {}", quote(word))).collect()
    };
    let flags = [each("--method", &narrow.methods), each("--path", &narrow.paths), each("--query", &narrow.query)];
    format!("avouch secret put {0} --preset {0}{1}{2} --value-stdin", preset.name, needs(preset), flags.concat())
}

fn needs(preset: &Preset) -> String {
    let flag = |flag: &str, word: &Option<String>| word.as_ref().map(|word| format!(" {flag} {}", quote(word)));
    [flag("--to", &preset.needs.to), flag("--as", &preset.needs.slot)].into_iter().flatten().collect()
}

/// A call to try the credential with, as a session makes it.
fn probe(preset: &Preset) -> Option<String> {
    let probe = preset.probe.as_ref()?;
    let url = quote(&format!("{}{}", preset.to(), probe.target));
    Some(match &probe.body {
        None => format!("curl {url}"),
        Some(body) => {
            format!("curl -X {} -H 'content-type: application/json' -d {} {url}", probe.method, quote(body))
        }
    })
}

fn table(all: &[Preset]) -> Table {
    let mut table = Table::new(&["name", "title", "to", "as", "environment"]);
    for preset in all {
        table.row(vec![
            Cell::text(&preset.name),
            Cell::text(&preset.title),
            Cell::text(preset.to()),
            Cell::text(preset.slot()),
            Cell::text(preset.environment.as_deref().unwrap_or("-")),
        ]);
    }
    table
}

fn details(preset: &Preset) -> Table {
    let mut table = Table::new(&[
        "name",
        "title",
        "note",
        "to",
        "as",
        "methods",
        "paths",
        "query",
        "environment",
        "placeholder",
        "aliases",
        "begins",
        "placeholder in body",
        "needs",
        "probe",
        "narrow",
    ]);
    let maybe = |text: Option<&String>| Cell::both(text.cloned().unwrap_or_default(), json!(text));
    let narrow = &preset.narrow;
    let example = json!({
        "says": narrow.says, "methods": narrow.methods, "paths": narrow.paths, "query": narrow.query,
        "command": put_less(preset, narrow),
    });
    let data = preset.placeholder_in_body() == Some(PlaceholderInBody::Data);
    table.row(vec![
        Cell::text(&preset.name),
        Cell::text(&preset.title),
        maybe(preset.note.as_ref()),
        Cell::text(preset.to()),
        Cell::text(preset.slot()),
        Cell::list(&preset.methods),
        Cell::list(&preset.paths),
        Cell::list(&preset.query),
        maybe(preset.environment.as_ref()),
        maybe(preset.placeholder.as_ref()),
        Cell::list(&preset.aliases),
        Cell::list(&preset.begins),
        Cell::both("", if data { json!("data") } else { Value::Null }),
        Cell::both("", json!({ "to": preset.needs.to, "as": preset.needs.slot })),
        Cell::both("", json!(probe(preset))),
        Cell::both("", example),
    ]);
    table
}

fn text(preset: &Preset) -> String {
    let mut lines = vec![format!("{}: {}", preset.name, preset.title)];
    lines.extend(preset.note.as_ref().map(|note| format!("  {note}")));
    let variable = match (&preset.environment, &preset.placeholder) {
        (Some(name), Some(placeholder)) => format!("{name}={placeholder}"),
        _ => "none".to_owned(),
    };
    let none = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    let yours = |needed: bool| if needed { " (an example: give your own)" } else { "" };
    let bodies = match preset.placeholder_in_body() {
        Some(PlaceholderInBody::Data) => "may speak of placeholders",
        None => "are searched for placeholders",
    };
    lines.push(String::new());
    for (name, value) in [
        ("to", format!("{}{}", preset.to(), yours(preset.needs.to.is_some()))),
        ("as", format!("{}{}", preset.slot(), yours(preset.needs.slot.is_some()))),
        ("methods", preset.methods.join(" ")),
        ("paths", preset.paths.join(" ")),
        ("query", none(&preset.query)),
        ("bodies", bodies.to_owned()),
        ("variable", variable),
        ("also kept in", none(&preset.aliases)),
        ("keys begin", none(&preset.begins)),
        (
            "to try it",
            probe(preset).or_else(|| preset.no_probe.as_ref().map(|why| format!("nothing: {why}"))).unwrap_or_default(),
        ),
    ] {
        lines.push(format!("{name:<12} {value}"));
    }
    lines.push(String::new());
    lines.push(format!("less: {}", preset.narrow.says));
    lines.push(format!("  {}", put_less(preset, &preset.narrow)));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, SecretVerb};
    use crate::verbs::bound::bind;
    use clap::Parser as _;

    /// As a shell splits it: words with quotes round them stay whole.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                _ => words.last_mut().unwrap().push(c),
            }
        }
        words
    }

    #[test]
    fn the_commands_shown_are_commands_and_the_narrow_one_binds_less() {
        for preset in presets::all().unwrap() {
            let parse = |line: &str| match Cli::try_parse_from(words(line)).unwrap().command {
                Command::Secret { verb: SecretVerb::Put(put) } => bind(&put.name, &put.bound).unwrap().spec(),
                _ => panic!("{line}"),
            };
            let (whole, less) = (parse(&put(&preset)), parse(&put_less(&preset, &preset.narrow)));
            assert_eq!((&whole.to, &whole.slot), (&less.to, &less.slot));
            assert!(less.methods.iter().all(|method| whole.methods.contains(method)), "{}", preset.name);
            assert!(text(&preset).contains(&preset.narrow.says));
            assert_eq!(details(&preset).to_text().lines().count(), 2);
        }
    }
}
