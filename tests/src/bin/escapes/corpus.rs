//! The cases, as the files of `corpus/` have them: each way out that is tried, how it is seen to have succeeded, and how it
//! may fail inside. What an attempt does is said where it is, in `attack/`.

use serde::Deserialize;
use std::io;

/// The built-in profiles, and one with small limits for what would otherwise fill the machine.
pub const PROFILES: [&str; 4] = ["open", "work", "strict", "tight"];

const FILES: [&str; 9] = [
    include_str!("corpus/network.toml"),
    include_str!("corpus/sockets.toml"),
    include_str!("corpus/files.toml"),
    include_str!("corpus/rights.toml"),
    include_str!("corpus/devices.toml"),
    include_str!("corpus/processes.toml"),
    include_str!("corpus/mounts.toml"),
    include_str!("corpus/calls.toml"),
    include_str!("corpus/own.toml"),
];

/// One way out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the table calls it.
    pub name: String,
    /// The function that tries it.
    pub attempt: String,
    /// Its arguments.
    #[serde(default)]
    pub args: toml::Table,
    /// How success is recognised.
    pub proof: Proof,
    /// How it may fail inside: an error's name, a part of what was said, or nothing where all seemed well and nothing came of
    /// it. Anything else fails the test, as an attempt that broke shows nothing.
    pub reasons: Vec<String>,
    /// The built-in ones if not said.
    #[serde(default = "built_in")]
    pub profiles: Vec<String>,
    /// Root and user if not said.
    #[serde(default = "both")]
    callers: Vec<String>,
    /// Not beside others.
    #[serde(default)]
    pub alone: bool,
    /// What it is run on.
    #[serde(default)]
    pub on: On,
    /// How the control differs from the attempt.
    #[serde(default)]
    pub reach: String,
}

/// What the attempt runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// Pipes.
    #[default]
    Pipes,
    /// A terminal, which is standard input too.
    Stdin,
    /// A terminal, which is not standard input.
    NoStdin,
    /// Sessions one after another in a folder that another session exchanges all the while.
    Race,
}

/// How success is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Proof {
    /// Something outside heard the attempt's own word.
    Heard,
    /// It reports a value that only the outside has.
    Read,
    /// It reports the digest of this file.
    Same(String),
    /// It reports something with this text, having got what no session may have.
    Said(String),
    /// This file outside holds the attempt's word.
    File(String),
    /// This process outside has ended.
    Ended(String),
    /// This file in the work directory has, seen from outside, a set-id bit or a capability.
    SetId(String),
    /// The outside sees a mount with the attempt's word.
    Mounted,
    /// The shell that the session was started from read the attempt's word.
    Typed,
    /// A grant was made.
    Grant,
    /// A lock was released.
    Lock,
}

impl TryFrom<String> for Proof {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((&text, ""));
        let rest = rest.to_owned();
        Ok(match kind {
            "heard" => Self::Heard,
            "read" => Self::Read,
            "same" => Self::Same(rest),
            "said" => Self::Said(rest),
            "file" => Self::File(rest),
            "ended" => Self::Ended(rest),
            "set-id" => Self::SetId(rest),
            "mounted" => Self::Mounted,
            "typed" => Self::Typed,
            "grant" => Self::Grant,
            "lock" => Self::Lock,
            other => return Err(format!("no success is recognised by {other}")),
        })
    }
}

/// The cases that are for this caller.
pub fn read(caller: &str) -> io::Result<Vec<Case>> {
    #[derive(Deserialize)]
    struct Corpus {
        case: Vec<Case>,
    }
    let mut cases = Vec::new();
    for file in FILES {
        let corpus: Corpus = toml::from_str(file).map_err(io::Error::other)?;
        cases.extend(corpus.case.into_iter().filter(|case| case.callers.iter().any(|one| one == caller)));
    }
    Ok(cases)
}

fn built_in() -> Vec<String> {
    ["open", "work", "strict"].map(str::to_owned).to_vec()
}

fn both() -> Vec<String> {
    ["root", "user"].map(str::to_owned).to_vec()
}
