//! What becomes of each variable: which service its value is for, and by which name it is sealed. Recognised by the
//! variable's name and by what keys begin with, from the presets; what only looks like a secret is left and told.

use super::dotenv::Entry;
use crate::failure::Failure;
use crate::presets::Preset;
use avouch_contain::looks_like_secret;
use avouch_policy::placeholder::PLACEHOLDER;
use avouch_policy::{Binding, EnvironmentSpec};
use avouch_words::{Digest, Name};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of a variable.
#[derive(Debug)]
pub enum Proposal {
    /// Its value is sealed, and a placeholder stands for it.
    Bind(Box<Bind>),
    /// It is a secret, and where it may go has to be said: the command that would.
    Unknown(String),
    /// It is a secret that cannot be kept.
    Unfit(&'static str),
    /// It has a placeholder already.
    Placeholder,
    /// It is no secret.
    Plain,
}

/// A credential to be made.
#[derive(Debug, Clone)]
pub struct Bind {
    /// Its name.
    pub name: Name,
    /// What service it is for.
    pub title: String,
    /// Where it may go.
    pub binding: Binding,
    /// What stands in the file then.
    pub placeholder: String,
}

/// Proposes for one variable after another.
pub struct Proposer {
    presets: Vec<Preset>,
    taken: BTreeSet<String>,
    known: BTreeMap<(Digest, String), Bind>,
}

impl Proposer {
    /// With these presets; these names are others' already.
    pub fn new(presets: Vec<Preset>, taken: BTreeSet<String>) -> Self {
        Self { presets, taken, known: BTreeMap::new() }
    }

    /// What becomes of this one.
    pub fn propose(&mut self, entry: &Entry) -> Result<Proposal, Failure> {
        let Ok(value) = std::str::from_utf8(entry.value.expose()) else { return Ok(Proposal::Unfit(NOT_PRINTABLE)) };
        if value.contains(PLACEHOLDER) {
            return Ok(Proposal::Placeholder);
        }
        let preset = self.preset(&entry.key, value).cloned();
        let secret = looks_like_secret(&entry.key, value);
        let Some(preset) = preset.filter(|preset| secret || named(preset, &entry.key) && value.len() >= SHORTEST)
        else {
            return Ok(if secret { Proposal::Unknown(command(&entry.key, None)) } else { Proposal::Plain });
        };
        match value.len() {
            0..SHORTEST => return Ok(Proposal::Unfit(TOO_SHORT)),
            SHORTEST..=LONGEST if value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {}
            SHORTEST..=LONGEST => return Ok(Proposal::Unfit(NOT_PRINTABLE)),
            _ => return Ok(Proposal::Unfit(TOO_LONG)),
        }
        if preset.needs.to.is_some() || preset.needs.slot.is_some() {
            return Ok(Proposal::Unknown(command(&entry.key, Some(&preset))));
        }
        self.bind(entry, &preset).map(|bind| Proposal::Bind(Box::new(bind)))
    }

    /// The preset of this name or shape; none where the two disagree.
    fn preset(&self, key: &str, value: &str) -> Option<&Preset> {
        let begins =
            |preset: &&Preset| preset.begins.iter().filter(|one| value.starts_with(*one)).map(String::len).max();
        // Of several for one kind of key, the first is the service's own API: `github` before `github-git`.
        let shaped = self.presets.iter().rev().filter(|preset| begins(preset).is_some()).max_by_key(begins);
        match self.presets.iter().find(|preset| named(preset, key)) {
            Some(named) if begins(&named).is_none() && shaped.is_some() => None,
            Some(named) => Some(named),
            None => shaped,
        }
    }

    fn bind(&mut self, entry: &Entry, preset: &Preset) -> Result<Bind, Failure> {
        let same = (entry.digest, preset.name.clone());
        if let Some(bind) = self.known.get(&same) {
            return Ok(bind.clone());
        }
        let name = self.name(preset, &entry.key)?;
        let mut spec = preset.binding(None, None)?;
        let prefix = spec.environment.as_ref().and_then(|environment| environment.prefix.clone());
        if !named(preset, &entry.key) {
            // Recognised by its shape: the program looks where the file says.
            spec.environment = Some(EnvironmentSpec { name: entry.key.clone(), prefix: prefix.clone() });
        }
        let binding = spec.check().map_err(|error| {
            let sentence = format!("the preset {} cannot be bound for {}: {error}", preset.name, entry.key);
            Failure::new(crate::failure::Exit::Failure, sentence)
        })?;
        let placeholder = format!("{}{PLACEHOLDER}{name}", prefix.unwrap_or_default());
        let bind = Bind { name, title: preset.title.clone(), binding, placeholder };
        self.known.insert(same, bind.clone());
        Ok(bind)
    }

    /// The preset's own name; else the variable's; else that with a number.
    fn name(&mut self, preset: &Preset, key: &str) -> Result<Name, Failure> {
        let own = key.to_ascii_lowercase();
        let numbered = (2..).map(|number| format!("{}-{number}", preset.name));
        let mut all = [preset.name.clone(), own].into_iter().chain(numbered).take(MOST_NAMES);
        let free = all.find(|name| !self.taken.contains(name) && Name::parse(name).is_ok());
        let name = free.and_then(|name| Name::parse(&name).ok()).ok_or_else(|| {
            let sentence = format!("there is no name left for {key}: {} has too many credentials", preset.name);
            Failure::new(crate::failure::Exit::Failure, sentence)
        })?;
        self.taken.insert(name.to_string());
        Ok(name)
    }
}

/// Whether tools look for this service's key in a variable of this name.
fn named(preset: &Preset, key: &str) -> bool {
    preset.environment.as_deref() == Some(key) || preset.aliases.iter().any(|alias| alias == key)
}

/// What would bind it, for a person to complete.
fn command(key: &str, preset: Option<&Preset>) -> String {
    let lower = key.to_ascii_lowercase();
    let name = if Name::parse(&lower).is_ok() { lower.as_str() } else { "NAME" };
    let where_to = match preset {
        Some(preset) => {
            let to = preset.needs.to.as_ref().map(|to| format!(" --to {to}"));
            let slot = preset.needs.slot.as_ref().map(|slot| format!(" --as {slot}"));
            format!("--preset {}{}{}", preset.name, to.unwrap_or_default(), slot.unwrap_or_default())
        }
        None => "--to https://HOST --method GET --path '/**' --as bearer".to_owned(),
    };
    format!("avouch secret put {name} --value-stdin {where_to} --env {key}")
}

/// What the store takes: long enough to be scrubbed, and not more than it keeps.
const SHORTEST: usize = 8;
const LONGEST: usize = 16 * 1024;
/// Credentials of one service that are told apart by a number.
const MOST_NAMES: usize = 100;
const TOO_SHORT: &str = "it is too short to be scrubbed from what comes back: at least 8 bytes";
const TOO_LONG: &str = "it is longer than the 16 KiB that are kept";
const NOT_PRINTABLE: &str = "only printable ASCII on one line can be kept";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::dotenv;
    use crate::presets;

    fn proposals(file: &str, taken: &[&str]) -> Vec<(String, Proposal)> {
        let taken = taken.iter().map(|name| (*name).to_owned()).collect();
        let mut proposer = Proposer::new(presets::all().unwrap(), taken);
        let parsed = dotenv::parse(file.as_bytes());
        parsed.entries.iter().map(|entry| (entry.key.clone(), proposer.propose(entry).unwrap())).collect()
    }

    fn bound(file: &str, taken: &[&str]) -> Vec<(String, String)> {
        let all = proposals(file, taken).into_iter();
        all.map(|(key, proposal)| match proposal {
            Proposal::Bind(bind) => (bind.name.to_string(), bind.placeholder),
            other => panic!("{key}: {other:?}"),
        })
        .collect()
    }

    fn pair(name: &str, placeholder: &str) -> (String, String) {
        (name.to_owned(), placeholder.to_owned())
    }

    #[test]
    fn names_and_shapes_are_recognised_and_the_same_value_is_one_credential() {
        let file = "GITHUB_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345\n\
                    GH_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345\n\
                    MY_HUB=ghp_9876543210abcdefghijABCDEFGHIJ012345\n\
                    SLACK_BOT_TOKEN=xoxb-1234567890-abcdefghij\n";
        let expected = [
            pair("github", "avouch:github"),
            pair("github", "avouch:github"),
            pair("my_hub", "avouch:my_hub"),
            pair("slack", "xoxb-avouch:slack"),
        ];
        assert_eq!(bound(file, &[]), expected);
    }

    #[test]
    fn a_name_that_is_taken_is_not_taken_again() {
        let file = "GITHUB_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345\n";
        assert_eq!(bound(file, &["github"]), [pair("github_token", "avouch:github_token")]);
        assert_eq!(bound(file, &["github", "github_token"]), [pair("github-2", "avouch:github-2")]);
    }

    #[test]
    fn what_is_not_known_or_cannot_be_kept_is_left_and_what_is_no_secret_too() {
        let file = "PORT=3000\nDEBUG=true\nOTHER_API_KEY=0123456789abcdef0123456789abcdef\n\
                    GITHUB_TOKEN=\"ghp_0123456789abcdefghij\nABCDEFGHIJ0123\"\nOPENAI_API_KEY=avouch:openai\n\
                    GITLAB_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345\n";
        let all: BTreeMap<_, _> = proposals(file, &[]).into_iter().collect();
        assert!(matches!(all["PORT"], Proposal::Plain) && matches!(all["DEBUG"], Proposal::Plain));
        let Proposal::Unknown(command) = &all["OTHER_API_KEY"] else { panic!("{all:?}") };
        assert!(command.starts_with("avouch secret put other_api_key --value-stdin --to"), "{command}");
        assert!(matches!(all["GITHUB_TOKEN"], Proposal::Unfit(NOT_PRINTABLE)), "{all:?}");
        assert!(matches!(all["OPENAI_API_KEY"], Proposal::Placeholder));
        assert!(matches!(all["GITLAB_TOKEN"], Proposal::Unknown(_)), "its name and its shape disagree: {all:?}");
    }

    #[test]
    fn the_command_for_what_is_not_known_is_read_by_the_program() {
        use clap::Parser as _;
        for preset in presets::all().unwrap() {
            let line = command("SOME_KEY", Some(&preset)).replace('\'', "");
            assert!(crate::args::Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        let line = command("SOME_KEY", None).replace('\'', "");
        assert!(crate::args::Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
}
