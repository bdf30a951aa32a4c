//! Where a value may go, as flags: the same of every verb that binds one.

use super::slot;
use crate::complete::live;
use avouch_policy::SlotSpec;
use avouch_words::Selector;
use clap::Args;
use clap_complete::ArgValueCandidates;
use std::path::PathBuf;
use std::time::Duration;

/// A binding. With a preset each flag stands over what the preset says.
#[derive(Debug, Args)]
pub struct Bound {
    /// The ready binding of a well-known service; `avouch preset list` lists them.
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(live::presets))]
    pub preset: Option<String>,
    /// The only origin it may go to.
    #[arg(long, value_name = "ORIGIN", required_unless_present_any = ["preset", "reveal"])]
    pub to: Option<String>,
    /// A method it may go with.
    #[arg(long, value_name = "METHOD", required_unless_present_any = ["preset", "reveal"])]
    pub method: Vec<String>,
    /// A path it may go with: * for one segment, ** at the end for the rest.
    #[arg(long, value_name = "PATH", required_unless_present_any = ["preset", "reveal"])]
    pub path: Vec<String>,
    /// A query key that a request may carry.
    #[arg(long, value_name = "KEY")]
    pub query: Vec<String>,
    /// Where it goes: bearer, basic:USER or header:NAME[:PREFIX].
    #[arg(long = "as", value_name = "SLOT", value_parser = slot, required_unless_present_any = ["preset", "reveal"])]
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
    /// Let a program of the agent's hold the value itself, with `avouch exec`. Without --to it goes nowhere else.
    #[arg(long)]
    pub reveal: bool,
    /// Replace a value by the next one after this time, although it is still good.
    #[arg(long, value_name = "TIME", value_parser = super::duration)]
    pub rotate_every: Option<Duration>,
    /// Replace a value by the next one after so many uses.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub rotate_after_uses: Option<u32>,
}
