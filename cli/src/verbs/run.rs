//! `run`: a session for a program. Works on one thread and without a runtime, as signals are taken for the whole
//! process, and the helper attests the process that speaks.

use crate::endpoints::{Directories, Socket};
use crate::failure::{Exit, Failure};
use crate::output::talk;
use avouch_contain::{Launch, SessionEnvironment, Watch, child_environment, harden, launch};
use avouch_wire::Message as _;
use avouch_wire::local::session_answer::Kind;
use avouch_wire::local::{OpenSession, SessionAnswer, SessionOpened, SessionRefused};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Opens a session for the agent, runs the program in it and returns the program's exit code.
pub fn run(directories: &Directories, order: crate::args::Run) -> Result<u8, Failure> {
    let failed = |what: &str, error: io::Error| Failure::new(Exit::Failure, format!("cannot {what}: {error}"));
    let hardened = harden().map_err(|error| failed("protect this process", error))?;
    let socket = directories.find(Socket::Session)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| failed("listen on loopback", error))?;
    let proxy = listener.local_addr().map_err(|error| failed("listen on loopback", error))?;
    let connection = UnixStream::connect(&socket).map_err(|error| {
        let sentence = format!("the helper does not answer at {}: {error}", socket.display());
        Failure::new(Exit::Unreachable, sentence).then("See whether it runs, and whether this user may use it.")
    })?;
    let opened = open(&connection, &listener, order.agent.as_str())?;
    // The helper has its own; as long as ours were open, a proxy port would outlive the session.
    drop(listener);
    if opened.listener_alone {
        talk(
            "avouch: this session runs as uid 0, so the kernel cannot tell its connections from others'; \
             its listener alone guards it",
        );
    }
    let session = SessionEnvironment {
        workload_socket: PathBuf::from(opened.workload_socket),
        proxy,
        bundle_file: PathBuf::from(opened.bundle_file),
        extra_file: PathBuf::from(opened.extra_file),
    };
    let mut command = order.command.into_iter();
    let program = command.next().ok_or_else(|| Failure::new(Exit::Usage, "there is no command to run"))?;
    let gone = "the helper has ended this session: from now on calls get no credentials and no identity";
    let what = Launch {
        program,
        args: command.collect(),
        environment: child_environment(&session, std::env::vars_os()),
        watch: Some(Watch { connection: connection.into(), when_gone: gone.to_owned() }),
    };
    launch(&hardened, what).map_err(|error| Failure::new(Exit::Failure, error.to_string()))
}

fn open(connection: &UnixStream, listener: &TcpListener, agent: &str) -> Result<SessionOpened, Failure> {
    let answer = exchange(connection, listener, agent).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::new(Exit::Timeout, "the helper took too long to open a session").then("See `avouch status`.")
        }
        _ => Failure::new(Exit::Unreachable, format!("the helper did not open a session: {error}"))
            .then("See `avouch status`, and the helper's log."),
    })?;
    match answer.kind {
        Some(Kind::Opened(opened)) => Ok(opened),
        Some(Kind::Refused(refused)) => Err(refusal(refused)),
        None => Err(Failure::new(Exit::Failure, "the helper's answer cannot be read: is it of another version?")),
    }
}

fn refusal(refused: SessionRefused) -> Failure {
    let exit = match refused.code.as_str() {
        "denied" | "inside_session" | "listener_refused" => Exit::Denied,
        "not_ready" => Exit::Unreachable,
        _ => Exit::Failure,
    };
    Failure::new(exit, format!("{} ({})", refused.message, refused.code)).then(refused.action)
}

/// One message with one descriptor there, one message back.
fn exchange(connection: &UnixStream, listener: &TcpListener, agent: &str) -> io::Result<SessionAnswer> {
    connection.set_read_timeout(Some(DEADLINE))?;
    connection.set_write_timeout(Some(DEADLINE))?;
    let body = OpenSession { agent: agent.to_owned() }.encode_to_vec();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let frame = [&length.to_be_bytes()[..], &body].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptor = [listener.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptor)) {
        return Err(io::Error::other("no room for the listener"));
    }
    let sent = sendmsg(connection, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)?;
    let mut stream = connection;
    stream.write_all(&frame[sent..])?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST_ANSWER {
        return Err(io::Error::other("its answer is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    SessionAnswer::decode(body.as_slice()).map_err(io::Error::other)
}

/// How long the helper may take to open a session.
const DEADLINE: Duration = Duration::from_secs(15);
/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
