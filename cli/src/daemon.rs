//! `server` and `helper`: the two parts on their own. `dev` and `demo` start them with the same calls.

use crate::args::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::{Output, talk};
use avouch_config::{HelperConfig, Paths, ROOTS_DIR, ServerConfig, StartError, lifecycle, make_shared_dir, telemetry};
use avouch_helper::Helper;
use avouch_server::Issuer;
use avouch_words::SystemClock;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs the issuer until a signal ends it.
pub fn server(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    prepare()?;
    let paths = places(daemon)?;
    let file = daemon.config.clone().unwrap_or_else(|| paths.server_config());
    let config = ServerConfig::load(&file, &paths)?;
    telemetry::init(config.log)?;
    runtime()?.block_on(async {
        let stop = lifecycle::shutdown_on_signals().map_err(internal)?;
        let issuer = Issuer::build(config, Arc::new(SystemClock)).await?;
        talk(format!("The issuer serves nodes at {}.", issuer.address()));
        talk(format!("Operators reach it at {}.", issuer.admin_socket().display()));
        output.script(|| {
            let address = issuer.address().to_string();
            json!({"address": address, "admin_socket": issuer.admin_socket().display().to_string()})
        })?;
        issuer.run(stop).await.map_err(ended)
    })
}

/// Runs the helper until a signal ends it.
pub fn helper(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    prepare()?;
    let paths = places(daemon)?;
    let file = daemon.config.clone().unwrap_or_else(|| paths.helper_config());
    let config = HelperConfig::load(&file, &paths)?;
    telemetry::init(config.log)?;
    runtime()?.block_on(async {
        let stop = lifecycle::shutdown_on_signals().map_err(internal)?;
        let build = || Helper::build(config.clone(), Arc::new(SystemClock));
        let Some(helper) = avouch_helper::patiently(&config, &stop, build).await? else { return Ok(()) };
        talk(format!("This node is {}.", helper.node()));
        talk(format!("Workloads find their identities at unix://{}.", helper.workload_socket().display()));
        output.script(|| {
            let workload_api = format!("unix://{}", helper.workload_socket().display());
            json!({"node": helper.node().to_string(), "workload_api": workload_api})
        })?;
        helper.run(stop).await.map_err(ended)
    })
}

/// What every process with keys in it does first.
pub fn prepare() -> Result<(), Failure> {
    lifecycle::harden()?;
    Ok(lifecycle::refuse_secrets_in_environment(std::env::vars_os())?)
}

/// Makes the list of session roots of a helper that starts after its issuer: an issuer that cannot read the list
/// refuses every operator. Returns where it is.
pub fn make_session_roots(paths: &Paths) -> Result<PathBuf, Failure> {
    let runtime = paths.helper_runtime();
    make_shared_dir(&runtime).map_err(StartError::directory(&runtime))?;
    let roots = runtime.join(ROOTS_DIR);
    avouch_wire::unix::roots::create(&roots).map_err(internal)?;
    Ok(roots)
}

/// Work on all cores.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(internal)
}

/// Something that does not fail, did.
pub fn internal(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("cannot start: {error}"))
}

/// What settings that are named leave out is the system's for a user without a home.
fn places(daemon: &Daemon) -> Result<Paths, Failure> {
    let named = || daemon.config.is_some().then(Paths::system);
    Paths::of_caller().or_else(named).ok_or_else(|| StartError::NoPlace.into())
}

fn ended(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, error.to_string()).then("Look at the log, and start again.")
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let sentence = match &error {
            // It says all that is wrong, one on a line.
            StartError::Config(faults) => faults.to_string(),
            other => format!("{other} ({})", other.code()),
        };
        Self::with_code(error.exit_code(), sentence).then(error.action())
    }
}
