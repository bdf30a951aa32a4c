//! Signals as events that are read, not as handlers that interrupt.

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The signals of this thread, taken out of the kernel's hands. Must be taken before any other thread exists, or
/// that thread would still be ended by them.
pub(crate) struct Signals(SignalFd);

impl Signals {
    pub(crate) fn take() -> io::Result<Self> {
        taken().thread_block()?;
        Ok(Self(SignalFd::with_flags(&taken(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Takes them again after [`release`].
    pub(crate) fn block(&self) -> io::Result<()> {
        Ok(taken().thread_block()?)
    }

    /// The next signal that has arrived, if one has.
    pub(crate) fn next(&mut self) -> io::Result<Option<Signal>> {
        let number = self.0.read_signal()?.map(|info| i32::try_from(info.ssi_signo).unwrap_or(0));
        Ok(number.and_then(|number| Signal::try_from(number).ok()))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn taken() -> SigSet {
    let mut set = SigSet::empty();
    set.extend(FORWARDED.into_iter().chain(OWN));
    set
}

/// Gives all signals back to the kernel; the program that is to be started begins with none blocked.
pub(crate) fn release() -> io::Result<()> {
    Ok(SigSet::all().thread_unblock()?)
}

/// Stops the job that this process belongs to, as the terminal's stop key does, and returns when it goes on. In
/// an orphaned job nobody could make it go on, so there the kernel drops the signal and this returns at once.
pub(crate) fn stop_own_job() -> io::Result<()> {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTSTP);
    stop.thread_unblock()?;
    kill(Pid::from_raw(0), Signal::SIGTSTP)?;
    Ok(stop.thread_block()?)
}

/// Passed on to the program as they come: those that ask a program for something, and those that would end this
/// process without its terminal being put right.
pub(crate) const FORWARDED: [Signal; 13] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
];

/// Answered here. The last two are only held back: a job in the background that sets its terminal would be
/// stopped by them.
const OWN: [Signal; 6] =
    [Signal::SIGCHLD, Signal::SIGWINCH, Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGTTOU, Signal::SIGTTIN];
