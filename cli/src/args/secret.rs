//! `secret` and `preset`: values that are sealed on this node, and ready bindings.

use super::{Bound, name};
use crate::complete::live;
use avouch_words::Name;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use std::path::PathBuf;

/// `secret`.
#[derive(Debug, Subcommand)]
pub enum SecretVerb {
    /// Seal a value on this node and bind it to the only place it may go.
    #[command(
        before_help = "Examples:\n  avouch secret put github --preset github --value-stdin\n  avouch secret put github --preset github --narrow\n  avouch secret put tool --value-file key.txt --to http://127.0.0.1:8080 --plain loopback --method POST --path /run --as header:x-api-key"
    )]
    Put(Box<SecretPut>),
}

/// `secret put`.
#[derive(Debug, Args)]
pub struct SecretPut {
    /// The credential's name.
    #[arg(value_parser = name, add = ArgValueCandidates::new(live::credentials))]
    pub name: Name,
    /// Show what the preset binds and how to bind less, and store nothing.
    #[arg(long, requires = "preset", conflicts_with_all = ["value_stdin", "value_file"])]
    pub narrow: bool,
    /// Read the value from stdin; one end of line at its end is not part of it. On a terminal it is asked for, and
    /// not shown.
    #[arg(long, conflicts_with = "value_file", required_unless_present_any = ["value_file", "narrow"])]
    pub value_stdin: bool,
    /// Read the value from a file of mode 0600.
    #[arg(long, value_name = "FILE")]
    pub value_file: Option<PathBuf>,
    /// Where it may go.
    #[command(flatten)]
    pub bound: Bound,
}

/// `preset`.
#[derive(Debug, Subcommand)]
pub enum PresetVerb {
    /// List the services that have a ready binding.
    #[command(before_help = "Example:\n  avouch preset list")]
    List,
    /// Show what a preset binds, its variable, and a call to try it with.
    #[command(before_help = "Example:\n  avouch preset show github")]
    Show {
        /// The preset.
        #[arg(add = ArgValueCandidates::new(live::presets))]
        name: String,
    },
}
