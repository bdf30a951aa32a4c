//! A Postgres cluster of its own.

use super::{free_port, installed, until_up};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A cluster; it is killed, and all that it held goes, when it is dropped.
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    child: Child,
    port: u16,
    durable: bool,
    made: AtomicU32,
}

impl Postgres {
    /// Starts a cluster that does not wait for the disk: its process may be killed, its machine may not.
    pub fn start() -> io::Result<Self> {
        Self::start_with(false)
    }

    /// Starts a cluster that waits for the disk.
    pub fn start_durable() -> io::Result<Self> {
        Self::start_with(true)
    }

    fn start_with(durable: bool) -> io::Result<Self> {
        let (programs, folder) = (installed("AVOUCH_POSTGRES")?, tempfile::tempdir()?);
        // The server refuses to run as root: then it is `postgres`, who has to reach its folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let owned = folder.path().join("cluster");
        fs::create_dir(&owned)?;
        if rustix::process::geteuid().is_root() {
            let status = Command::new("chown").arg("postgres:").arg(&owned).status()?;
            if !status.success() {
                return Err(io::Error::other("there is no user postgres: run this by tests/run"));
            }
        }
        let mut init = as_its_user(&programs.join("initdb"), &owned);
        init.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--username=postgres", "--encoding=UTF8"]);
        init.args(["--locale=C", "--no-sync", "--no-instructions"]);
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD)?;
        init.arg("--pwfile").arg(password).arg("-D");
        let said = init.arg(owned.join("data")).stdin(Stdio::null()).output()?;
        if !said.status.success() {
            return Err(io::Error::other(format!("initdb failed: {}", String::from_utf8_lossy(&said.stderr))));
        }
        let port = free_port()?;
        let child = launch(&programs, &owned, port, durable)?;
        let mut made = Self { folder, programs, child, port, durable, made: AtomicU32::new(0) };
        made.until_up()?;
        Ok(made)
    }

    /// Makes a database of its own; its URL, for the cluster's owner, over TCP.
    pub fn database(&self) -> io::Result<String> {
        let name = format!("test{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// The URL of a database of this cluster for its owner, over TCP.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The owner's password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The port, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// Runs one statement as the owner, by a way that asks for no password; what it answered, unaligned.
    pub fn sql(&self, database: &str, statement: &str) -> io::Result<String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.arg("-h").arg(self.socket_folder()).args(["-p", &self.port.to_string(), "-U", "postgres"]);
        answer(command.args(["-d", database]), statement)
    }

    /// Runs one statement as somebody who logs in by password, over TCP; what it answered, unaligned.
    pub fn sql_as(&self, user: &str, password: &str, database: &str, statement: &str) -> io::Result<String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", database]);
        answer(command.env("PGPASSWORD", password), statement)
    }

    /// Kills all of it at once, as kill -9 does. What it held stays.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) -> io::Result<()> {
        // Backends see that the postmaster is gone, and end; until then nobody else may have the data.
        let mut tried = Ok(());
        for _ in 0..TRIES {
            self.child = launch(&self.programs, &self.socket_folder(), self.port, self.durable)?;
            tried = self.until_up();
            if tried.is_ok() {
                break;
            }
        }
        tried
    }

    /// Stops it from answering until [`Self::go_on`].
    pub fn stall(&self) -> io::Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Lets it answer again.
    pub fn go_on(&self) -> io::Result<()> {
        self.signal_all(Signal::CONT)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.socket_folder().join("log")).unwrap_or_default()
    }

    fn until_up(&mut self) -> io::Result<()> {
        let (log, socket) = (self.socket_folder().join("log"), self.socket_folder());
        let (ready, port) = (self.programs.join("pg_isready"), self.port.to_string());
        let said = || fs::read_to_string(&log).unwrap_or_default();
        until_up(&mut self.child, said, || {
            let asked = Command::new(&ready).arg("-q").arg("-h").arg(&socket).args(["-p", &port]).status();
            asked.is_ok_and(|status| status.success())
        })
    }

    /// The postmaster and every backend, each of which is a child of it.
    fn signal_all(&self, signal: Signal) -> io::Result<()> {
        let parent = Pid::from_child(&self.child);
        kill_process(parent, signal)?;
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        for child in children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)) {
            // One that has ended meanwhile needs no signal.
            kill_process(child, signal).ok();
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.go_on().ok();
        // An immediate shutdown, which also gives back what the cluster has of the kernel.
        kill_process(Pid::from_child(&self.child), Signal::QUIT).ok();
        let begun = Instant::now();
        while begun.elapsed() < END && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill().ok();
    }
}

fn launch(programs: &Path, owned: &Path, port: u16, durable: bool) -> io::Result<Child> {
    let log = fs::File::create(owned.join("log"))?;
    let mut command = as_its_user(&programs.join("postgres"), owned);
    command.arg("-D").arg(owned.join("data")).args(["-p", &port.to_string(), "-k"]).arg(owned);
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]);
    if !durable {
        command.args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

fn as_its_user(program: &Path, folder: &Path) -> Command {
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.current_dir(folder);
    command
}

fn answer(command: &mut Command, statement: &str) -> io::Result<String> {
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement]).stdin(Stdio::null());
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// The tests' clusters are on loopback, and hold nothing that is worth anything.
const PASSWORD: &str = "owner-of-the-test-cluster";
const TRIES: usize = 20;
const END: Duration = Duration::from_secs(5);
