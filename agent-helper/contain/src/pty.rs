//! The pty of a session's program, relayed to the terminal that `run` was started on.

use crate::terminal;
use nix::errno::Errno;
use rustix::termios::{Winsize, tcgetattr, tcgetwinsize, tcsetwinsize};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

/// Our side of it.
pub(crate) struct Pty {
    master: OwnedFd,
    /// Typed and not yet taken by the pty.
    pending: Vec<u8>,
    /// The terminal on stdin is the user's.
    typed: bool,
    /// Nothing more is typed: the terminal is gone.
    typed_all: bool,
    foreground: bool,
    _raw: terminal::RawGuard,
}

impl Pty {
    /// A pty as the terminal on stdin is, given to `command` wherever it would have had that terminal.
    pub(crate) fn open(command: &mut Command) -> io::Result<Self> {
        let usual: nix::sys::termios::Termios = nix::sys::termios::tcgetattr(io::stdin())?;
        let size = tcgetwinsize(io::stdin())?;
        let size = nix::pty::Winsize {
            ws_row: size.ws_row,
            ws_col: size.ws_col,
            ws_xpixel: size.ws_xpixel,
            ws_ypixel: size.ws_ypixel,
        };
        let pair = nix::pty::openpty(&size, &usual)?;
        rustix::io::fcntl_setfd(&pair.slave, rustix::io::FdFlags::CLOEXEC)?;
        if io::stdout().is_terminal() {
            command.stdout(Stdio::from(pair.slave.try_clone()?));
        }
        if io::stderr().is_terminal() {
            command.stderr(Stdio::from(pair.slave.try_clone()?));
        }
        command.stdin(Stdio::from(pair.slave));
        Self::relay(pair.master, true)
    }

    /// A pty that was made in a session's own place, set as the user's terminal is.
    pub(crate) fn over(master: OwnedFd) -> io::Result<Self> {
        let typed = io::stdin().is_terminal();
        if typed {
            let usual = tcgetattr(io::stdin())?;
            rustix::termios::tcsetattr(&master, rustix::termios::OptionalActions::Now, &usual)?;
        }
        Self::relay(master, typed)
    }

    /// Where nothing is `typed` here, the terminal only shows.
    fn relay(master: OwnedFd, typed: bool) -> io::Result<Self> {
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | rustix::fs::OFlags::NONBLOCK)?;
        let raw = terminal::RawGuard::new();
        Ok(Self { master, pending: Vec::new(), typed, typed_all: !typed, foreground: false, _raw: raw })
    }

    /// Raw mode, if this process may have it now, and the terminal's present size.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        self.foreground = self.typed && terminal::enter()?;
        self.resize();
        Ok(())
    }

    /// The terminal as it was found.
    pub(crate) fn suspend(&mut self) {
        self.foreground = false;
        terminal::leave();
    }

    /// The terminal's size has changed; the kernel tells the program.
    pub(crate) fn resize(&self) {
        let sizes = [tcgetwinsize(io::stdin()), tcgetwinsize(io::stdout()), tcgetwinsize(io::stderr())];
        if let Some(size) = sizes.into_iter().find_map(Result::ok) {
            let _: Result<(), _> = tcsetwinsize(&self.master, Winsize { ..size });
        }
    }

    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Whether what is typed should be read now.
    pub(crate) fn wants_typing(&self) -> bool {
        self.foreground && !self.typed_all && self.pending.is_empty()
    }

    /// Whether the pty has yet to take something.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Reads what was typed. False if the terminal is gone.
    pub(crate) fn read_typed(&mut self) -> io::Result<bool> {
        let mut buffer = [0; CHUNK];
        match nix::unistd::read(io::stdin(), &mut buffer) {
            Ok(0) => self.typed_all = true,
            Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
            // Put in the background between looking and reading.
            Err(Errno::EIO) if tcgetattr(io::stdin()).is_ok() => self.foreground = terminal::in_foreground(),
            Err(Errno::EIO | Errno::ENXIO) => self.typed_all = true,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.write_pending()?;
        Ok(!self.typed_all)
    }

    /// Gives the pty what it takes.
    pub(crate) fn write_pending(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match nix::unistd::write(&self.master, &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                // Nobody is left to read it.
                Err(Errno::EIO) => self.pending.clear(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Shows what the program has written. False if nobody is left to write.
    pub(crate) fn show(&mut self) -> io::Result<bool> {
        let mut buffer = [0; CHUNK];
        match nix::unistd::read(&self.master, &mut buffer) {
            Ok(0) | Err(Errno::EIO) => Ok(false),
            Ok(n) => write_to_terminal(&buffer[..n]).map(|()| true),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whichever of the three descriptors is the terminal.
fn write_to_terminal(bytes: &[u8]) -> io::Result<()> {
    if io::stdout().is_terminal() {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        return out.flush();
    }
    if io::stderr().is_terminal() {
        return io::stderr().write_all(bytes);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(io::stdin(), rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Read at once, in bytes.
const CHUNK: usize = 16 * 1024;
