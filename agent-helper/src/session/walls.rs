//! Is this session contained, by what the kernel says of its first process and its listener? What is asked here cannot
//! be had by saying so. What a caller of the same uid could still forge is not asked, and no selector promises it: the
//! profile's name, which files are seen, and the environment.

mod look;

use super::listener::{self, Listener};
use avouch_wire::unix::roots::descends;
use avouch_wire::unix::{Peer, Unattested};
use avouch_words::Name;
use look::{Namespaces, Status};
use std::io;
use std::os::fd::OwnedFd;

/// The walls of a session, as they were verified.
#[derive(Debug)]
pub struct Walls {
    /// Pid 1 of the session: it and what descends from it is inside.
    pub init: Peer,
    /// The profile, as the caller named it.
    pub profile: Name,
}

/// Why a session is not taken for contained. Each of them refuses.
#[derive(Debug, thiserror::Error)]
pub enum NoWalls {
    /// The helper runs in a PID namespace of its own, beside the session's or below it.
    #[error("the session's first process is in a PID namespace that this helper does not see")]
    PidNamespace,
    /// It runs as a user that our user namespace does not map.
    #[error("the session's first process runs as a user that has no number in the helper's user namespace")]
    Unmapped,
    /// No pidfd, or of a process that has ended.
    #[error("there is no process behind the descriptor that was handed over for the session's first one")]
    Gone,
    /// Somebody else's process, or the caller itself.
    #[error("the process that was handed over is not below the one that asks")]
    NotBelow,
    /// Its children would not be inside with it.
    #[error("the process that was handed over is not the first of a PID namespace of its own")]
    NotFirst,
    /// The same namespace as ours.
    #[error("the session shares the helper's {0} namespace")]
    Shared(&'static str),
    /// `/proc` is hidden from us, or broken.
    #[error("the helper cannot see that user's processes in /proc")]
    Unseen(#[source] io::Error),
    /// It listens elsewhere than inside.
    #[error("the listener is not in the session's network namespace")]
    Outside,
    /// A network card, a tunnel, a route.
    #[error("the session's network leads further than to itself")]
    Open,
    /// No filter is in force.
    #[error("the session's first process has no seccomp filter")]
    NoSeccomp,
    /// A set-uid program would still raise it.
    #[error("the session's first process can still gain privileges")]
    Privileges,
    /// Root, or somebody else than the one who asks.
    #[error("the session runs as uid {0}, which this caller may not contain it as")]
    User(u32),
    /// The kernel does not name network namespaces.
    #[error("this kernel does not tell network namespaces apart: containment needs Linux 5.14")]
    OldKernel,
    /// It names no profile.
    #[error("the profile's name is no name")]
    Profile,
}

impl NoWalls {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PidNamespace => "pid_namespace",
            Self::Unmapped => "user_unmapped",
            Self::Gone => "init_gone",
            Self::NotBelow => "init_not_below",
            Self::NotFirst => "init_not_first",
            Self::Shared(_) => "namespace_shared",
            Self::Unseen(_) => "walls_unseen",
            Self::Outside => "listener_outside",
            Self::Open => "network_open",
            Self::NoSeccomp => "no_seccomp",
            Self::Privileges => "privileges_kept",
            Self::User(_) => "uid_refused",
            Self::OldKernel => "kernel_too_old",
            Self::Profile => "bad_profile",
        }
    }
}

/// Verifies what was handed over by `caller`. Reads `/proc`: not for a thread that must not wait.
pub fn verify(init: OwnedFd, profile: &str, listener: &Listener, caller: &Peer) -> Result<Walls, NoWalls> {
    let profile = Name::parse(profile).map_err(|_| NoWalls::Profile)?;
    let init = Peer::behind(init).map_err(|unknown| match unknown {
        Unattested::Invisible => NoWalls::PidNamespace,
        Unattested::Unmapped => NoWalls::Unmapped,
        Unattested::NoProcess
        | Unattested::Exited
        | Unattested::Replaced
        | Unattested::UidChanged
        | Unattested::Unreadable(_) => NoWalls::Gone,
    })?;
    let is_caller = |pid, started| (pid, started) == (caller.pid(), caller.start_time());
    let below = descends(&init, is_caller).map_err(|_| NoWalls::NotBelow)?;
    if !below || init.pid() == caller.pid() {
        return Err(NoWalls::NotBelow);
    }
    let status = Status::of(init.pid()).map_err(|_| NoWalls::Gone)?;
    judge_status(&status, caller.uid())?;
    judge_namespaces(Namespaces::of(init.pid()), &Namespaces::own().map_err(NoWalls::Unseen)?)?;
    judge_listener(&init, listener)?;
    if look::leads_further(init.pid()).map_err(unseen)? {
        return Err(NoWalls::Open);
    }
    // All that was read was its own, if it is alive still.
    init.recheck().map_err(|_| NoWalls::Gone)?;
    Ok(Walls { init, profile })
}

fn judge_status(status: &Status, caller: u32) -> Result<(), NoWalls> {
    if !status.is_first {
        return Err(NoWalls::NotFirst);
    }
    let [uid, rest @ ..] = status.uids;
    let own = uid != 0 && rest.iter().all(|other| *other == uid) && (uid == caller || caller == 0);
    // Root's groups would come along with root's session.
    let groups = caller != 0 || !status.gids.iter().chain(&status.groups).any(|group| *group == 0);
    if !own || !groups {
        return Err(NoWalls::User(uid));
    }
    if !status.filtered {
        return Err(NoWalls::NoSeccomp);
    }
    if !status.no_new_privs {
        return Err(NoWalls::Privileges);
    }
    Ok(())
}

/// That its PID namespace is another one its number there shows, and the list of its sockets its network namespace. The
/// rest only who may trace it can see: a helper of another user, without CAP_SYS_PTRACE, does not. None of it could not
/// be forged by a caller of that uid.
fn judge_namespaces(session: io::Result<Namespaces>, own: &Namespaces) -> Result<(), NoWalls> {
    let session = match session {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        session => session.map_err(unseen)?,
    };
    match session.shared_with(own) {
        Some(kind) => Err(NoWalls::Shared(kind)),
        None => Ok(()),
    }
}

/// The cookie says that it is not in ours, and the list of the session's own sockets that it is in the session's.
fn judge_listener(init: &Peer, listener: &Listener) -> Result<(), NoWalls> {
    let own = listener::own_network().map_err(|_| NoWalls::OldKernel)?;
    let network = listener.network.ok_or(NoWalls::OldKernel)?;
    let inside = look::listens(init.pid(), listener).map_err(unseen)?;
    if network == own || !inside { Err(NoWalls::Outside) } else { Ok(()) }
}

fn unseen(error: io::Error) -> NoWalls {
    match error.kind() {
        io::ErrorKind::NotFound => NoWalls::Gone,
        _ => NoWalls::Unseen(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_that_nobody_may_see_are_no_reason_and_those_that_are_shared_are() {
        let own = || Namespaces::own().unwrap();
        let denied = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(judge_namespaces(denied(), &own()).is_ok());
        assert!(matches!(judge_namespaces(Ok(own()), &own()), Err(NoWalls::Shared("pid"))));
        let gone = Err(io::ErrorKind::NotFound.into());
        assert!(matches!(judge_namespaces(gone, &own()), Err(NoWalls::Gone)));
        assert!(matches!(judge_namespaces(Err(io::ErrorKind::Other.into()), &own()), Err(NoWalls::Unseen(_))));
    }

    #[test]
    fn what_its_status_does_not_say_is_refused_each_with_its_reason() {
        let status = || Status {
            uids: [1001; 4],
            gids: [100; 4],
            groups: Vec::new(),
            is_first: true,
            filtered: true,
            no_new_privs: true,
        };
        let judge = |status: Status| judge_status(&status, 1001).map_err(|refused| refused.code());
        assert_eq!(judge(status()), Ok(()));
        assert_eq!(judge(Status { is_first: false, ..status() }), Err("init_not_first"));
        assert_eq!(judge(Status { filtered: false, ..status() }), Err("no_seccomp"));
        assert_eq!(judge(Status { no_new_privs: false, ..status() }), Err("privileges_kept"));
    }

    /// Where the session's network namespace cannot be seen, its cookie alone says that it is the helper's.
    #[test]
    fn a_listener_in_the_helpers_own_network_is_outside_also_if_the_session_is_there_too() {
        let init = Peer::behind(
            rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).unwrap(),
        )
        .unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut own = listener::check(socket.into(), |_| false).unwrap();
        assert!(look::listens(init.pid(), &own).unwrap(), "the control");
        assert!(matches!(judge_listener(&init, &own), Err(NoWalls::Outside)));
        own.network = None;
        assert!(matches!(judge_listener(&init, &own), Err(NoWalls::OldKernel)));
    }

    #[test]
    fn a_session_runs_as_its_caller_or_for_root_as_anybody_but_root() {
        let status = |uids, gid, groups: &[u32]| Status {
            uids,
            gids: [gid; 4],
            groups: groups.to_vec(),
            is_first: true,
            filtered: true,
            no_new_privs: true,
        };
        let judge = |uids, gid, groups: &[u32], caller| judge_status(&status(uids, gid, groups), caller).is_ok();
        assert!(judge([1001; 4], 100, &[4], 1001));
        assert!(judge([1001; 4], 0, &[0], 1001), "a user may have root's group: it brings nothing along");
        assert!(judge([1001; 4], 100, &[], 0));
        assert!(!judge([1001; 4], 0, &[], 0) && !judge([1001; 4], 100, &[0], 0), "root's groups would come along");
        assert!(!judge([0; 4], 100, &[], 0) && !judge([0; 4], 0, &[], 1001));
        assert!(!judge([1002; 4], 100, &[], 1001), "another user's");
        for one in 0..4 {
            let mut uids = [1001; 4];
            uids[one] = 0;
            assert!(!judge(uids, 100, &[], 1001), "root is still at hand");
        }
    }
}
