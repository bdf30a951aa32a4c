//! The helper's side of the session socket, as small as can be.

use avouch_wire::Message as _;
use avouch_wire::local::session_answer::Kind;
use avouch_wire::local::{OpenSession, SessionAnswer, SessionOpened, SessionRefused, SessionTerms};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Nobody's uid and gid.
const NOBODY: u32 = 65_534;

/// What came in with a session.
pub struct Opening {
    pub agent: String,
    pub listener: TcpListener,
    pub connection: UnixStream,
}

pub struct Helper {
    dir: TempDir,
    openings: mpsc::Receiver<Opening>,
    _thread: JoinHandle<()>,
}

impl Helper {
    /// Opens every session.
    pub fn start() -> Self {
        Self::telling(SessionOpened::default())
    }

    /// With these variables.
    pub fn telling(variables: SessionOpened) -> Self {
        Self::answering(Kind::Opened(SessionOpened {
            session: "01K9ZQ3M6X5T8W4V2R7N1C0BDE".into(),
            workload_socket: "/run/x/workload.sock".into(),
            bundle_file: "/run/x/bundle.pem".into(),
            extra_file: "/run/x/extra.pem".into(),
            ..variables
        }))
    }

    pub fn refusing(code: &str) -> Self {
        let refused = SessionRefused { code: code.into(), message: "No session.".into(), action: "Ask.".into() };
        Self::answering(Kind::Refused(refused))
    }

    fn answering(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("session.sock")).unwrap();
        let (sender, openings) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                let opening = answer(connection, &kind);
                if sender.send(opening).is_err() {
                    break;
                }
            }
        });
        Self { dir, openings, _thread: thread }
    }

    /// `avouch run --agent researcher -- COMMAND`, not yet started.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_avouch"));
        run.arg("--runtime-dir").arg(self.dir.path());
        run.args(["run", "--agent", "researcher", "--"]).args(command);
        run
    }

    /// The same as an ordinary user, whoever runs the test.
    pub fn ordinary(&self, command: &[&str]) -> Command {
        let run = self.command(command);
        if !rustix::process::geteuid().is_root() {
            return run;
        }
        // Where programs are built may be closed to others.
        let program = self.dir.path().join("avouch");
        std::fs::copy(run.get_program(), &program).unwrap();
        for path in [self.dir.path(), &self.dir.path().join("session.sock")] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut ordinary = Command::new(program);
        ordinary.args(run.get_args()).uid(NOBODY).gid(NOBODY);
        ordinary
    }

    pub fn output(&self, command: &[&str]) -> Output {
        self.command(command).stdin(std::process::Stdio::null()).output().unwrap()
    }

    pub fn opening(&self) -> Opening {
        self.openings.recv_timeout(std::time::Duration::from_secs(20)).unwrap()
    }
}

fn answer(connection: UnixStream, kind: &Kind) -> Opening {
    receive(&connection);
    send(&connection, &Kind::Terms(SessionTerms::default()));
    let (body, descriptor) = receive(&connection);
    let opening = OpenSession::decode(&body[..]).unwrap();
    send(&connection, kind);
    let descriptor = descriptor.expect("a listener comes with the opening");
    Opening { agent: opening.agent, listener: TcpListener::from(descriptor), connection }
}

fn send(mut connection: &UnixStream, kind: &Kind) {
    let body = SessionAnswer { kind: Some(kind.clone()) }.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    connection.write_all(&[&length[..], &body].concat()).unwrap();
}

/// One message, and what came with it.
fn receive(mut connection: &UnixStream) -> (Vec<u8>, Option<OwnedFd>) {
    let mut bytes = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(connection, parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    let mut frame = bytes[..received.bytes].to_vec();
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    while frame.len() < 4 + length {
        let mut more = [0; 256];
        let count = connection.read(&mut more).unwrap();
        frame.extend_from_slice(&more[..count]);
    }
    (frame.split_off(4), descriptor)
}
