//! What a person's first day needs beside the nouns: `import`, `completions`, `man`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

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
