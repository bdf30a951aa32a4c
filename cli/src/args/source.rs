//! `source`: where secrets live.

use super::name;
use crate::complete::live;
use avouch_words::Name;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

/// `source`.
#[derive(Debug, Subcommand)]
pub enum SourceVerb {
    /// List the sources of this node's helper, with how each is entered.
    #[command(before_help = "Example:\n  avouch source list")]
    List,
    /// Log in to a source as an agent that runs here, say what would be read without showing it, and try whether the
    /// source lets in others, which it must not.
    #[command(
        before_help = "Examples:\n  avouch source test vault\n  avouch source test vault --agent researcher --credential github"
    )]
    Test(SourceTest),
}

/// `source test`.
#[derive(Debug, Args)]
pub struct SourceTest {
    /// The source.
    #[arg(value_parser = name, add = ArgValueCandidates::new(live::sources))]
    pub name: Name,
    /// The agent, of which an instance has to live on this node. Without it: whoever began last of those that may use
    /// something of the source.
    #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::agents))]
    pub agent: Option<Name>,
    /// The credential that is looked for. Without it: the first that the agent may use of the source.
    #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::credentials))]
    pub credential: Option<Name>,
}
