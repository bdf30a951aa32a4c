//! `lease` and `exec`: what sources are owed, and programs that hold a value themselves.

use super::name;
use crate::complete::live;
use avouch_words::Name;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use std::ffi::OsString;

/// `lease`.
#[derive(Debug, Subcommand)]
pub enum LeaseVerb {
    /// List what this node's helper owes to sources: leases and logins in use, and what waits to be given back.
    #[command(before_help = "Examples:\n  avouch lease list\n  avouch lease list --due")]
    List {
        /// Only what waits to be given back.
        #[arg(long)]
        due: bool,
    },
    /// Show one.
    #[command(before_help = "Example:\n  avouch lease show 3f7a1c09be52d841")]
    Show {
        /// Its ID, as `lease list` shows it.
        #[arg(add = ArgValueCandidates::new(live::leases))]
        id: String,
    },
    /// Give one back at its source. It is used by no call from then on.
    #[command(before_help = "Example:\n  avouch lease revoke 3f7a1c09be52d841")]
    Revoke {
        /// Its ID, as `lease list` shows it.
        #[arg(add = ArgValueCandidates::new(live::leases))]
        id: String,
    },
}

/// `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The agent, to open a session for the program; inside a session it is that session's.
    #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::agents))]
    pub agent: Option<Name>,
    /// A credential that the program holds, and how: NAME=env, fd, memfd or file, with :VARIABLE for another variable
    /// than the credential's name.
    #[arg(long, value_name = "NAME=HOW[:VARIABLE]", required = true, value_parser = with)]
    pub with: Vec<With>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// One credential for the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct With {
    /// Which.
    pub credential: Name,
    /// How it gets it.
    pub how: How,
    /// The variable that says so.
    pub variable: Option<String>,
    /// As it was written.
    pub text: String,
}

/// How a program gets a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// In its environment.
    Env,
    /// On a pipe that is read once.
    Fd,
    /// In sealed memory that can be read again and again.
    Memfd,
    /// In a file that only it can read and that is in memory.
    File,
}

fn with(text: &str) -> Result<With, String> {
    let wrong = || "write it as NAME=env, NAME=fd, NAME=memfd or NAME=file, with :VARIABLE behind it or not".to_owned();
    let (credential, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (how, variable) = match rest.split_once(':') {
        Some((how, variable)) => (how, Some(variable)),
        None => (rest, None),
    };
    let how = match how {
        "env" => How::Env,
        "fd" => How::Fd,
        "memfd" => How::Memfd,
        "file" => How::File,
        _ => return Err(wrong()),
    };
    let fits = |name: &str| {
        name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if variable.is_some_and(|variable| !fits(variable)) {
        return Err("a variable is letters, digits and _, and begins with no digit".to_owned());
    }
    Ok(With { credential: name(credential)?, how, variable: variable.map(ToOwned::to_owned), text: text.to_owned() })
}
