//! `avouch-helper`: the node helper as a program of its own, with no issuer code in it. Memory is wiped when it is
//! given back, whatever it held.

use avouch_config::{HelperConfig, Paths, StartError, lifecycle, telemetry};
use avouch_helper::Helper;
use avouch_words::SystemClock;
use clap::Parser;
use std::alloc::System;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The node helper: attests the processes of its node, serves them their identities, and lets their tools use
/// credentials that they never see.
#[derive(Parser)]
#[command(name = "avouch-helper", version)]
struct Arguments {
    /// The settings file; without it, the one of the system for root, else the user's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Start(error)) => {
            say(&format!("avouch-helper: {error} ({})\n{}", error.code(), error.action()));
            ExitCode::from(error.exit_code())
        }
        Err(Failed::Later(why)) => {
            say(&format!("avouch-helper: {why}"));
            ExitCode::FAILURE
        }
    }
}

enum Failed {
    Start(StartError),
    Later(String),
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

fn run(arguments: Arguments) -> Result<(), Failed> {
    lifecycle::harden()?;
    lifecycle::refuse_secrets_in_environment(std::env::vars_os())?;
    // What settings that are named leave out is the system's for a user without a home.
    let named = || arguments.config.is_some().then(Paths::system);
    let paths = Paths::of_caller().or_else(named).ok_or(StartError::NoPlace)?;
    let file = arguments.config.unwrap_or_else(|| paths.helper_config());
    let config = HelperConfig::load(&file, &paths)?;
    telemetry::init(config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::Later(error.to_string()))?;
    runtime.block_on(async {
        let stop = lifecycle::shutdown_on_signals().map_err(|error| Failed::Later(error.to_string()))?;
        let build = || Helper::build(config.clone(), Arc::new(SystemClock));
        let Some(helper) = avouch_helper::patiently(&config, &stop, build).await? else { return Ok(()) };
        helper.run(stop).await.map_err(|ended| Failed::Later(ended.to_string()))
    })
}

/// To the standard error, where a supervisor reads it; one that has gone does not matter any more.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
