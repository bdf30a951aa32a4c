//! A process, held so that it cannot be mistaken for a later one with the same pid.

use super::proc::{Stat, effective_ids, pid_behind};
use super::users;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The process that connected: its pid, its ids at that moment, and a pidfd that keeps it from being confused with a
/// later process of the same pid.
#[derive(Clone, Debug)]
pub struct Peer {
    pid: i32,
    uid: u32,
    gid: u32,
    start_time: u64,
    pidfd: Arc<OwnedFd>,
}

/// Why it is not known, or not known any more, who the peer is. Each of them refuses.
#[derive(Debug, thiserror::Error)]
pub enum Unattested {
    /// The peer is in a PID namespace that we cannot see (U07).
    #[error("the peer is in a PID namespace that cannot be seen from here")]
    Invisible,
    /// Its user has no number in our user namespace: it is shown with the one that all such users share, and so is
    /// nobody.
    #[error("the peer's user has no number in this user namespace")]
    Unmapped,
    /// A descriptor was handed over for a process that is none of one.
    #[error("the descriptor is no process's")]
    NoProcess,
    /// The process has ended.
    #[error("the peer has exited")]
    Exited,
    /// The pid belongs to another process now (U02).
    #[error("the peer's pid belongs to another process now")]
    Replaced,
    /// The process runs as another user than the one that connected (U05).
    #[error("the peer runs as another user than when it connected")]
    UidChanged,
    /// The kernel or `/proc` did not answer.
    #[error("the peer cannot be examined: {0}")]
    Unreadable(#[from] io::Error),
}

impl Peer {
    /// Asks the kernel who connected this socket. The process is held by `SO_PEERPIDFD`, before Linux 6.5 by
    /// `pidfd_open` of the pid in `SO_PEERCRED`; start time and uid are read while it is held, and it must be alive
    /// after that.
    pub fn of(socket: &impl AsFd) -> Result<Self, Unattested> {
        let credentials = getsockopt(socket, sockopt::PeerCredentials).map_err(io::Error::from)?;
        // Zero is a process that our PID namespace does not see.
        let pid = Pid::from_raw(credentials.pid()).ok_or(Unattested::Invisible)?;
        let raw = credentials.pid();
        let before = Stat::of(raw);
        let pidfd = match getsockopt(socket, sockopt::PeerPidfd) {
            Ok(pidfd) => pidfd,
            Err(Errno::ENOPROTOOPT) => pidfd_open(pid, PidfdFlags::empty()).map_err(gone)?,
            // Already reaped.
            Err(Errno::ESRCH | Errno::EINVAL) => return Err(Unattested::Exited),
            Err(error) => return Err(Unattested::Unreadable(error.into())),
        };
        let before = before.map_err(missing)?;
        let (uid, gid) = (credentials.uid(), credentials.gid());
        Self { pid: raw, uid, gid, start_time: before.start_time, pidfd: Arc::new(pidfd) }.known()
    }

    /// The process behind a pidfd that somebody handed over, with the user it has now.
    pub fn behind(pidfd: OwnedFd) -> Result<Self, Unattested> {
        let pid = match pid_behind(pidfd.as_fd())? {
            None => return Err(Unattested::NoProcess),
            Some(0) => return Err(Unattested::Invisible),
            Some(pid) if pid < 0 => return Err(Unattested::Exited),
            Some(pid) => pid,
        };
        let start_time = Stat::of(pid).map_err(missing)?.start_time;
        let (uid, gid) = effective_ids(pid).map_err(missing)?;
        Self { pid, uid, gid, start_time, pidfd: Arc::new(pidfd) }.known()
    }

    fn known(self) -> Result<Self, Unattested> {
        if users::is_unmapped(self.uid) {
            return Err(Unattested::Unmapped);
        }
        self.recheck()?;
        Ok(self)
    }

    /// Its pid, as our PID namespace sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The uid that connected, and still is in force at each [`Peer::recheck`].
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The gid that connected.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// When it started, in clock ticks after boot.
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// The descriptor that holds it.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether this is still the process that connected, with the same start time and user. Call it after anything was
    /// read from the peer's `/proc`: what was read before was then its own.
    pub fn recheck(&self) -> Result<(), Unattested> {
        let stat = Stat::of(self.pid).map_err(missing)?;
        if stat.has_ended() {
            return Err(Unattested::Exited);
        }
        if stat.start_time != self.start_time {
            return Err(Unattested::Replaced);
        }
        if effective_ids(self.pid).map_err(missing)?.0 != self.uid {
            return Err(Unattested::UidChanged);
        }
        // Last: while the process is held and alive, its pid was nobody else's.
        if self.has_exited()? { Err(Unattested::Exited) } else { Ok(()) }
    }

    /// Waits until the process has ended.
    pub async fn exited(&self) {
        #[expect(deprecated, reason = "sound for an OwnedFd; what replaces it is an unsafe function")]
        let watch = |pidfd| AsyncFd::with_interest(pidfd, Interest::READABLE);
        let watched = self.pidfd.try_clone().and_then(watch).ok();
        if let Some(watched) = watched
            && watched.readable().await.is_ok()
        {
            return;
        }
        // No descriptor to spare: look now and then.
        while let Ok(false) = self.has_exited() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn has_exited(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        Ok(nix::poll::poll(&mut polled, PollTimeout::ZERO)? != 0)
    }
}

fn gone(error: rustix::io::Errno) -> Unattested {
    if error == rustix::io::Errno::SRCH { Unattested::Exited } else { Unattested::Unreadable(error.into()) }
}

fn missing(error: io::Error) -> Unattested {
    if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32) {
        Unattested::Exited
    } else {
        Unattested::Unreadable(error)
    }
}

/// How often a process is looked at that cannot be watched.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn us() -> Peer {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        Peer::of(&one).unwrap()
    }

    /// U02, U05.
    #[test]
    fn a_later_process_of_the_same_pid_or_another_user_is_not_the_peer() {
        let us = us();
        us.recheck().unwrap();
        let later = Peer { start_time: us.start_time + 1, ..us.clone() };
        assert!(matches!(later.recheck(), Err(Unattested::Replaced)));
        let dropped = Peer { uid: us.uid + 1, ..us.clone() };
        assert!(matches!(dropped.recheck(), Err(Unattested::UidChanged)));
    }

    #[test]
    fn a_pidfd_leads_to_its_process_and_nothing_else_does() {
        let mut child = std::process::Command::new("sleep").arg("97").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let open = || pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let found = Peer::behind(open()).unwrap();
        assert_eq!((found.pid(), found.uid()), (child.id() as i32, rustix::process::geteuid().as_raw()));
        let late = open();
        let (pipe, _end) = io::pipe().unwrap();
        for other in [std::fs::File::open("/dev/null").unwrap().into(), OwnedFd::from(pipe)] {
            assert!(matches!(Peer::behind(other), Err(Unattested::NoProcess)));
        }
        // What a file says of itself is not asked: only the kernel names a descriptor.
        let named = tempfile::tempdir().unwrap();
        let path = named.path().join("anon_inode:[pidfd]");
        std::fs::write(&path, "Pid:\t1\n").unwrap();
        let file = std::fs::File::open(path).unwrap();
        assert!(matches!(Peer::behind(file.into()), Err(Unattested::NoProcess)));
        child.kill().unwrap();
        nix::poll::poll(&mut [PollFd::new(found.pidfd(), PollFlags::POLLIN)], 2000_u16).unwrap();
        assert!(matches!(Peer::behind(open()), Err(Unattested::Exited)), "a zombie is nobody");
        child.wait().unwrap();
        assert!(matches!(Peer::behind(late), Err(Unattested::Exited)));
        assert!(matches!(found.recheck(), Err(Unattested::Exited)));
    }

    /// The pidfd decides even if all of `/proc` looks the same.
    #[test]
    fn an_ended_process_is_not_the_peer_whatever_its_pid_says() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let pidfd = Arc::new(pidfd_open(pid, PidfdFlags::empty()).unwrap());
        child.wait().unwrap();
        let mixed = Peer { pidfd, ..us() };
        assert!(matches!(mixed.recheck(), Err(Unattested::Exited)));
    }
}
