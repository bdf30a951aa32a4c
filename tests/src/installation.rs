//! An issuer and a helper as processes, with everything they write below one temporary folder.

use crate::two_hosts::{self, TwoHosts};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Two daemons and their folder; both are killed and the folder goes when it is dropped.
pub struct Installation {
    folder: tempfile::TempDir,
    listen: String,
    server: Option<Child>,
    helper: Option<Child>,
    hosts: Option<TwoHosts>,
}

/// What a verb printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Installation {
    /// Writes the settings; starts nothing.
    pub fn prepare() -> io::Result<Self> {
        Self::prepare_with("", "")
    }

    /// The same with lines added to the issuer's and to the helper's settings.
    pub fn prepare_with(server: &str, helper: &str) -> io::Result<Self> {
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        Self::prepare_at(listen, server, helper, None)
    }

    /// The same with the issuer on one host, and the helper and its agents on another.
    pub fn prepare_apart(hosts: TwoHosts, server: &str, helper: &str) -> io::Result<Self> {
        Self::prepare_at(format!("{}:8443", two_hosts::ISSUER), server, helper, Some(hosts))
    }

    fn prepare_at(listen: String, server: &str, helper: &str, hosts: Option<TwoHosts>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = folder.path();
        for name in ["keys", "run"] {
            fs::create_dir(at.join(name))?;
            fs::set_permissions(at.join(name), fs::Permissions::from_mode(0o700))?;
        }
        let place = at.display();
        fs::write(
            at.join("server.toml"),
            format!(
                "trust_domain = \"example.test\"\nlisten = \"{listen}\"\nstate_dir = \"{place}/server\"\n\
                 runtime_dir = \"{place}/run\"\nseal_key_file = \"{place}/keys/server.key\"\n\
                 session_roots = [\"{place}/run/roots\"]\n{server}"
            ),
        )?;
        fs::write(
            at.join("helper.toml"),
            format!(
                "trust_domain = \"example.test\"\nissuer = \"{listen}\"\nstate_dir = \"{place}/helper\"\n\
                 runtime_dir = \"{place}/run\"\nseal_key_file = \"{place}/keys/helper.key\"\n\
                 join_token_file = \"{place}/keys/token\"\n{helper}"
            ),
        )?;
        Ok(Self { folder, listen, server: None, helper: None, hosts })
    }

    /// Starts both, enrolled.
    pub fn start() -> io::Result<Self> {
        let mut made = Self::prepare()?;
        made.start_both()?;
        Ok(made)
    }

    /// Starts the issuer, makes a token and starts the helper.
    pub fn start_both(&mut self) -> io::Result<()> {
        self.start_server(&[])?;
        self.token("n1")?;
        self.start_helper(&[])
    }

    /// Makes a join token where the helper's settings look for it.
    pub fn token(&self, node: &str) -> io::Result<()> {
        let file = self.path("keys/token");
        fs::remove_file(&file).ok();
        self.run(&["token", "create", "--node", node, "--out", &file.to_string_lossy()]).map(drop)
    }

    /// Starts the issuer and waits until it answers.
    pub fn start_server(&mut self, environment: &[(&str, &str)]) -> io::Result<()> {
        self.launch_server(environment)?;
        self.until("the issuer", |made| made.part_is("issuer", "running"))
    }

    /// Starts the helper and waits until it injects.
    pub fn start_helper(&mut self, environment: &[(&str, &str)]) -> io::Result<()> {
        self.launch_helper(environment)?;
        self.until("the helper", |made| made.part_is("helper", "injecting"))
    }

    /// Starts the issuer without waiting for it.
    pub fn launch_server(&mut self, environment: &[(&str, &str)]) -> io::Result<()> {
        self.server = Some(self.daemon("server", environment)?);
        Ok(())
    }

    /// Starts the helper without waiting for it.
    pub fn launch_helper(&mut self, environment: &[(&str, &str)]) -> io::Result<()> {
        self.helper = Some(self.daemon("helper", environment)?);
        Ok(())
    }

    fn part_is(&self, part: &str, state: &str) -> bool {
        let said = self.avouch(&["status", "-o", "json"]).map(|said| said.stdout).unwrap_or_default();
        let parts: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        parts[part]["state"] == state
    }

    /// Starts the helper as the child of another command and waits until it injects.
    pub fn start_helper_under(&mut self, wrapper: &[&str]) -> io::Result<()> {
        self.launch_helper_under(wrapper)?;
        self.until("the helper", |made| made.part_is("helper", "injecting"))
    }

    /// Starts the helper as the child of another command, without waiting for it.
    pub fn launch_helper_under(&mut self, wrapper: &[&str]) -> io::Result<()> {
        let [first, rest @ ..] = wrapper else { return self.launch_helper(&[]) };
        let mut command = Command::new(first);
        command.args(rest).arg(program());
        self.helper = Some(self.start_daemon(command, "helper")?);
        Ok(())
    }

    /// Starts a daemon without waiting for it.
    pub fn daemon(&self, part: &str, environment: &[(&str, &str)]) -> io::Result<Child> {
        let mut command = self.on(if part == "server" { "issuer" } else { "helper" });
        command.envs(environment.iter().copied());
        self.start_daemon(command, part)
    }

    fn start_daemon(&self, mut command: Command, part: &str) -> io::Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{part}.log")))?;
        command
            .args([part, "--config"])
            .arg(self.path(&format!("{part}.toml")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }

    /// The issuer's process.
    pub fn server(&mut self) -> Option<&mut Child> {
        self.server.as_mut()
    }

    /// The helper's process.
    pub fn helper(&mut self) -> Option<&mut Child> {
        self.helper.as_mut()
    }

    /// Kills the issuer at once, as kill -9 does.
    pub fn kill_server(&mut self) -> io::Result<()> {
        kill(self.server.take())
    }

    /// Kills the helper at once, as kill -9 does.
    pub fn kill_helper(&mut self) -> io::Result<()> {
        kill(self.helper.take())
    }

    /// Runs a verb, and takes any exit code but 0 for an error.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Output> {
        let said = self.avouch(arguments)?;
        if said.code != Some(0) {
            return Err(io::Error::other(format!(
                "avouch {} ended so: {said:?}\n{}",
                arguments.join(" "),
                self.logs()
            )));
        }
        Ok(said)
    }

    /// Runs a verb.
    pub fn avouch(&self, arguments: &[&str]) -> io::Result<Output> {
        self.with_input(arguments, b"")
    }

    /// Runs a verb with something on its standard input.
    pub fn with_input(&self, arguments: &[&str], input: &[u8]) -> io::Result<Output> {
        let mut child =
            self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).ok();
        }
        let output = child.wait_with_output()?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A verb of this installation, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.on("helper");
        command.arg("--runtime-dir").arg(self.path("run")).args(arguments);
        command
    }

    /// `avouch` on one of the two hosts, if there are two.
    fn on(&self, host: &str) -> Command {
        let Some(hosts) = &self.hosts else { return Command::new(program()) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", hosts.namespace(host).display())).arg(program());
        command
    }

    /// The network namespace of the agents and their tools, if it is another than this process's.
    pub(crate) fn tool_host(&self) -> Option<PathBuf> {
        self.hosts.as_ref().map(|hosts| hosts.namespace("helper"))
    }

    /// The two hosts, if there are two.
    pub fn hosts(&mut self) -> Option<&mut TwoHosts> {
        self.hosts.as_mut()
    }

    /// Seals a value and binds it.
    pub fn put_secret(&self, name: &str, value: &[u8], binding: &[&str]) -> io::Result<()> {
        let arguments: Vec<&str> = ["secret", "put", name, "--value-stdin"].iter().chain(binding).copied().collect();
        let said = self.with_input(&arguments, value)?;
        if said.code != Some(0) {
            return Err(io::Error::other(format!("secret put ended so: {said:?}\n{}", self.logs())));
        }
        Ok(())
    }

    /// A path below the installation's folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The issuer's address.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// What both daemons logged.
    pub fn logs(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("--- server\n{}--- helper\n{}", read("server.log"), read("helper.log"))
    }

    /// Writes a file that only this user can read.
    pub fn write_private(&self, below: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.path(below);
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?.write_all(bytes)?;
        Ok(path)
    }

    /// Waits up to 20 s for something to be so.
    pub fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            let parts = [&mut self.server, &mut self.helper];
            let ended = parts.into_iter().flatten().find_map(|child| child.try_wait().transpose()).transpose()?;
            if let Some(status) = ended {
                return Err(io::Error::other(format!("waiting for {what}, a part ended: {status}\n{}", self.logs())));
            }
            if so(self) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("{what} did not come up\n{}", self.logs())))
    }

    /// Every byte that either daemon has written to disk, file by file.
    pub fn files(&self) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        collect(self.folder.path(), &mut files)?;
        Ok(files)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        kill(self.helper.take()).ok();
        kill(self.server.take()).ok();
    }
}

fn kill(child: Option<Child>) -> io::Result<()> {
    if let Some(mut child) = child {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            collect(&path, files)?;
        } else if kind.is_file() {
            let mut bytes = Vec::new();
            fs::File::open(&path)?.read_to_end(&mut bytes)?;
            files.push((path, bytes));
        }
    }
    Ok(())
}

/// The program `avouch`, built beside the test.
pub fn program() -> PathBuf {
    let mut at = std::env::current_exe().unwrap_or_default();
    at.pop();
    if at.ends_with("deps") {
        at.pop();
    }
    at.join("avouch")
}
