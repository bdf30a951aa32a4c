//! `run`: a session for a program. Works on one thread and without a runtime, as signals are taken for the whole
//! process, and the helper attests the process that speaks.

mod agent;
mod talk;
mod variables;

use crate::endpoints::Socket;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::verbs::Context;
use avouch_contain::{Launch, SessionEnvironment, Watch, child_environment, harden, launch};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use talk::Talk;

/// Opens a session for the agent, runs the program in it and returns the program's exit code.
pub fn run(context: &Context, order: crate::args::Run) -> Result<u8, Failure> {
    let agent = agent::of(context, &order)?;
    let failed = |what: &str, error: io::Error| Failure::new(Exit::Failure, format!("cannot {what}: {error}"));
    let hardened = harden().map_err(|error| failed("protect this process", error))?;
    let socket = context.directories.find(Socket::Session)?;
    let mut talk = Talk::begin(&socket)?;
    talk.hello(&agent)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| failed("listen on loopback", error))?;
    let proxy = listener.local_addr().map_err(|error| failed("listen on loopback", error))?;
    let opened = talk.open(&agent, None, &[listener.as_fd()])?;
    // The helper has its own; as long as ours were open, a proxy port would outlive the session.
    drop(listener);
    if opened.listener_alone && rustix::process::geteuid().is_root() {
        output::talk(
            "avouch: this session runs as uid 0, so the kernel cannot tell its connections from others'; \
             its listener alone guards it",
        );
    }
    let session = SessionEnvironment {
        workload_socket: PathBuf::from(&opened.workload_socket),
        proxy,
        bundle_file: PathBuf::from(&opened.bundle_file),
        extra_file: PathBuf::from(&opened.extra_file),
    };
    let mut environment = child_environment(&session, std::env::vars_os());
    variables::set(&mut environment, &opened);
    let mut command = order.command.into_iter();
    let program = command.next().ok_or_else(|| Failure::new(Exit::Usage, "there is no command to run"))?;
    let gone = "the helper has ended this session: from now on calls get no credentials and no identity";
    let what = Launch {
        program,
        args: command.collect(),
        environment,
        watch: Some(Watch { connection: talk.into(), when_gone: gone.to_owned() }),
    };
    launch(&hardened, what).map_err(|error| Failure::new(Exit::Failure, error.to_string()))
}
