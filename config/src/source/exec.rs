//! `kind = "exec"`.

use crate::parse;
use crate::read::{Table, Value};
use std::path::PathBuf;
use std::time::Duration;

/// A command that prints a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSource {
    /// The program, an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The variables that it is given.
    pub environment: Vec<Variable>,
    /// When it is ended.
    pub deadline: Duration,
}

/// A variable that a command is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; the helper's own without.
    pub value: Option<String>,
}

const DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE_LEAST: Duration = Duration::from_secs(1);
const DEADLINE_MOST: Duration = Duration::from_secs(10);
const WORDS_MAX: usize = 64;
const VARIABLES_MAX: usize = 64;

pub(super) fn read(table: &Table<'_, '_>) -> Option<ExecSource> {
    let action = "write a program and its arguments, such as command = [\"/usr/bin/gh\", \"auth\", \"token\"]";
    let command = table.must("command", action, |value| {
        let words = value.list(|value| Some(value.text()?.to_owned()))?;
        match words.split_first() {
            _ if words.len() > WORDS_MAX => value.wrong(format!("has more than {WORDS_MAX} words")),
            Some((program, arguments)) if program.starts_with('/') => {
                Some((PathBuf::from(program), arguments.to_vec()))
            }
            _ => value.wrong("must begin with the absolute path of a program: no shell looks for it"),
        }
    });
    let environment = table.or("environment", Vec::new(), |value| {
        let variables = value.list(variable)?;
        match variables.len() > VARIABLES_MAX {
            true => value.wrong(format!("has {} variables: keep at most {VARIABLES_MAX}", variables.len())),
            false => Some(variables),
        }
    });
    let deadline = table.or("deadline", DEADLINE, |value| parse::duration(value, DEADLINE_LEAST, DEADLINE_MOST));
    let (program, arguments) = command?;
    Some(ExecSource { program, arguments, environment: environment?, deadline: deadline? })
}

fn variable(value: &Value<'_, '_>) -> Option<Variable> {
    let text = value.text()?;
    let (name, given) = text.split_once('=').map_or((text, None), |(name, given)| (name, Some(given)));
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !begins || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return value.wrong(format!("must be a variable's NAME, or NAME=VALUE, not {text:?}"));
    }
    Some(Variable { name: name.to_owned(), value: given.map(str::to_owned) })
}
