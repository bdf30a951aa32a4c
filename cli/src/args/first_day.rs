//! What a person's first day needs beside the nouns: `import`, `completions`, `man`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The file, usually .env.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do what is proposed without asking.
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Seal the file as it is first; --restore puts it back.
    #[arg(long, conflicts_with = "dry_run")]
    pub backup: bool,
    /// Put a sealed backup of this file back in its place, with its secrets in clear and mode 0600: the newest, or the
    /// one of this ID.
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "", require_equals = true,
          conflicts_with_all = ["dry_run", "backup", "replace"])]
    pub restore: Option<String>,
    /// Take credentials over that have the proposed names already; without it, others are found.
    #[arg(long)]
    pub replace: bool,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// The decision's id, as the agent was shown it; `avouch status` lists those that were refused lately.
    #[arg(value_name = "DECISION")]
    pub decision: String,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManPages {
    /// A directory for the pages; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
}
