//! Tries the ways out of a contained session that `corpus/` lists, each outside first, where it has to succeed, and
//! then in a session of each profile, where it has to fail for its reason. Prints what came of it, and ends with 1 if
//! anything got out, or broke.
//!
//! `avouch-escapes root` and `avouch-escapes user` are the two callers; words behind it pick profiles and cases, and `outside`
//! the controls alone.

mod base;
mod corpus;
mod outside;
mod places;
mod race;
mod table;

use std::io;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &words[..] {
        ["inner", caller, at, chosen @ ..] => inner(caller, Path::new(at), chosen),
        ["root" | "user", chosen @ ..] => base::run(words[0], chosen),
        _ => Err(io::Error::other("usage: avouch-escapes root|user [PROFILE | CASE]...")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the escapes could not be tried: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The caller's part, as the caller.
fn inner(caller: &str, at: &Path, chosen: &[&str]) -> io::Result<bool> {
    let canary = std::fs::read_to_string(at.join("canary"))?;
    let cases = corpus::read(caller)?;
    let profiles: Vec<&str> = corpus::PROFILES.into_iter().filter(|name| chosen.contains(name)).collect();
    let controls = chosen.contains(&OUTSIDE);
    let profiles = if profiles.is_empty() && !controls { corpus::PROFILES.to_vec() } else { profiles };
    let place = |word: &&str| *word == OUTSIDE || corpus::PROFILES.contains(word);
    let names: Vec<&str> = chosen.iter().copied().filter(|word| !place(word)).collect();
    let cases: Vec<_> = cases
        .into_iter()
        .filter(|case| names.is_empty() || names.iter().any(|name| case.name.contains(name)))
        .collect();
    let mut stage = places::Stage::set(at, canary.trim())?;
    let outside = stage.try_all(OUTSIDE, &cases)?;
    let mut table = table::Table::new(&cases, outside);
    for profile in profiles {
        let here: Vec<_> =
            cases.iter().filter(|case| case.profiles.iter().any(|one| one == profile)).cloned().collect();
        if !here.is_empty() {
            table.add(profile, stage.try_all(profile, &here)?);
        }
    }
    Ok(table.print(caller, &stage.missing()))
}

/// The place that is no session.
const OUTSIDE: &str = "outside";
