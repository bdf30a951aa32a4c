//! The second stage, and the session's first process: builds the rest from inside, seals it, starts the program
//! and stays with it. When it ends, the kernel ends everything in the session.

use super::error::because;
use super::frames::{Kind, Writer, receive, send};
use super::order::{Order, Start};
use super::outer::{map, tell};
use super::root::{Given, build};
use super::{ContainError, kernel, loopback};
use crate::landlock::View;
use crate::profile::Profile;
use crate::stage::exit_code;
use crate::{CANNOT_EXECUTE, NOT_FOUND, TIMED_OUT, signals};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::pty::OpenptFlags;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs the stage; returns with the program's exit code.
pub(crate) fn init() -> u8 {
    let Ok((control, mut given)) = begin() else {
        return CANNOT_EXECUTE;
    };
    let ready = match prepare(&control, &mut given) {
        Ok(ready) => ready,
        Err(error) => {
            tell(&control, &error);
            return CANNOT_EXECUTE;
        }
    };
    // Before that `run` may not have let go of the stage between, and its end would be taken for `run`'s own.
    let Ok(Some(mut frame)) = receive(&control) else {
        return CANNOT_EXECUTE;
    };
    let done = Start::read(&mut frame.fields).and_then(|start| ready.live(&control, start));
    done.unwrap_or_else(|error| {
        say(&format!("the session is lost: {error}"));
        CANNOT_EXECUTE
    })
}

/// What came from the stage before.
struct Handed {
    order: Order,
    stdin: OwnedFd,
    given: Given,
}

fn begin() -> io::Result<(UnixStream, Handed)> {
    kernel::close_inherited()?;
    let before = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let none = || io::Error::other("no order came");
    let mut frame = receive(&before)?.filter(|frame| frame.kind == Kind::Order).ok_or_else(none)?;
    let order = Order::read(&mut frame.fields)?;
    let mut descriptors = frame.descriptors.into_iter();
    let control = UnixStream::from(descriptors.next().ok_or_else(none)?);
    let stdin = descriptors.next().ok_or_else(none)?;
    let given = Given { work: descriptors.next(), socket: descriptors.next(), tokens: descriptors.next() };
    Ok((control, Handed { order, stdin, given }))
}

/// Everything that a program needs before it starts.
struct Ready {
    signals: signals::Signals,
    stdin: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    /// The program is not in its terminal's foreground, and was not when it stopped.
    background: bool,
    terminals: [bool; 3],
    current_dir: PathBuf,
    bundle: File,
    extra: File,
    wall_time: Option<Duration>,
}

fn prepare(control: &UnixStream, handed: &mut Handed) -> Result<Ready, ContainError> {
    let order = &handed.order;
    let signals = signals::Signals::take()?;
    let profile = Profile::parse(&order.profile.0, &order.profile.1);
    let profile = profile.map_err(|error| ContainError::Io(error.to_string()))?;
    loopback::set_up().map_err(because(ContainError::Loopback, "set it up"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(because(ContainError::Loopback, "listen"))?;
    let port = listener.local_addr()?.port();
    let built = build(order, &profile, std::mem::take(&mut handed.given))?;
    let pty = if order.terminals.contains(&true) {
        Some(pty().map_err(because(ContainError::Terminal, "open one"))?)
    } else {
        None
    };
    // Alone in a session of its own: no terminal of the host is its controlling one, so nothing can be typed there.
    rustix::process::setsid()?;
    if let Some((_, terminal)) = &pty {
        rustix::process::ioctl_tiocsctty(terminal).map_err(because(ContainError::Terminal, "take it"))?;
    }
    let myself = pidfd_open(getpid(), PidfdFlags::empty())?;
    let mut lacking = built.lacking;
    seal(order, &profile, &mut lacking)?;
    let mut fields = Writer::default();
    fields.number(u32::from(port)).many(&lacking, |to, sentence| to.os(sentence));
    let mut descriptors = vec![listener.as_fd(), myself.as_fd()];
    descriptors.extend(pty.as_ref().map(|(master, _)| master.as_fd()));
    send(control, Kind::Ready, fields.fields(), &descriptors)?;
    Ok(Ready {
        signals,
        stdin: Some(handed.stdin.try_clone()?),
        terminal: pty.map(|(_, terminal)| terminal),
        background: false,
        terminals: order.terminals,
        current_dir: order.current_dir.clone(),
        bundle: built.bundle,
        extra: built.extra,
        wall_time: profile.limits().wall_time,
    })
}

/// A pair of the session's own terminals: its path exists inside.
fn pty() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    Ok((master, terminal))
}

/// Gives up all that the first user namespace gave. In the second one the caller has its own number again; its
/// mounts come from a namespace with more rights, so that none of them can be taken away singly.
fn seal(order: &Order, profile: &Profile, lacking: &mut Vec<String>) -> Result<(), ContainError> {
    let failed = |doing: &'static str| because(ContainError::Seal, doing);
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(because(ContainError::Namespaces, "nest them"))?;
    map(order.who.uid, 0, order.who.gid, 0).map_err(because(ContainError::Namespaces, "map the id back"))?;
    rustix::thread::set_no_new_privs(true).map_err(failed("give up new privileges"))?;
    clear_ambient_capability_set().map_err(failed("give up capabilities"))?;
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last one this kernel has.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(failed("give up capabilities")(error)),
        }
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(failed("give up capabilities"))?;
    let keep = because(ContainError::Seal, "keep its processes from tracing the first one");
    prctl::set_dumpable(false).map_err(keep)?;
    let home = order.home.as_deref().unwrap_or(Path::new("/tmp"));
    let view = View { work: &order.work_dir, home, own: &[PathBuf::from("/run")] };
    let sealed = crate::seal::seal(profile, &view).map_err(|error| ContainError::Seal(error.to_string()))?;
    lacking.extend(sealed);
    Ok(())
}

/// Becomes readable when the session's time is over.
fn timer(after: Duration) -> rustix::io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
    let once = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(after.subsec_nanos()),
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(timer)
}

impl Ready {
    fn live(mut self, control: &UnixStream, start: Start) -> io::Result<u8> {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        self.bundle.write_all(&start.bundle)?;
        self.extra.write_all(&start.extra)?;
        let child = match self.start(&start) {
            Ok(child) => child,
            Err(error) => {
                say(&format!("cannot run {}: {error}", start.program.to_string_lossy()));
                return Ok(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_EXECUTE });
            }
        };
        drop(start);
        send(control, Kind::Started, &[], &[])?;
        let code = match self.look_after(control, child)? {
            Some(code) => code,
            None => self.stay(control, child)?,
        };
        self.end()?;
        Ok(code)
    }

    fn start(&mut self, start: &Start) -> io::Result<Pid> {
        rustix::process::chdir(&self.current_dir)?;
        let mut command = Command::new(&start.program);
        command.args(&start.args).env_clear().envs(start.environment.iter().map(|(name, value)| (name, value)));
        // A group of its own: signals reach the program and not its init, and it can be stopped.
        command.process_group(0);
        let terminal = |is: bool| match &self.terminal {
            Some(terminal) if is => terminal.try_clone().map(Stdio::from).map(Some),
            _ => Ok(None),
        };
        let [stdin, stdout, stderr] = self.terminals;
        if let Some(stdout) = terminal(stdout)? {
            command.stdout(stdout);
        }
        if let Some(stderr) = terminal(stderr)? {
            command.stderr(stderr);
        }
        let given = self.stdin.take().map_or_else(Stdio::null, Stdio::from);
        command.stdin(terminal(stdin)?.unwrap_or(given));
        // The program begins with nothing blocked. What ends in between is found after it; a signal to the first
        // process of a namespace that arrives in between is dropped by the kernel, so `run` passes on none until then.
        signals::release()?;
        let child = command.spawn();
        self.signals.block()?;
        let child = child?;
        let child = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        self.foreground(child);
        Ok(child)
    }

    /// Makes the program the foreground of its terminal, and lets it go on if it was stopped for not being that.
    fn foreground(&self, child: Pid) {
        if let (Some(terminal), Some(group)) = (&self.terminal, rustix::process::Pid::from_raw(child.as_raw())) {
            let _ = rustix::termios::tcsetpgrp(terminal, group);
            let _ = killpg(child, Signal::SIGCONT);
        }
    }

    fn stay(&mut self, control: &UnixStream, child: Pid) -> io::Result<u8> {
        let timer = self.wall_time.map(timer).transpose()?;
        loop {
            let mut fds = vec![
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(control.as_fd(), PollFlags::empty()),
            ];
            fds.extend(timer.as_ref().map(|timer| PollFd::new(timer.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if fds[1].any().unwrap_or(false) {
                // `run` is gone.
                return Ok(CANNOT_EXECUTE);
            }
            if fds.get(2).and_then(PollFd::any).unwrap_or(false) {
                say("the session's time is over, by its profile's limit");
                return Ok(TIMED_OUT);
            }
            while let Some(signal) = self.signals.next()? {
                match signal {
                    Signal::SIGCHLD => {
                        if let Some(code) = self.look_after(control, child)? {
                            return Ok(code);
                        }
                    }
                    Signal::SIGCONT => self.go_on(child),
                    Signal::SIGWINCH | Signal::SIGTTOU | Signal::SIGTTIN => {}
                    other => drop(killpg(child, other)),
                }
            }
        }
    }

    /// Reaps whatever has ended; tells `run` when the program has stopped, as the first process of a namespace
    /// cannot stop itself.
    fn look_after(&mut self, control: &UnixStream, child: Pid) -> io::Result<Option<u8>> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
                Ok(WaitStatus::Stopped(pid, _)) if pid == child => {
                    if let Some(terminal) = &self.terminal {
                        let group = rustix::process::Pid::from_raw(child.as_raw());
                        self.background = rustix::termios::tcgetpgrp(terminal).ok() != group;
                        let _ = rustix::termios::tcsetpgrp(terminal, rustix::process::getpgrp());
                    }
                    send(control, Kind::Stopped, &[], &[])?;
                }
                Ok(status) if status.pid() == Some(child) => {
                    if let Some(code) = exit_code(status) {
                        return Ok(Some(code));
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks what is left to end, and waits a little; what then is left the kernel kills.
    fn end(&mut self) -> io::Result<()> {
        let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
        let timer = timer(GRACE)?;
        loop {
            loop {
                match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => break,
                    Err(Errno::ECHILD) => return Ok(()),
                    Ok(_) | Err(_) => {}
                }
            }
            let mut fds = [self.signals.as_fd(), timer.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let _ = poll(&mut fds, PollTimeout::NONE);
            if fds[1].any().unwrap_or(false) {
                return Ok(());
            }
            while self.signals.next()?.is_some() {}
        }
    }

    fn go_on(&self, child: Pid) {
        if self.terminal.is_some() && !self.background {
            self.foreground(child);
        } else {
            let _ = killpg(child, Signal::SIGCONT);
        }
    }
}

fn say(sentence: &str) {
    let _ = writeln!(io::stderr(), "avouch: {sentence}");
}

/// How long a process has after it was asked to end.
const GRACE: Duration = Duration::from_millis(250);
