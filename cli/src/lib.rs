//! The program `avouch`: everything in one. Reads the command line, runs the verb, and says what came of it.

mod apply;
pub mod args;
mod complete;
mod daemon;
pub mod demo;
mod dev;
mod doctor;
pub mod endpoints;
pub mod failure;
mod files;
mod import;
mod man;
pub mod output;
mod presets;
mod progress;
mod prompt;
mod replies;
pub mod tools;
mod verbs;
mod workload;

use args::{Cli, Command};
use avouch_words::{Clock as _, SystemClock};
use clap::Parser as _;
use endpoints::Directories;
use failure::{Exit, Failure};
use output::{Format, Output};
use std::ffi::OsString;
use std::process::ExitCode;
use verbs::Context;

/// Runs the program on a command line, its own name first.
pub fn main(line: impl Iterator<Item = OsString>) -> ExitCode {
    let mut line = line.peekable();
    let own_name = line.next().unwrap_or_else(|| "avouch".into());
    if line.next_if(|first| first == avouch_contain::STAGE).is_some() {
        return ExitCode::from(avouch_contain::stage(line));
    }
    if let Some(shell) = complete::asked() {
        // Whatever goes wrong, nothing is offered; the line that is being typed is no place for a sentence.
        return ExitCode::from(complete::answer(shell, line).map_or_else(|failure| failure.code(), |()| 0));
    }
    let cli = match Cli::try_parse_from([own_name].into_iter().chain(line)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let format = output::format(cli.output);
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            match format {
                Ok(Format::Json) => output::talk(failure.json().to_string()),
                Ok(Format::Table) | Err(_) => output::talk(format!("avouch: {failure}")),
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(cli: Cli) -> Result<u8, Failure> {
    let directories = Directories::new(cli.runtime_dir);
    let output = Output::new(cli.output, SystemClock.now())?;
    let context = Context { directories, output };
    match cli.command {
        Command::Run(order) => verbs::run::run(&context, order),
        Command::Exec(order) => verbs::exec::run(&context, order),
        Command::DemoAgent => demo::agent().map(|()| 0),
        Command::Demo => demo::run(output).map(|()| 0),
        Command::Preset { verb } => verbs::preset::run(output, &verb).map(|()| 0),
        Command::Dev => dev::run(output).map(|()| 0),
        Command::Server(order) => daemon::server(&order, output).map(|()| 0),
        Command::Helper(order) => daemon::helper(&order, output).map(|()| 0),
        Command::Completions(order) => complete::script(order.shell, output).map(|()| 0),
        Command::Man(order) => man::run(&order.dir, output).map(|()| 0),
        Command::Explain { code } => verbs::explain::run(output, code.as_deref()).map(|()| 0),
        Command::Doctor => doctor::run(&context),
        other => small_runtime()?.block_on(verb(&context, other)).map(|()| 0),
    }
}

/// Work on one thread: most verbs wait for one answer.
fn small_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Failure, format!("cannot start a runtime: {error}")))
}

async fn verb(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Token { verb } => verbs::token::run(context, verb).await,
        Command::Node { verb } => verbs::node::run(context, verb).await,
        Command::Agent { verb } => verbs::agent::run(context, verb).await,
        Command::Credential { verb } => verbs::credential::run(context, verb).await,
        Command::Secret { verb } => verbs::secret::run(context, verb).await,
        Command::Source { verb } => verbs::source::run(context, verb).await,
        Command::Apply(order) => apply::run(context, &order).await,
        Command::Grant { verb } => verbs::grant::run(context, verb).await,
        Command::Lease { verb } => verbs::lease::run(context, verb).await,
        Command::Lock { verb } => verbs::lock::run(context, verb).await,
        Command::Federate { verb } => verbs::federate::run(context, verb).await,
        Command::Jwks { verb } => verbs::jwks::run(context, &verb).await,
        Command::Svid { verb } => verbs::svid::run(context, verb).await,
        Command::Audit { verb } => verbs::audit::run(context, verb).await,
        Command::Import(order) => import::run(context, &order).await,
        Command::Status => verbs::status::run(context).await,
        Command::Why(order) => verbs::why::run(context, &order.decision).await,
        _ => Ok(()),
    }
}
