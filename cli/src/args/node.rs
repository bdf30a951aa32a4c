//! `node`, and what verbs that withdraw something have in common.

use super::{duration, name};
use crate::complete::live;
use avouch_words::Name;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use std::path::PathBuf;
use std::time::Duration;

/// `node`.
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// List the nodes.
    #[command(before_help = "Example:\n  avouch node list")]
    List,
    /// Show one node, with the instances that live there.
    #[command(before_help = "Example:\n  avouch node show web-1")]
    Show {
        /// The node.
        #[arg(value_parser = name, add = ArgValueCandidates::new(live::nodes))]
        name: Name,
    },
    /// Give a node nothing any more: its calls end, and it joins nowhere until it is evicted.
    #[command(before_help = "Example:\n  avouch node ban web-1 --reason 'stolen'")]
    Ban {
        /// The node.
        #[arg(value_parser = name, add = ArgValueCandidates::new(live::nodes))]
        name: Name,
        /// Why, and whether to ask.
        #[command(flatten)]
        withdrawal: Withdrawal,
    },
    /// Forget a node's identity: it has to join anew, with another token. That ends a ban, too.
    #[command(before_help = "Example:\n  avouch node evict web-1 --reason 'set up anew'")]
    Evict {
        /// The node.
        #[arg(value_parser = name, add = ArgValueCandidates::new(live::nodes))]
        name: Name,
        /// Why, and whether to ask.
        #[command(flatten)]
        withdrawal: Withdrawal,
    },
    /// Make another join token for a node, as `token create` does.
    #[command(before_help = "Example:\n  avouch node token web-1 --out join.token")]
    Token {
        /// The node.
        #[arg(value_parser = name, add = ArgValueCandidates::new(live::nodes))]
        name: Name,
        /// How long, and where to.
        #[command(flatten)]
        order: TokenOrder,
    },
}

/// A join token that is to be made.
#[derive(Debug, Args)]
pub struct TokenOrder {
    /// How long it is good.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub ttl: Duration,
    /// A file to be made with mode 0600, or - for stdout.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Of a verb that withdraws something.
#[derive(Debug, Args)]
pub struct Withdrawal {
    /// Why; it is recorded.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Do it without asking.
    #[arg(long)]
    pub yes: bool,
}
