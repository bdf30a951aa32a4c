//! The cases, as `corpus.toml` has them.

use serde::Deserialize;
use std::io;

/// The built-in profiles, and one with small limits for what would otherwise fill the machine.
pub const PROFILES: [&str; 4] = ["open", "work", "strict", "tight"];

/// One way out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub attempt: String,
    #[serde(default)]
    pub args: toml::Table,
    pub proof: Proof,
    pub reasons: Vec<String>,
    #[serde(default = "built_in")]
    pub profiles: Vec<String>,
    #[serde(default = "both")]
    callers: Vec<String>,
    #[serde(default)]
    pub alone: bool,
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
    Heard,
    Read,
    Same(String),
    Said(String),
    File(String),
    Ended(String),
    SetId(String),
    Mounted,
    Typed,
    Grant,
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
    let corpus: Corpus = toml::from_str(include_str!("corpus.toml")).map_err(io::Error::other)?;
    Ok(corpus.case.into_iter().filter(|case| case.callers.iter().any(|one| one == caller)).collect())
}

fn built_in() -> Vec<String> {
    ["open", "work", "strict"].map(str::to_owned).to_vec()
}

fn both() -> Vec<String> {
    ["root", "user"].map(str::to_owned).to_vec()
}
