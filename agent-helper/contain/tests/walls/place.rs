//! A host with a user on it, its home, a work directory and the files that no session may see.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// First argument that makes this program a `run`.
pub const SESSION: &str = "session";
/// Its exit code when there is no session.
pub const REFUSED: u8 = 99;
/// Environment: the Workload API socket, the folder of profiles, a path to hide, and `--uid`.
pub const SOCKET: &str = "WALLS_SOCKET";
pub const PROFILES: &str = "WALLS_PROFILES";
pub const HIDE: &str = "WALLS_HIDE";
pub const UID: &str = "WALLS_UID";
/// An ordinary user of no name.
pub const ORDINARY: u32 = 54_321;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Ordinary,
    Root,
}

/// The callers that these tests can be: both, if they are root's.
pub fn callers() -> Vec<Caller> {
    if is_root() { vec![Caller::Ordinary, Caller::Root] } else { vec![Caller::Ordinary] }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub struct Place {
    root: tempfile::TempDir,
    program: PathBuf,
    caller: Caller,
    _socket: UnixListener,
}

impl Place {
    pub fn new(caller: Caller) -> Self {
        let root = tempfile::Builder::new().prefix("walls").tempdir().unwrap();
        let program = root.path().join("program");
        let own = std::env::current_exe().unwrap();
        if fs::hard_link(&own, &program).is_err() {
            fs::copy(&own, &program).unwrap();
        }
        let socket = UnixListener::bind(root.path().join("workload.sock")).unwrap();
        let place = Self { root, program, caller, _socket: socket };
        for directory in ["", "home", "home/.ssh", "home/.cache", "home/.cache/pip", "work"] {
            fs::create_dir_all(place.path(directory)).unwrap();
            fs::set_permissions(place.path(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(place.path("workload.sock"), fs::Permissions::from_mode(0o666)).unwrap();
        for (file, text) in [("home/.ssh/id", "private"), ("home/.cache/pip/wheel", "cached"), ("work/notes", "old\n")]
        {
            fs::write(place.path(file), text).unwrap();
        }
        place.own();
        place
    }

    /// Gives everything to the user that calls.
    pub fn own(&self) {
        if is_root() && self.caller == Caller::Ordinary {
            for entry in walk(&self.path("home")).into_iter().chain(walk(&self.path("work"))) {
                chown(entry, Some(ORDINARY), Some(ORDINARY)).unwrap();
            }
        }
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside)
    }

    /// `avouch run --contain=PROFILE -- sh -c TEXT` in the work directory.
    pub fn command(&self, profile: &str, text: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([SESSION, profile, "sh", "-c", text]).current_dir(self.path("work")).stdin(Stdio::null());
        command.env(SOCKET, self.path("workload.sock")).env("HOME", self.path("home"));
        command.env(PROFILES, self.path("profiles")).env_remove("SUDO_UID").env_remove("SUDO_GID");
        if is_root() && self.caller == Caller::Ordinary {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        command
    }

    /// What it says, on both outputs.
    pub fn run(&self, profile: &str, text: &str) -> String {
        said(&self.command(profile, text).output().unwrap())
    }

    /// The same command, where nothing is contained.
    pub fn outside(&self, text: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", text]).current_dir(self.path("work")).env("HOME", self.path("home"));
        if is_root() && self.caller == Caller::Ordinary {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        said(&command.output().unwrap())
    }
}

/// Why this host contains nothing, if that is so: what it lacks is another test's matter.
pub fn denied() -> Option<String> {
    let said = Place::new(Caller::Ordinary).run("work", "echo contained");
    (said.contains("refused: this host") || said.contains("refused: a fresh /proc")).then_some(said)
}

pub fn said(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (out + &error).trim_end().to_owned()
}

fn walk(top: &Path) -> Vec<PathBuf> {
    let mut all = vec![top.to_owned()];
    if top.is_dir() && !top.is_symlink() {
        for entry in fs::read_dir(top).unwrap() {
            all.extend(walk(&entry.unwrap().path()));
        }
    }
    all
}
