//! OpenBao in its development mode: in memory, unsealed, with a root token that only the test knows.

use super::{free_port, installed, until_up};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// An OpenBao server; it is killed, and all that it held goes, when it is dropped.
pub struct Bao {
    folder: tempfile::TempDir,
    program: PathBuf,
    child: Child,
    port: u16,
    tls: bool,
}

impl Bao {
    /// Starts one that speaks plain HTTP.
    pub fn start() -> io::Result<Self> {
        Self::start_with(false)
    }

    /// Starts one that speaks TLS, under an authority of its own.
    pub fn start_tls() -> io::Result<Self> {
        Self::start_with(true)
    }

    fn start_with(tls: bool) -> io::Result<Self> {
        let (program, folder) = (installed("AVOUCH_BAO")?, tempfile::tempdir()?);
        let mut failed = io::Error::other("no port was free");
        // Somebody else may have taken the port before the server does.
        for _ in 0..TRIES {
            let port = free_port()?;
            let mut child = launch(&program, folder.path(), port, tls)?;
            let log = folder.path().join("log");
            let said = || fs::read_to_string(&log).unwrap_or_default();
            match until_up(&mut child, said, || said().contains("server started!") && answers(port)) {
                Ok(()) => return Ok(Self { folder, program, child, port, tls }),
                Err(error) => failed = error,
            }
            child.kill().and_then(|()| child.wait()).ok();
        }
        Err(failed)
    }

    /// Where it is, as `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// The certificate of its authority, PEM, if it speaks TLS.
    pub fn ca(&self) -> Option<PathBuf> {
        self.tls.then(|| self.folder.path().join("tls/vault-ca.pem"))
    }

    /// The token that may do everything.
    pub fn root(&self) -> &'static str {
        ROOT
    }

    /// A folder that goes with the server, for what a test gives it to read.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `bao ARGUMENTS` as root; what it printed. Any exit code but 0 is an error that says what it complained about.
    pub fn run(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = Command::new(&self.program);
        succeeded(self.furnish(command.args(arguments)).output()?)
    }

    /// Lines of a shell in which `bao` is this server's client as root. They are run in [`Self::folder`].
    pub fn shell(&self, lines: &str, variables: &[(&str, &str)]) -> io::Result<String> {
        let beside = self.program.parent().unwrap_or(Path::new("/"));
        let inherited = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        let command = self.furnish(command.args(["-euo", "pipefail", "-c", lines]));
        let command = command.env("PATH", format!("{}:{inherited}", beside.display())).envs(variables.iter().copied());
        succeeded(command.current_dir(self.folder.path()).output()?)
    }

    /// Seals it.
    pub fn seal(&self) -> io::Result<()> {
        self.run(&["operator", "seal"]).map(drop)
    }

    /// Opens it again.
    pub fn unseal(&self) -> io::Result<()> {
        let said = fs::read_to_string(self.folder.path().join("log"))?;
        let key = said.lines().find_map(|line| line.strip_prefix("Unseal Key: "));
        let key = key.ok_or_else(|| io::Error::other(format!("no unseal key in\n{said}")))?;
        self.run(&["operator", "unseal", key]).map(drop)
    }

    /// Stops it from answering: connections are taken by the kernel and nothing comes back, until [`Self::go_on`].
    pub fn stall(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it answer again.
    pub fn go_on(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        kill_process(Pid::from_child(&self.child), signal).map_err(io::Error::from)
    }

    fn furnish<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("BAO_ADDR", self.address()).env("BAO_TOKEN", ROOT).env("HOME", self.folder.path());
        if let Some(ca) = self.ca() {
            command.env("BAO_CACERT", ca);
        }
        command.stdin(Stdio::null())
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn launch(program: &Path, folder: &Path, port: u16, tls: bool) -> io::Result<Child> {
    let log = fs::File::create(folder.join("log"))?;
    let mut command = Command::new(program);
    command.args(["server", "-dev-no-store-token", "-dev-root-token-id", ROOT]);
    command.args(["-dev-listen-address", &format!("127.0.0.1:{port}")]);
    if tls {
        let certificates = folder.join("tls");
        fs::create_dir_all(&certificates)?;
        command.arg("-dev-tls").arg("-dev-tls-cert-dir").arg(certificates);
    } else {
        command.arg("-dev");
    }
    command.env("HOME", folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// Whether something takes connections there, and answers what is no request with something.
fn answers(port: u16) -> bool {
    let asked = || -> io::Result<usize> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        stream.read(&mut [0; 1])
    };
    asked().is_ok_and(|read| read > 0)
}

fn succeeded(output: Output) -> io::Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(said),
        false => Err(io::Error::other(format!("{}{said}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// The tests' servers are on loopback, and hold nothing that is worth anything.
const ROOT: &str = "root";
const TRIES: usize = 4;
