//! `demo`: the whole job on loopback, in ten steps, each with one line that says what it proved. Nothing here is
//! played: the issuer, the helper, the agents and the tool are the real ones, and the agents' client is an ordinary
//! one.

mod agent;
pub mod canary;
mod child;
mod client;
mod order;
mod place;
mod steps;
mod tries;
mod witness;
mod world;

use crate::daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use place::Place;
use serde_json::json;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the ten steps.
pub fn run(output: Output) -> Result<(), Failure> {
    daemon::prepare()?;
    avouch_contain::adopt_orphans().map_err(daemon::internal)?;
    let place = Place::make()?;
    let runtime = daemon::runtime()?;
    let result = runtime.block_on(async {
        let mut ask = signal(SignalKind::interrupt()).map_err(daemon::internal)?;
        let mut order = signal(SignalKind::terminate()).map_err(daemon::internal)?;
        tokio::select! {
            done = steps::run(&place, output) => done,
            _ = ask.recv() => Err(Failure::new(Exit::Failure, "the demo was interrupted")),
            _ = order.recv() => Err(Failure::new(Exit::Failure, "the demo was ended")),
        }
    });
    // Whatever still runs is ended before its files go.
    runtime.shutdown_timeout(SHUTDOWN);
    let left = avouch_contain::end_descendants();
    let log = if result.is_err() { place.log_tail() } else { String::new() };
    place.remove()?;
    let contained = result.map_err(|failure| {
        if log.is_empty() { failure } else { failure.then(format!("the helper's log ends:\n{log}")) }
    })?;
    if left > 0 {
        return Err(Failure::new(Exit::Failure, format!("{left} processes could not be ended")));
    }
    let held =
        if contained { "All ten steps hold." } else { "All steps hold but the ninth, which this host cannot show." };
    let text = || format!("\n{held} Nothing is left running, and no file is left.\n");
    output.line(text, || json!({"held": true, "contained": contained}))?;
    crate::output::next("avouch dev");
    Ok(())
}

/// Is one of the demo's agents.
pub fn agent() -> Result<(), Failure> {
    agent::run()
}

/// How long threads that block may take to end.
const SHUTDOWN: Duration = Duration::from_secs(2);
