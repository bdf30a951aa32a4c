//! A command that prints one value, as `gh auth token` does. It is run without a shell, with the variables that the
//! settings list and no others, as the helper's own user; what it says on its error stream may hold the value, so
//! only the length of that is told. It and whatever it started end with the read.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use avouch_words::{Name, Reference};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::process::Child;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::value::{ROOM, lease_of_line};
use crate::{About, Doing, Lease, Obligations, Shown, Source, SourceFault, Wanted};

/// How many of one source's commands run at once; more wait for their turn, within the deadline.
pub const MAX_AT_ONCE: usize = 4;

/// `EX_UNAVAILABLE` and `EX_TEMPFAIL` of sysexits(3): not now. Any other code than 0 is a refusal.
const NOT_NOW: [i32; 2] = [69, 75];
const COUNTED_AT_ONCE: usize = 1024;

/// A command.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// All the variables that it is given.
    pub environment: Vec<(String, String)>,
    /// When it is ended.
    pub deadline: Duration,
}

/// A command as a source. It has one value, so references to it are empty.
#[derive(Debug)]
pub struct CommandSource {
    name: Name,
    command: Command,
    at_once: Semaphore,
}

impl CommandSource {
    /// The source of this name.
    pub fn new(name: Name, command: Command) -> Self {
        Self { name, command, at_once: Semaphore::new(MAX_AT_ONCE) }
    }

    async fn run(&self) -> Result<Lease, SourceFault> {
        let _turn = self.at_once.acquire().await.map_err(|_| SourceFault::Unavailable)?;
        let mut running = Running::start(&self.command).map_err(|error| {
            tracing::warn!(source = %self.name, kind = %error.kind(), "the command cannot be started");
            SourceFault::Unavailable
        })?;
        let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else { return Err(SourceFault::Unavailable) };
        // All three at once: it would wait for ever to write into a pipe that nobody reads. When it has exited, what
        // it left behind is ended, so that the pipes end too.
        let (bytes, said, ()) = tokio::try_join!(read(stdout), count(stderr), running.ended())?;
        let status = running.child.wait().await.map_err(|_| SourceFault::Unavailable)?;
        if status.success() {
            return lease_of_line(&bytes);
        }
        tracing::warn!(source = %self.name, %status, "the command failed and wrote {said} bytes to its error stream");
        match status.code() {
            Some(code) if !NOT_NOW.contains(&code) => Err(SourceFault::Denied),
            _ => Err(SourceFault::Unavailable),
        }
    }
}

impl Source for CommandSource {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "exec"
    }

    fn about(&self) -> About {
        About { place: self.command.program.display().to_string(), login: "none", shown: Shown::Nothing }
    }

    fn check_reference(&self, reference: &Reference) -> Result<(), String> {
        match reference.as_str() {
            "" => Ok(()),
            _ => Err("a command has one value: leave the reference out".to_owned()),
        }
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, _owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(async move {
            self.check_reference(&wanted.reference).map_err(|_| SourceFault::Reference)?;
            timeout(self.command.deadline, self.run()).await.unwrap_or_else(|_| {
                tracing::warn!(source = %self.name, "the command was ended at its deadline");
                Err(SourceFault::Unavailable)
            })
        })
    }
}

/// A command in a process group of its own, which is killed when this is dropped, unless it has been already.
struct Running {
    child: Child,
    /// Ready when it has exited. Until it is waited for, nothing else can be given its number.
    exited: AsyncFd<rustix::fd::OwnedFd>,
    group: Group,
}

struct Group(Option<Pid>);

impl Running {
    fn start(command: &Command) -> std::io::Result<Self> {
        let child = tokio::process::Command::new(&command.program)
            .args(&command.arguments)
            .env_clear()
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = Group(pid);
        let pid = pid.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        #[expect(deprecated, reason = "an OwnedFd keeps the descriptor's promises, and what follows it is unsafe")]
        let exited = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        Ok(Self { child, exited, group })
    }

    async fn ended(&mut self) -> Result<(), SourceFault> {
        let exited = self.exited.readable().await.map(drop);
        self.group.kill();
        exited.map_err(|_| SourceFault::Unavailable)
    }
}

impl Group {
    /// Only once, and before its first process is waited for: afterwards the number may be another's.
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // There being nobody left is no fault.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn read(mut from: impl AsyncRead + Unpin) -> Result<Zeroizing<Vec<u8>>, SourceFault> {
    // A buffer that grew would leave copies behind, so it has its full size from the start.
    let mut bytes = Zeroizing::new(vec![0; ROOM]);
    let mut length = 0;
    while length < bytes.len() {
        match from.read(&mut bytes[length..]).await {
            Ok(0) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Ok(read) => length += read,
            Err(_) => return Err(SourceFault::Unavailable),
        }
    }
    Err(SourceFault::Garbage)
}

async fn count(mut from: impl AsyncRead + Unpin) -> Result<u64, SourceFault> {
    let (mut bytes, mut all) = (Zeroizing::new([0; COUNTED_AT_ONCE]), 0_u64);
    loop {
        match from.read(bytes.as_mut_slice()).await.map_err(|_| SourceFault::Unavailable)? {
            0 => return Ok(all),
            read => all = all.saturating_add(read as u64),
        }
    }
}

#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
