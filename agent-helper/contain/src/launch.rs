//! Launching a session's program and staying with it to its end.

use crate::pty::Pty;
use crate::stage::{Step, command, exit_code};
use crate::walls::{Kind, receive};
use crate::{Hardened, reap, signals};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;

/// What to launch.
#[derive(Debug)]
pub struct Launch {
    /// The program, looked for along `PATH` if it has no slash.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// A connection to hold open as long as the program runs.
    pub watch: Option<Watch>,
}

/// A connection whose other end may go away while the program runs.
#[derive(Debug)]
pub struct Watch {
    /// The connection; nothing is read from it.
    pub connection: OwnedFd,
    /// Said on stderr, once, when the other end is gone.
    pub when_gone: String,
}

/// Why nothing was launched, or it was lost on the way.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The pty could not be made.
    #[error("cannot make a terminal for the program: {0}")]
    Pty(#[source] io::Error),
    /// The first stage could not be started.
    #[error("cannot start a process: {0}")]
    Spawn(#[source] io::Error),
    /// The kernel refused something it never refuses.
    #[error("cannot stay with the program: {0}")]
    Relay(#[from] io::Error),
}

/// Runs the program to its end and returns its exit code as a shell would: its own, 128 + n for signal n, 126
/// and 127 if it could not be started. Everything that it left running is ended. Call it on the main thread while
/// there is no other: signals are taken for the whole process.
pub fn launch(hardened: &Hardened, launch: Launch) -> Result<u8, LaunchError> {
    let signals = signals::Signals::take()?;
    let on_terminal = io::stdin().is_terminal();
    let step = if on_terminal { Step::Lead } else { Step::Plain };
    let mut first = command(step, hardened.core(), &launch.program, &launch.args);
    first.env_clear().envs(launch.environment);
    let pty = if on_terminal {
        Some(Pty::open(&mut first).map_err(LaunchError::Pty)?)
    } else {
        first.process_group(0);
        None
    };
    let child = first.spawn().map_err(LaunchError::Spawn)?;
    // Holds the program's end of the pty.
    drop(first);
    let main = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let mut relay = Relay { main, signals, pty, watch: launch.watch, control: None };
    let code = relay.stay()?;
    relay.end()?;
    Ok(code)
}

/// Stays with the program of a contained session, which its first process starts when `begin` tells it to.
pub(crate) fn relay_contained(
    init: i32,
    control: UnixStream,
    master: Option<OwnedFd>,
    watch: Option<Watch>,
    begin: impl FnOnce(&UnixStream) -> io::Result<()>,
) -> Result<u8, LaunchError> {
    let signals = signals::Signals::take()?;
    let pty = master.map(Pty::over).transpose().map_err(LaunchError::Pty)?;
    begin(&control)?;
    // Signals wait until there is a program that they can be passed on to. At the end of the connection there is none.
    receive(&control)?;
    let mut relay = Relay { main: Pid::from_raw(init), signals, pty, watch, control: Some(control) };
    let code = relay.stay()?;
    relay.end()?;
    Ok(code)
}

struct Relay {
    main: Pid,
    signals: signals::Signals,
    pty: Option<Pty>,
    watch: Option<Watch>,
    /// To the first process of a contained session.
    control: Option<UnixStream>,
}

/// What `poll` found.
#[derive(Default)]
struct Ready {
    told: bool,
    typed: bool,
    takes: bool,
    shows: bool,
    gone: bool,
}

impl Relay {
    fn stay(&mut self) -> io::Result<u8> {
        if let Some(pty) = &mut self.pty {
            pty.resume()?;
        }
        let mut shows = self.pty.is_some();
        loop {
            let ready = self.wait(shows)?;
            while let Some(signal) = self.signals.next()? {
                if let Some(code) = self.answer(signal)? {
                    return Ok(code);
                }
            }
            if ready.told {
                self.listen()?;
            }
            if ready.gone
                && let Some(watch) = self.watch.take()
            {
                let end = if self.pty.is_some() { "\r\n" } else { "\n" };
                let _ = write!(io::stderr(), "avouch: {}{end}", watch.when_gone);
            }
            if let Some(pty) = &mut self.pty {
                if ready.typed && !pty.read_typed()? {
                    self.pass_on(Signal::SIGHUP);
                } else if ready.takes {
                    pty.write_pending()?;
                }
            }
            if let Some(pty) = &mut self.pty
                && ready.shows
            {
                shows = pty.show()?;
            }
        }
    }

    fn wait(&self, shows: bool) -> io::Result<Ready> {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let mut place = [None; 4];
        if let Some(control) = &self.control {
            place[3] = Some(fds.len());
            fds.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        }
        if let Some(watch) = &self.watch {
            place[0] = Some(fds.len());
            // A hang-up is told without being asked for.
            fds.push(PollFd::new(watch.connection.as_fd(), PollFlags::empty()));
        }
        if let Some(pty) = &self.pty {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::POLLIN, shows);
            wanted.set(PollFlags::POLLOUT, pty.has_pending());
            if !wanted.is_empty() {
                place[1] = Some(fds.len());
                fds.push(PollFd::new(pty.master(), wanted));
            }
            if pty.wants_typing() {
                place[2] = Some(fds.len());
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let found = |at: Option<usize>| at.and_then(|at| fds[at].revents()).unwrap_or(PollFlags::empty());
        let (watch, master, typed) = (found(place[0]), found(place[1]), found(place[2]));
        Ok(Ready {
            told: !found(place[3]).is_empty(),
            gone: !watch.is_empty(),
            takes: master.contains(PollFlags::POLLOUT),
            shows: master.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR),
            typed: !typed.is_empty(),
        })
    }

    /// The program's exit code, if this signal brought it.
    fn answer(&mut self, signal: Signal) -> io::Result<Option<u8>> {
        match signal {
            Signal::SIGCHLD => return self.look_after(),
            Signal::SIGWINCH => {
                if let Some(pty) = &self.pty {
                    pty.resize();
                }
            }
            Signal::SIGCONT => self.go_on()?,
            Signal::SIGTTOU | Signal::SIGTTIN => {}
            other => self.pass_on(other),
        }
        Ok(None)
    }

    /// Reaps whatever has ended, orphans among them; stops with the program.
    fn look_after(&mut self) -> io::Result<Option<u8>> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
                Ok(WaitStatus::Stopped(pid, _)) if pid == self.main => self.stop()?,
                Ok(status) if status.pid() == Some(self.main) => {
                    if let Some(code) = exit_code(status) {
                        return Ok(Some(code));
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the first process of a contained session says: that its program has stopped.
    fn listen(&mut self) -> io::Result<()> {
        if let Some(control) = &self.control {
            match receive(control)? {
                Some(frame) if frame.kind == Kind::Stopped => self.stop()?,
                Some(_) => {}
                // It has ended; that is a signal too.
                None => self.control = None,
            }
        }
        Ok(())
    }

    /// Stops with the program, and goes on with it.
    fn stop(&mut self) -> io::Result<()> {
        if let Some(pty) = &mut self.pty {
            pty.suspend();
        }
        signals::stop_own_job()?;
        self.go_on()
    }

    fn go_on(&mut self) -> io::Result<()> {
        if let Some(pty) = &mut self.pty {
            pty.resume()?;
        }
        self.pass_on(Signal::SIGCONT);
        Ok(())
    }

    /// To the stage that leads the pty's session or the first process of a contained one, which pass it on, or to
    /// the program's process group.
    fn pass_on(&self, signal: Signal) {
        let _ = if self.pty.is_some() || self.control.is_some() {
            kill(self.main, signal)
        } else {
            killpg(self.main, signal)
        };
    }

    /// Ends what is left and shows what was still written.
    fn end(&mut self) -> io::Result<()> {
        let left = reap::end_descendants();
        if let Some(pty) = &mut self.pty {
            for _ in 0..LAST_READS {
                let mut fds = [PollFd::new(pty.master(), PollFlags::POLLIN)];
                if poll(&mut fds, PollTimeout::from(LAST_WAIT_MS)).unwrap_or(0) == 0 || !pty.show()? {
                    break;
                }
            }
            pty.suspend();
        }
        if left > 0 {
            let _ = writeln!(io::stderr(), "avouch: {left} processes of this session could not be ended");
        }
        Ok(())
    }
}

/// What may still be read after the end: 4,096 reads of 16 KiB, each awaited at most this long.
const LAST_READS: usize = 4096;
const LAST_WAIT_MS: u8 = 100;
