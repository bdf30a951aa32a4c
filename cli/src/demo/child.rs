//! The demo's child processes: the helper, and the agents that `avouch run` starts.

use super::order::{Order, Report};
use super::place::Place;
use crate::failure::{Exit, Failure};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A helper in a process of its own.
#[derive(Debug)]
pub struct HelperProcess(Child);

/// What stands around an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walls {
    /// Namespaces and all.
    Contained,
    /// What a uid has anyway.
    None,
}

/// An agent in a session of its own, told what to do.
#[derive(Debug)]
pub struct Agent {
    name: &'static str,
    log: PathBuf,
    run: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

/// This program with other arguments, killed if the demo does not come to its end.
fn avouch(args: Vec<OsString>) -> Result<Command, Failure> {
    let mut command = Command::from(avouch_contain::bound_to_parent(&own_program()?, &args));
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

fn own_program() -> Result<OsString, Failure> {
    let program = std::env::current_exe().map_err(|error| failed("find this program", &error))?;
    Ok(program.into_os_string())
}

impl HelperProcess {
    /// Starts one with its settings; it logs into a file.
    pub fn start(place: &Place, config: &Path, log: &str) -> Result<Self, Failure> {
        let log = File::create(place.file(log)).map_err(|error| failed("make a log", &error))?;
        let mut command = avouch(vec!["helper".into(), "--config".into(), config.into()])?;
        command.stderr(log);
        command.spawn().map(Self).map_err(|error| failed("start a helper", &error))
    }

    /// Its number.
    pub fn number(&self) -> i32 {
        self.0.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default()
    }

    /// Whether it has ended already.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Result<ExitStatus, Failure> {
        let ended = tokio::time::timeout(PATIENCE, self.0.wait()).await;
        ended
            .map_err(|_| Failure::new(Exit::Timeout, "the helper did not end"))?
            .map_err(|error| failed("wait for the helper", &error))
    }

    /// Asks it to end, and waits for it.
    pub async fn stop(mut self) -> Result<ExitStatus, Failure> {
        terminate(&self.0);
        self.wait().await
    }
}

impl Agent {
    /// `avouch run --agent NAME --contain -- ./avouch demo-agent`, or `--no-contain`, in a folder of its own.
    pub fn start(place: &Place, name: &'static str, walls: Walls) -> Result<Self, Failure> {
        let contain = if walls == Walls::Contained { "--contain" } else { "--no-contain" };
        let folder = place.file(&format!("{name}{contain}"));
        let program = folder.join("avouch");
        std::fs::create_dir(&folder).map_err(|error| failed("make a work directory", &error))?;
        copy(Path::new(&own_program()?), &program).map_err(|error| failed("give an agent its program", &error))?;
        let log = folder.with_extension("log");
        let errors = File::create(&log).map_err(|error| failed("make a log", &error))?;
        let run = ["run", "--agent", name, contain, "--"].map(OsString::from);
        let agent = [program.into_os_string(), "demo-agent".into()];
        let runtime = place.paths().helper_runtime();
        let args = ["--runtime-dir".into(), runtime.into()].into_iter().chain(run).chain(agent);
        let mut command = avouch(args.collect())?;
        command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut run = command.spawn().map_err(|error| failed("start an agent", &error))?;
        let (Some(orders), Some(reports)) = (run.stdin.take(), run.stdout.take()) else {
            return Err(Failure::new(Exit::Failure, "an agent has no pipes"));
        };
        Ok(Self { name, log, run, orders, reports: BufReader::new(reports) })
    }

    /// Has it do something, and hears what came of it.
    pub async fn order(&mut self, order: &Order) -> Result<Report, Failure> {
        let mut line = serde_json::to_string(order).map_err(|error| failed("write an order", &error.into()))?;
        line.push('\n');
        let mut answer = String::new();
        let exchange = async {
            self.orders.write_all(line.as_bytes()).await?;
            self.reports.read_line(&mut answer).await
        };
        let name = self.name;
        let late = |_| Failure::new(Exit::Timeout, format!("the {name} took too long"));
        let exchanged = tokio::time::timeout(PATIENCE, exchange).await.map_err(late)?;
        exchanged.map_err(|error| failed(&format!("speak with the {name}"), &error))?;
        let report: Report = serde_json::from_str(&answer)
            .map_err(|_| Failure::new(Exit::Failure, format!("the {name} ended without a report")))?;
        match &report.error {
            Some(error) => Err(Failure::new(Exit::Failure, format!("the {name}: {error}"))),
            None => Ok(report),
        }
    }

    /// Why it did not begin, in the words of `avouch run`.
    pub fn said(&self) -> Option<String> {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        Some(said.lines().find_map(|line| line.strip_prefix("avouch: "))?.trim_end_matches('.').to_owned())
    }

    /// Lets it end, and waits for its session to be over.
    pub async fn end(mut self) -> Result<(), Failure> {
        drop(self.orders);
        let ended = tokio::time::timeout(PATIENCE, self.run.wait()).await;
        let late = |_| Failure::new(Exit::Timeout, format!("the {} did not end", self.name));
        let status = ended.map_err(late)?.map_err(|error| failed("wait for an agent", &error))?;
        if !status.success() {
            return Err(Failure::new(Exit::Failure, format!("the {} ended with {status}", self.name)));
        }
        Ok(())
    }
}

/// The same file under another name, or a copy of it where that cannot be.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(drop))
}

fn terminate(child: &Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("cannot {what}: {error}"))
}

/// How long a child may take for one thing.
const PATIENCE: Duration = Duration::from_secs(15);
