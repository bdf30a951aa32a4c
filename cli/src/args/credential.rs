//! `credential`: what is bound where, and where its value lies.

use super::{Bound, Withdrawal, name};
use crate::complete::live;
use avouch_words::{Name, Reference};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

/// `credential`.
#[derive(Debug, Subcommand)]
pub enum CredentialVerb {
    /// Bind what lies in a source to the only place it may go. Its value is read at each call, and never comes here.
    #[command(
        before_help = "Examples:\n  avouch credential create github --source vault --ref kv2:secret/ci/github#token --preset github\n  avouch credential create db --source vault --ref database:database/readonly --to https://db.example.test --method POST --path /query --as bearer\n  avouch credential create github --source gh --preset github"
    )]
    Create(Box<CredentialCreate>),
    /// Have this node's helper read it anew at its next use. What it keeps is used until the next value is there.
    #[command(before_help = "Example:\n  avouch credential rotate github")]
    Rotate {
        /// Its name.
        #[arg(value_parser = name, add = ArgValueCandidates::new(live::credentials))]
        name: Name,
    },
    /// List the credentials with where they lie and their bindings.
    #[command(before_help = "Example:\n  avouch credential list")]
    List,
    /// Take a credential back, with its grants. What its source holds stays there.
    #[command(before_help = "Example:\n  avouch credential delete github --reason 'replaced'")]
    Delete {
        /// The credential.
        #[arg(value_parser = name, add = ArgValueCandidates::new(live::credentials))]
        name: Name,
        /// Why, and whether to ask.
        #[command(flatten)]
        withdrawal: Withdrawal,
    },
}

/// `credential create`.
#[derive(Debug, Args)]
pub struct CredentialCreate {
    /// Its name.
    #[arg(value_parser = name)]
    pub name: Name,
    /// The source it lies in, as the helper's settings name it. What this node seals itself is put with `secret put`.
    #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::sources))]
    pub source: Name,
    /// Where in the source it lies. A source that is one file or one command needs none.
    #[arg(long = "ref", value_name = "REFERENCE", value_parser = reference, default_value = "", hide_default_value = true)]
    pub reference: Reference,
    /// Replace the credential of this name, if there is one: its source, its reference and its binding.
    #[arg(long)]
    pub replace: bool,
    /// Where it may go.
    #[command(flatten)]
    pub bound: Bound,
}

fn reference(text: &str) -> Result<Reference, String> {
    Reference::parse(text).map_err(|error| error.to_string())
}
