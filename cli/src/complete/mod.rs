//! Completions: the script that a shell loads, and the answers that this script comes back for. The words come from
//! the same tree that the command line is read with, the names from the issuer ([`live`]).

pub mod live;

use crate::args::{Cli, Shell};
use crate::failure::{Exit, Failure};
use crate::output::{Output, data};
use clap::CommandFactory as _;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use serde_json::json;
use std::ffi::OsString;
use std::io;

/// Prints the script.
pub fn script(shell: Shell, output: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    let written = completer(shell).write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script);
    written.map_err(|error| failed(&error))?;
    let script = String::from_utf8_lossy(&script);
    output.tell(|| script.to_string(), || json!({"script": script}))
}

/// The shell that asks, if this process was started by the script. A name that is no shell's asks for nothing.
pub fn asked() -> Option<Shell> {
    let name = std::env::var(VARIABLE).ok()?;
    [Shell::Bash, Shell::Zsh, Shell::Fish].into_iter().find(|shell| completer(*shell).is(&name))
}

/// Answers what may come next on this line: what the script passed on, without the program's name.
pub fn answer(shell: Shell, mut line: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    // The script puts `--` before the words of the line, the program's own name first.
    let words: Vec<_> = line.by_ref().skip_while(|word| word != "--").skip(1).take(MOST_WORDS).collect();
    let mut command = Cli::command();
    command.build();
    let mut answer = Vec::new();
    let here = std::env::current_dir().ok();
    let written = completer(shell).write_complete(&mut command, words, here.as_deref(), &mut answer);
    written.map_err(|error| failed(&error))?;
    data(String::from_utf8_lossy(&answer))
}

fn completer(shell: Shell) -> &'static dyn EnvCompleter {
    match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("cannot complete: {error}"))
}

/// The name that the shells know the program by.
const PROGRAM: &str = "avouch";
/// Set by the script when it comes back. `avouch run` passes no variable of this prefix on.
const VARIABLE: &str = "AVOUCH_COMPLETE";
/// Words of a line that are looked at.
const MOST_WORDS: usize = 1_024;
