//! Contained sessions: namespaces of their own, with a listener made inside as the only way out.
//!
//! Three processes of the same program file. `run` stays outside, with the user's terminal. The first stage becomes
//! the id behind the session, makes the namespaces and ends. The init lives in them, builds what the session sees,
//! gives up every right it had for that, and starts the program when `run` has the helper's answer.

mod alias;
mod error;
mod found;
mod frames;
mod idmap;
mod init;
pub(crate) mod kernel;
mod loopback;
mod mounts;
mod order;
mod outer;
mod own;
mod place;
mod root;
mod scratch;
mod who;

pub use error::ContainError;
pub(crate) use frames::{Kind, receive};
pub(crate) use idmap::hold;
pub(crate) use init::init;
pub(crate) use outer::outer;

use crate::Hardened;
use crate::launch::{Launch, LaunchError, relay_contained};
use crate::limits::Group;
use crate::profile::{Profile, Want};
use crate::stage::{Step, self_again};
use frames::{Fields, Frame, send};
use order::Start;
use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;
use who::Who;

/// Where a contained session finds the Workload API, whatever the host's path of it is.
pub const WORKLOAD_SOCKET: &str = "/run/avouch/workload.sock";
/// Where it finds system roots and its anchor.
pub const BUNDLE_FILE: &str = "/run/avouch/bundle.pem";
/// Where it finds its anchor alone.
pub const EXTRA_FILE: &str = "/run/avouch/extra.pem";

/// Where it finds its identity tokens.
pub const TOKENS_DIRECTORY: &str = "/run/avouch/tokens";

/// A session that shall be contained.
#[derive(Debug)]
pub struct Contain {
    /// What it reaches.
    pub profile: Profile,
    /// The host's Workload API socket, which it gets as [`WORKLOAD_SOCKET`].
    pub workload_socket: PathBuf,
    /// The host's directory with this session's identity tokens, which it reads as [`TOKENS_DIRECTORY`] while they are
    /// replaced outside.
    pub tokens_directory: Option<PathBuf>,
    /// The directory that it works in, and where the program starts, as the kernel names it: a path without links.
    pub work_dir: PathBuf,
    /// Home as the environment names it; without one there is none inside.
    pub home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`, below which a profile may name sockets.
    pub runtime_dir: Option<PathBuf>,
    /// What no session may see, wherever it lies: state, runtime and settings directories of avouch, its sockets.
    pub hide: Vec<PathBuf>,
    /// The host id behind the session if root calls (`--uid`).
    pub uid: Option<u32>,
}

/// The files that only the helper's answer brings, for [`BUNDLE_FILE`] and [`EXTRA_FILE`].
#[derive(Debug, Default)]
pub struct SessionFiles {
    /// System roots and the session's anchor.
    pub bundle: Vec<u8>,
    /// The session's anchor alone.
    pub extra: Vec<u8>,
}

/// A session that stands and has no program yet. Dropped, it ends.
#[derive(Debug)]
pub struct Prepared {
    control: UnixStream,
    listener: TcpListener,
    proxy: SocketAddr,
    uid: u32,
    master: Option<OwnedFd>,
    lacking: Vec<String>,
    init: Init,
    /// Last, as it waits for what is in it.
    _group: Option<Group>,
}

/// The session's first process, of which this process is the parent.
#[derive(Debug)]
struct Init {
    handle: OwnedFd,
    number: i32,
    reaped: bool,
}

/// Makes a contained session: everything but its program. Call it on the main thread while there is no other.
pub fn prepare(_hardened: &Hardened, contain: Contain) -> Result<Prepared, ContainError> {
    let who = Who::settle(contain.uid)?;
    for (name, stdio) in [("in", io::stdin().as_fd()), ("out", io::stdout().as_fd()), ("err", io::stderr().as_fd())] {
        // By its descriptor everything around it could be reached.
        if mounts::is_directory(stdio)? {
            return Err(ContainError::Io(format!("std{name} is a directory, which would lead out of the session")));
        }
    }
    let terminals = [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
    let (cgroup, limits) = (contain.profile.kernel.cgroup, *contain.profile.limits());
    let order = place::settle(contain, who, terminals)?;
    let (control, theirs) = UnixStream::pair()?;
    control.set_read_timeout(Some(DEADLINE))?;
    let mut first = self_again(Step::Outer);
    first.env_clear().stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut building = Building(first.spawn()?);
    // It holds the other end; as long as it did here too, the end of the stages would not be noticed.
    drop(first);
    // While it has no children: all of them will be in there too.
    let group = (cgroup != Want::Off).then(|| Group::around(building.0.id(), &limits)).transpose();
    if let (Err(why), Want::Required) = (&group, cgroup) {
        return Err(ContainError::Seal(format!(
            "there is no cgroup for its limits, which the profile requires: {why}"
        )));
    }
    send(&control, Kind::Order, order.write().fields(), &[io::stdin().as_fd()])?;
    let mut started = expect(&control, Kind::Started)?;
    let number = i32::try_from(started.fields.number()?).map_err(io::Error::other)?;
    // From here on the init is this process's own child.
    building.0.wait()?;
    let mut ready = expect(&control, Kind::Ready)?;
    let port = u16::try_from(ready.fields.number()?).map_err(io::Error::other)?;
    let lacking = ready.fields.many(Fields::text)?;
    let mut descriptors = ready.descriptors.into_iter();
    let mut next = || descriptors.next().ok_or_else(|| ContainError::Lost("a descriptor is missing".to_owned()));
    let (listener, handle) = (TcpListener::from(next()?), next()?);
    control.set_read_timeout(None)?;
    Ok(Prepared {
        control,
        listener,
        proxy: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        uid: order.who.uid,
        master: descriptors.next(),
        lacking,
        init: Init { handle, number, reaped: false },
        _group: group.ok().flatten(),
    })
}

impl Prepared {
    /// The session's proxy listener, made inside; whoever connects to it is this session.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Its address inside.
    pub fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// A handle (pidfd) of the session's first process.
    pub fn init(&self) -> BorrowedFd<'_> {
        self.init.handle.as_fd()
    }

    /// The host id behind the session.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// What the profile wants and this host does not have: one sentence each.
    pub fn lacking(&self) -> &[String] {
        &self.lacking
    }

    /// Runs the program to its end, as [`crate::launch`] does, and the session with it.
    pub fn launch(self, launch: Launch, files: SessionFiles) -> Result<u8, LaunchError> {
        let Self { control, listener, master, mut init, .. } = self;
        // The helper has its own; as long as this was open, a proxy port would outlive the session.
        drop(listener);
        let Launch { program, args, environment, watch } = launch;
        let start = Start { program, args, environment, bundle: files.bundle, extra: files.extra };
        let code = relay_contained(init.number, control, master, watch, |control| {
            send(control, Kind::Launch, start.write().fields(), &[])
        })?;
        init.reaped = true;
        Ok(code)
    }
}

/// Takes one message from the stages, or why there is none.
fn expect(control: &UnixStream, kind: Kind) -> Result<Frame, ContainError> {
    let mut frame = match receive(control) {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err(ContainError::Lost("it ended without a word".to_owned())),
        Err(error) => return Err(ContainError::Lost(error.to_string())),
    };
    if frame.kind == Kind::Failed {
        let case = u8::try_from(frame.fields.number()?).unwrap_or(u8::MAX);
        return Err(ContainError::told(case, frame.fields.text()?));
    }
    if frame.kind != kind {
        return Err(ContainError::Lost("it spoke out of turn".to_owned()));
    }
    Ok(frame)
}

/// The first stage, which must not be left behind, nor its init: that one ends when the connection does.
struct Building(Child);

impl Drop for Building {
    fn drop(&mut self) {
        // Both fail if it has ended already, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = rustix::process::pidfd_send_signal(&self.handle, rustix::process::Signal::KILL);
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(self.number), None);
        }
    }
}

/// How long the stages may take.
const DEADLINE: Duration = Duration::from_secs(20);
