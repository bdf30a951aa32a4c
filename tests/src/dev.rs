//! `avouch dev` with a state of its own, for somebody whose home and tools are this machine's.

use crate::installation::program;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An `avouch dev`; it ends, and its state goes, when this is dropped.
pub struct Dev {
    folder: tempfile::TempDir,
    child: Child,
}

impl Dev {
    /// Starts one, and waits until it says that it is ready.
    pub fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let run = folder.path().join("run");
        fs::create_dir(&run)?;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o700))?;
        let log = fs::File::create(folder.path().join("dev.log"))?;
        let mut child = command(folder.path(), program(), folder.path())
            .arg("dev")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let ready = lines.into_iter().flatten().map_while(Result::ok).any(|line| line.starts_with("Ctrl-C"));
        let dev = Self { folder, child };
        match ready {
            true => Ok(dev),
            false => Err(io::Error::other(format!("avouch dev ended: {}", dev.log()))),
        }
    }

    /// A program for which this is the user's `avouch dev`, not yet started. Programs are looked for in this folder first,
    /// if it is there, and then beside the built ones.
    pub fn command(&self, program: impl AsRef<OsStr>, first: &Path) -> Command {
        command(self.folder.path(), program, first)
    }

    /// The folder with all that it keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("dev.log")).unwrap_or_default()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn command(folder: &Path, program: impl AsRef<OsStr>, first: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, below) in [("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config"), ("XDG_RUNTIME_DIR", "run")] {
        command.env(name, folder.join(below));
    }
    // What cargo told the tests is not for a cargo that they start.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CARGO_")) {
        command.env_remove(name);
    }
    command.env("PATH", path(first));
    command
}

/// The system's folders before the inherited ones, as what lies in root's home is hidden from the sessions of root.
fn path(first: &Path) -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let built = program().parent().map(PathBuf::from);
    let system = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    let before = [first.to_owned()].into_iter().chain(built).chain(system);
    std::env::join_paths(before.chain(std::env::split_paths(&inherited))).unwrap_or(inherited)
}
