//! Two issuers on one real Postgres: the one of an [`Installation`], which reaches the database through a proxy that a
//! test can cut, and another beside it.

use crate::installation::{self, Installation, Output};
use crate::servers::{Postgres, Proxy};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The database and the second issuer; the first is the installation's.
pub struct Several {
    /// Between the first issuer and the database.
    pub proxy: Proxy,
    /// The database's server.
    pub cluster: Postgres,
    second: Option<Child>,
    listen: String,
    folder: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl Several {
    /// Starts the database and both issuers, and makes a join token at the first. The helper is not started.
    pub fn start(server: &str) -> io::Result<(Self, Installation)> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let cluster = Postgres::start()?;
        cluster.sql("postgres", &format!("CREATE ROLE avouch LOGIN PASSWORD '{PASSWORD}'"))?;
        cluster.sql("postgres", "CREATE DATABASE avouch OWNER avouch")?;
        let proxy = runtime.block_on(Proxy::start(cluster.port()))?;
        let mut made = Installation::prepare_with(&format!("{server}\n[database]\n"), "")?;
        let password = made.write_private("keys/database", format!("{PASSWORD}\n").as_bytes())?;
        let database = |port: u16| format!("host = \"127.0.0.1\"\nport = {port}\npassword_file = {password:?}\n");
        let (folder, listen) = (made.path(""), TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string());
        let first = fs::read_to_string(made.path("server.toml"))?;
        let second = first
            .replace(made.listen(), &listen)
            .replace(&*made.path("server\"").to_string_lossy(), &made.path("server-b\"").to_string_lossy())
            .replace(&*made.path("run\"").to_string_lossy(), &made.path("run-b\"").to_string_lossy());
        fs::write(made.path("server.toml"), first + &database(proxy.address().port()))?;
        fs::write(made.path("second.toml"), second + &database(cluster.port()))?;
        let helper = fs::read_to_string(made.path("helper.toml"))?;
        let issuers = format!("issuers = [\"{}\", \"{listen}\"]", made.listen());
        let helper = helper.replace(&format!("issuer = \"{}\"", made.listen()), &issuers);
        fs::write(made.path("helper.toml"), helper)?;
        made.start_server(&[])?;
        made.token("n1")?;
        let mut several = Self { proxy, cluster, second: None, listen, folder, _runtime: runtime };
        several.start_second()?;
        Ok((several, made))
    }

    /// Lets the helper know only one of the two.
    pub fn only(&self, made: &Installation, issuer: &str) -> io::Result<()> {
        let helper = fs::read_to_string(made.path("helper.toml"))?;
        let lines: Vec<String> = helper
            .lines()
            .map(|line| if line.starts_with("issuers") { format!("issuer = \"{issuer}\"") } else { line.to_owned() })
            .collect();
        fs::write(made.path("helper.toml"), lines.join("\n"))
    }

    /// Where nodes reach the second issuer.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// Starts the second issuer without waiting for it.
    pub fn launch_second(&mut self) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("second.log"))?;
        let mut command = Command::new(installation::program());
        command.args(["server", "--config"]).arg(self.folder.join("second.toml"));
        self.second = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    /// Starts the second issuer and waits until it answers.
    pub fn start_second(&mut self) -> io::Result<()> {
        self.launch_second()?;
        let begun = Instant::now();
        while self.run(&["node", "list"]).is_err() {
            if begun.elapsed() > START {
                return Err(io::Error::other(format!("the second issuer did not come up\n{}", self.log())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The second issuer's process.
    pub fn second(&mut self) -> Option<&mut Child> {
        self.second.as_mut()
    }

    /// Kills the second issuer at once, as kill -9 does.
    pub fn kill_second(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.second.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Runs a verb at the second issuer, and takes any exit code but 0 for an error.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Output> {
        let mut command = Command::new(installation::program());
        command.arg("--runtime-dir").arg(self.folder.join("run-b")).args(arguments);
        let output = command.stdin(Stdio::null()).output()?;
        let said = Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        match said.code {
            Some(0) => Ok(said),
            _ => Err(io::Error::other(format!("avouch {} ended so: {said:?}", arguments.join(" ")))),
        }
    }

    /// What the second issuer logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("second.log")).unwrap_or_default()
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        self.kill_second().ok();
    }
}

const PASSWORD: &str = "of a role that tests made";
/// How long an issuer may take to come up.
const START: Duration = Duration::from_secs(20);
