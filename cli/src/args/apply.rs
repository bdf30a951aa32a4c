//! `apply`.

use clap::Args;
use std::path::PathBuf;

/// `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// A file of YAML or JSON documents, a directory of such files, or - for stdin. Several are one change.
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-", required_unless_present = "schema")]
    pub file: Vec<PathBuf>,
    /// Only print what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the JSON Schema of the documents.
    #[arg(long, conflicts_with_all = ["file", "dry_run"])]
    pub schema: bool,
}
