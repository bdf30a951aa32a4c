//! `secret` and `preset`: where a value may go, as flags or ready-made.

use super::{name, slot};
use crate::complete::live;
use avouch_policy::SlotSpec;
use avouch_words::{Name, Selector};
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

/// `secret put`. With a preset each flag stands over what the preset says.
#[derive(Debug, Args)]
pub struct SecretPut {
    /// The credential's name.
    #[arg(value_parser = name, add = ArgValueCandidates::new(live::credentials))]
    pub name: Name,
    /// The ready binding of a well-known service; `avouch preset list` lists them.
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(live::presets))]
    pub preset: Option<String>,
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
    /// The only origin it may go to.
    #[arg(long, value_name = "ORIGIN", required_unless_present = "preset")]
    pub to: Option<String>,
    /// A method it may go with.
    #[arg(long, value_name = "METHOD", required_unless_present = "preset")]
    pub method: Vec<String>,
    /// A path it may go with: * for one segment, ** at the end for the rest.
    #[arg(long, value_name = "PATH", required_unless_present = "preset")]
    pub path: Vec<String>,
    /// A query key that a request may carry.
    #[arg(long, value_name = "KEY")]
    pub query: Vec<String>,
    /// Where it goes: bearer, basic:USER or header:NAME[:PREFIX].
    #[arg(long = "as", value_name = "SLOT", value_parser = slot, required_unless_present = "preset")]
    pub slot: Option<SlotSpec>,
    /// `loopback` permits plain HTTP to this machine.
    #[arg(long, value_name = "WHERE", value_parser = ["loopback"])]
    pub plain: Option<String>,
    /// Address that is dialled instead of looking the host up: the permission for a private one.
    #[arg(long, value_name = "IP[:PORT]")]
    pub address: Option<String>,
    /// PEM certificates trusted for this binding alone.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The variable in which sessions find the placeholder; it ends in avouch: and the credential's name.
    #[arg(long, value_name = "NAME[=PLACEHOLDER]", conflicts_with = "no_env")]
    pub env: Option<String>,
    /// Sessions find no placeholder, whatever the preset says.
    #[arg(long)]
    pub no_env: bool,
    /// A fact that a session must have, as session:contained:work.
    #[arg(long, value_name = "SELECTOR", value_parser = super::selector)]
    pub require: Vec<Selector>,
    /// `data` lets the bodies of requests speak of placeholders.
    #[arg(long, value_name = "WHAT", value_parser = ["data"])]
    pub placeholder_in_body: Option<String>,
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
