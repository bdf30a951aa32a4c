//! The walls of contained sessions, tried from inside. This program is its own stages, as `avouch` is; and it is run
//! by root and by an ordinary user, where the tests are root's.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod names;
mod place;
mod terminals;
mod tries;

use avouch_contain::{Contain, Launch, Profile, STAGE, SessionFiles, harden, prepare, stage};
use place::{HIDE, PROFILES, SOCKET, UID};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(word) if word == STAGE => stage(args).into(),
        Some(word) if word == place::SESSION => session(args),
        first => {
            // Options of the usual runner change nothing here.
            let mut words = first.into_iter().chain(args).filter_map(|word| word.into_string().ok());
            all(&words.find(|word| !word.starts_with('-')).unwrap_or_default())
        }
    }
}

/// What `avouch run --contain=PROFILE` does, without a helper.
fn session(mut args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let hardened = harden().unwrap();
    let profile = args.next().unwrap().into_string().unwrap();
    let contain = Contain {
        profile: Profile::find(&profile, &[std::env::var_os(PROFILES).unwrap().into()]).unwrap(),
        workload_socket: std::env::var_os(SOCKET).unwrap().into(),
        tokens_directory: None,
        work_dir: std::env::current_dir().unwrap(),
        home: std::env::var_os("HOME").map(Into::into),
        runtime_dir: None,
        hide: std::env::var_os(HIDE).into_iter().map(Into::into).collect(),
        uid: std::env::var(UID).ok().map(|uid| uid.parse().unwrap()),
    };
    let prepared = match prepare(&hardened, contain) {
        Ok(prepared) => prepared,
        Err(error) => {
            // Standard output may be what was refused.
            let _ = writeln!(std::io::stderr(), "refused: {error}");
            return place::REFUSED.into();
        }
    };
    // As the helper would hold it.
    let _listener = prepared.listener().try_clone_to_owned().unwrap();
    let program = args.next().unwrap();
    let files = SessionFiles { bundle: b"bundle\n".to_vec(), extra: b"extra\n".to_vec() };
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.push(("PROXY_PORT".into(), prepared.proxy().port().to_string().into()));
    prepared.launch(Launch { program, args: args.collect(), environment, watch: None }, files).unwrap().into()
}

/// Runs every test whose name contains the filter, one after the other.
fn all(filter: &str) -> ExitCode {
    if let Some(sentence) = place::denied() {
        println!("not run: {sentence}");
        println!("test result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    let chosen = tries::ALL.iter().filter(|(name, _)| name.contains(filter));
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in chosen {
        let ended_well = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if ended_well { "ok" } else { "FAILED" });
        *(if ended_well { &mut passed } else { &mut failed }) += 1;
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    // As the usual runner says it, for who counts.
    println!("test result: {word}. {passed} passed; {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
