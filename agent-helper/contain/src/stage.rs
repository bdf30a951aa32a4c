//! What the program's own file does when it is started as a stage: the steps between `run` and its program.

use crate::walls::{hold, init, outer};
use crate::{CANNOT_EXECUTE, NOT_FOUND, SIGNALLED, signals};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// First argument that starts a stage.
pub const STAGE: &str = "__child";

/// Which steps to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Lead a session on the terminal at stdin, and stay to watch the program.
    Lead,
    /// Take the terminal's foreground, then become the program.
    Foreground,
    /// Become the program.
    Plain,
    /// Make the namespaces of a contained session.
    Outer,
    /// Be the first process in them.
    Init,
    /// Hold a user namespace for another stage.
    Hold,
}

/// A command for a process without core files that is killed when the thread that starts it ends, however it ends.
pub fn bound_to_parent(program: &OsStr, args: &[OsString]) -> Command {
    command(Step::Plain, Some(0), program, args)
}

/// A stage of a contained session; what it needs to know is sent to it.
pub(crate) fn self_again(step: Step) -> Command {
    command(step, None, OsStr::new(""), &[])
}

/// A command that begins with a stage of the same program file. `core` is the soft core limit for the program.
pub(crate) fn command(step: Step, core: Option<u64>, program: &OsStr, args: &[OsString]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("avouch").arg(STAGE).arg(step.word()).arg(std::process::id().to_string());
    command.arg(core.map_or_else(|| UNLIMITED.to_owned(), |limit| limit.to_string()));
    command.arg(program).args(args);
    command
}

/// Runs a stage; `args` are those behind [`STAGE`]. Returns only with an exit code.
pub fn stage(args: impl Iterator<Item = OsString>) -> u8 {
    let args: Vec<_> = args.collect();
    let Some(order) = Order::read(&args) else {
        say("this is a step of `avouch run` and no command of its own");
        return CANNOT_EXECUTE;
    };
    let done = match order.step {
        Step::Lead => lead(&order),
        Step::Foreground | Step::Plain => become_program(&order),
        Step::Outer => Ok(outer(order.parent)),
        Step::Init => Ok(init()),
        Step::Hold => Ok(hold(order.parent)),
    };
    done.unwrap_or_else(|error| {
        say(&format!("cannot run {}: {error}", order.program.to_string_lossy()));
        if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_EXECUTE }
    })
}

impl Step {
    const fn word(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Foreground => "foreground",
            Self::Plain => "plain",
            Self::Outer => "outer",
            Self::Init => "init",
            Self::Hold => "hold",
        }
    }
}

struct Order<'a> {
    step: Step,
    parent: i32,
    core: Option<u64>,
    program: &'a OsStr,
    args: &'a [OsString],
}

impl<'a> Order<'a> {
    fn read(args: &'a [OsString]) -> Option<Self> {
        let [step, parent, core, program, args @ ..] = args else {
            return None;
        };
        let step = STEPS.into_iter().find(|known| step == known.word())?;
        let core = match core.to_str()? {
            UNLIMITED => None,
            limit => Some(limit.parse().ok()?),
        };
        Some(Self { step, parent: parent.to_str()?.parse().ok()?, core, program, args })
    }
}

/// The session leader on the pty: hands the terminal to the program and back, and tells `run` of stops by
/// stopping itself.
fn lead(order: &Order<'_>) -> io::Result<u8> {
    die_with(order.parent)?;
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(io::stdin())?;
    let mut signals = signals::Signals::take()?;
    let child = command(Step::Foreground, order.core, order.program, order.args).process_group(0).spawn()?;
    let child = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    loop {
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(signal) = signals.next()? {
            match signal {
                Signal::SIGCHLD => {
                    if let Some(code) = look_after(child)? {
                        return Ok(code);
                    }
                }
                Signal::SIGWINCH | Signal::SIGTTOU | Signal::SIGTTIN | Signal::SIGCONT => {}
                other => {
                    let _ = nix::sys::signal::killpg(child, other);
                }
            }
        }
    }
}

/// The code with which the program ended, if it has; if it stopped, so does this process.
fn look_after(child: Pid) -> io::Result<Option<u8>> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED))? {
            WaitStatus::Stopped(..) => {
                let own = rustix::process::getpgrp();
                let group = rustix::process::Pid::from_raw(child.as_raw());
                let had_terminal = rustix::termios::tcgetpgrp(io::stdin()).ok() == group;
                let _ = rustix::termios::tcsetpgrp(io::stdin(), own);
                raise(Signal::SIGSTOP)?;
                if let (true, Some(group)) = (had_terminal, group) {
                    let _ = rustix::termios::tcsetpgrp(io::stdin(), group);
                }
                let _ = nix::sys::signal::killpg(child, Signal::SIGCONT);
            }
            status => return Ok(exit_code(status)),
        }
    }
}

/// What a shell would say of this end; `None` if it is not one.
pub(crate) fn exit_code(status: WaitStatus) -> Option<u8> {
    match status {
        WaitStatus::Exited(_, code) => Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        WaitStatus::Signaled(_, signal, _) => Some(SIGNALLED.saturating_add(u8::try_from(signal as i32).unwrap_or(0))),
        _ => None,
    }
}

fn become_program(order: &Order<'_>) -> io::Result<u8> {
    die_with(order.parent)?;
    if order.step == Step::Foreground {
        // Blocked, as the kernel stops a background process that does this.
        nix::sys::signal::SigSet::from(Signal::SIGTTOU).thread_block()?;
        rustix::termios::tcsetpgrp(io::stdin(), rustix::process::getpgrp())?;
    }
    let limit = getrlimit(Resource::Core);
    setrlimit(Resource::Core, Rlimit { current: order.core, maximum: limit.maximum })?;
    signals::release()?;
    Err(Command::new(order.program).args(order.args).exec())
}

/// Killed when the parent ends, however it ends.
pub(crate) fn die_with(parent: i32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    if nix::unistd::getppid() != Pid::from_raw(parent) {
        // It ended before that was in force.
        kill(nix::unistd::getpid(), Signal::SIGKILL)?;
    }
    Ok(())
}

fn say(sentence: &str) {
    let _ = writeln!(io::stderr(), "avouch: {sentence}");
}

const STEPS: [Step; 6] = [Step::Lead, Step::Foreground, Step::Plain, Step::Outer, Step::Init, Step::Hold];
const UNLIMITED: &str = "unlimited";
