//! `exec`: runs a program that has to hold a value itself. The helper gives it over the Workload API's socket, if the
//! credential's binding reveals it; what the program prints is scrubbed; when it ends, the value goes and the lease with
//! it. Nothing of a value is ever in an argument.

mod give;
mod scrub;

use super::Context;
use crate::args::{Exec, Run, With};
use crate::endpoints::{self, Socket};
use crate::failure::{Exit, Failure};
use crate::output::talk;
use crate::replies;
use avouch_wire::local::reveals_client::RevealsClient;
use avouch_wire::local::{RevealReply, RevealRequest};
use avouch_wire::tonic::metadata::MetadataValue;
use avouch_wire::tonic::transport::Channel;
use avouch_wire::tonic::{Request, Streaming};
use give::Given;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the program, and returns its exit code. With `--agent`, in a session of its own.
pub fn run(context: &Context, order: Exec) -> Result<u8, Failure> {
    if let Some(agent) = order.agent {
        return super::run::run(context, within(agent, &order.with, order.command)?);
    }
    let hardened = avouch_contain::harden();
    hardened.map_err(|error| Failure::new(Exit::Failure, format!("cannot protect this process: {error}")))?;
    give::sweep();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failure, format!("cannot start a runtime: {error}")))?;
    let code = runtime.block_on(hold(context, &order.with, order.command));
    // Whoever still writes to its pipes is not waited for.
    runtime.shutdown_background();
    code
}

/// A session that runs this same verb.
fn within(agent: avouch_words::Name, with: &[With], command: Vec<OsString>) -> Result<Run, Failure> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::new(Exit::Failure, format!("cannot find this program: {error}")))?;
    let mut line: Vec<OsString> = vec![program.into(), "exec".into()];
    for one in with {
        line.extend(["--with".into(), one.text.clone().into()]);
    }
    line.push("--".into());
    line.extend(command);
    Ok(Run {
        agent: Some(agent),
        yes: false,
        contain: None,
        no_contain: false,
        env: Vec::new(),
        explain: false,
        uid: None,
        command: line,
    })
}

async fn hold(context: &Context, with: &[With], command: Vec<OsString>) -> Result<u8, Failure> {
    let socket = super::svid::socket(context, None)?;
    let mut client = RevealsClient::new(endpoints::connect(&socket, Socket::Workload).await?);
    let mut streams = Vec::new();
    let mut given = Given::default();
    for one in with {
        let (reply, stream) = ask(&mut client, one).await?;
        given.add(one, reply)?;
        streams.push(stream);
    }
    let needles = given.needles()?;
    let mut words = command.into_iter();
    let program = words.next().ok_or_else(|| Failure::new(Exit::Usage, "there is no command to run"))?;
    let piped = |error| Failure::new(Exit::Failure, format!("cannot make a pipe: {error}"));
    let (out, out_end) = std::io::pipe().map_err(piped)?;
    let (err, err_end) = std::io::pipe().map_err(piped)?;
    let mut order = Command::new(&program);
    order.args(words).envs(given.variables()).stdout(Stdio::from(out_end)).stderr(Stdio::from(err_end));
    let spawned = given.handing_over(|| order.spawn());
    // With our ends of its pipes, and our copies of its variables.
    drop(order);
    let mut child = spawned.map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
        Failure::new(exit, format!("cannot run {}: {error}", program.to_string_lossy()))
    })?;
    let for_err = needles.clone();
    let out = tokio::task::spawn_blocking(move || scrub::pass(out, std::io::stdout(), needles));
    let err = tokio::task::spawn_blocking(move || scrub::pass(err, std::io::stderr(), for_err));
    let status = attend(&mut child, &mut streams).await?;
    // What a program below it still writes is read to its end, as long as that is near.
    for pass in [out, err] {
        let _ = tokio::time::timeout(LAST_WORDS, pass).await;
    }
    drop((given, streams));
    Ok(code(status))
}

async fn ask(
    client: &mut RevealsClient<Channel>,
    one: &With,
) -> Result<(RevealReply, Streaming<RevealReply>), Failure> {
    let mut request = Request::new(RevealRequest { credential: one.credential.to_string(), agent: String::new() });
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    let mut stream = client.reveal(request).await.map_err(|status| replies::failure(&status))?.into_inner();
    let reply = stream.message().await.map_err(|status| replies::failure(&status))?;
    let reply = reply.ok_or_else(|| Failure::new(Exit::Failure, "the helper ended without an answer"))?;
    Ok((reply, stream))
}

/// Waits for the program, passes signals on, and ends it when it may not hold what it holds any more.
async fn attend(child: &mut Child, streams: &mut [Streaming<RevealReply>]) -> Result<ExitStatus, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failure, format!("cannot wait for the program: {error}"));
    let mut end = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    // The terminal sends these to the program as well.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut quit = signal(SignalKind::quit()).map_err(failed)?;
    let mut withdrawn = false;
    loop {
        tokio::select! {
            status = child.wait() => return status.map_err(failed),
            _ = end.recv() => tell(child, rustix::process::Signal::TERM),
            _ = hang_up.recv() => tell(child, rustix::process::Signal::HUP),
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            () = any_ended(streams), if !withdrawn => {
                withdrawn = true;
                talk("avouch: the program may not hold the value any more, and is ended");
                tell(child, rustix::process::Signal::TERM);
            }
            () = tokio::time::sleep(LAST_WORDS), if withdrawn => {
                child.start_kill().map_err(failed)?;
            }
        }
    }
}

/// The first of the streams that ends, or says anything more.
async fn any_ended(streams: &mut [Streaming<RevealReply>]) {
    use std::future::poll_fn;
    use std::task::Poll;
    poll_fn(|cx| {
        for stream in &mut *streams {
            let next = std::pin::pin!(stream.message());
            if next.poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

fn tell(child: &Child, what: rustix::process::Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, what);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    u8::try_from(code.unwrap_or(1)).unwrap_or(1)
}

/// How long a program that is told to end has for it, and its output to be read when it has.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// What shells add to a signal's number.
const SIGNALLED: i32 = 128;
