//! The first stage: becomes the id behind the session, makes the namespaces, and starts the init in them.

use super::ContainError;
use super::error::because;
use super::frames::{Kind, Writer, receive, send};
use super::order::Order;
use super::{idmap, kernel};
use crate::CANNOT_EXECUTE;
use crate::stage::{Step, die_with, self_again};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

/// Runs the stage. It ends when the init runs, which is then `run`'s own child.
pub(crate) fn outer(parent: i32) -> u8 {
    let Ok(control) = control(parent) else {
        return CANNOT_EXECUTE;
    };
    match enter(&control) {
        Ok(()) => 0,
        Err(error) => {
            tell(&control, &error);
            CANNOT_EXECUTE
        }
    }
}

/// Tells `run` why there is no session.
pub(super) fn tell(control: &UnixStream, error: &ContainError) {
    let (case, detail) = error.parts();
    // If nobody listens any more, nobody needs to know.
    let _ = send(control, Kind::Failed, Writer::default().number(u32::from(case)).os(detail).fields(), &[]);
}

/// The connection to `run`, which is on stdin of a stage.
fn control(parent: i32) -> io::Result<UnixStream> {
    kernel::close_inherited()?;
    die_with(parent)?;
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn enter(control: &UnixStream) -> Result<(), ContainError> {
    let lost = || ContainError::Lost("no order came".to_owned());
    let mut frame = receive(control)?.filter(|frame| frame.kind == Kind::Order).ok_or_else(lost)?;
    let order = Order::read(&mut frame.fields)?;
    let stdin = frame.descriptors.pop().ok_or_else(lost)?;
    let given = if order.who.other {
        Some(become_other(&order)?)
    } else {
        // Without this nobody may write their own maps with a program file that cannot be read.
        prctl::set_dumpable(true)?;
        own_users(&order)?;
        None
    };
    namespaces()?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut init = self_again(Step::Init);
    init.env_clear().stdin(Stdio::from(OwnedFd::from(theirs)));
    let init = init.spawn()?;
    send(control, Kind::Started, Writer::default().number(init.id()).fields(), &[])?;
    let mut descriptors = vec![control.as_fd(), stdin.as_fd()];
    if let Some(given) = &given {
        descriptors.extend([given.work.as_fd(), given.socket.as_fd()]);
        descriptors.extend(given.tokens.as_ref().map(AsFd::as_fd));
    }
    Ok(send(&ours, Kind::Order, order.write().fields(), &descriptors)?)
}

/// What only root can reach, opened before it is root no more.
struct Opened {
    work: OwnedFd,
    socket: OwnedFd,
    tokens: Option<OwnedFd>,
}

/// Opens what the session is given, and becomes the other id for good, in a user namespace that is root's. Who makes
/// one may enter it and trace all in it: were it that id's, its processes outside would reach the session, and in it
/// the work directory with the rights of its owner and without the list of system calls.
fn become_other(order: &Order) -> Result<Opened, ContainError> {
    let work = idmap::give(order)?;
    let socket = super::mounts::find(&order.socket).and_then(super::mounts::copy);
    let socket = socket.map_err(because(ContainError::Socket, "find it"))?;
    let tokens = order.tokens.as_deref().map(|place| super::mounts::find(place).and_then(super::mounts::copy));
    let tokens = tokens.transpose().map_err(because(ContainError::Mounts, "find the identity tokens"))?;
    let uid = order.who.uid;
    let unknown = |error: &dyn Display| ContainError::NoId(format!("this place does not know id {uid}: {error}"));
    let cannot = |error: Errno| unknown(&error);
    let users = idmap::namespace((ROOT, ROOT), (order.who.uid, order.who.gid)).map_err(|error| match error.kind() {
        // It ended before it had one.
        io::ErrorKind::UnexpectedEof => ContainError::UserNamespaces("make one for the session's id".to_owned()),
        _ => unknown(&error),
    })?;
    setgroups(&[]).map_err(cannot)?;
    setns(&users, CloneFlags::CLONE_NEWUSER).map_err(because(ContainError::UserNamespaces, "enter it"))?;
    // Its number inside; on the host it is that id from here on.
    let (uid, gid) = (Uid::from_raw(ROOT), Gid::from_raw(ROOT));
    setresgid(gid, gid, gid).map_err(cannot)?;
    setresuid(uid, uid, uid).map_err(cannot)?;
    Ok(Opened { work, socket, tokens })
}

/// A user namespace of the caller's own, which gives the right to make the others.
fn own_users(order: &Order) -> Result<(), ContainError> {
    unshare(CloneFlags::CLONE_NEWUSER).map_err(because(ContainError::UserNamespaces, "make one"))?;
    map(0, order.who.uid, 0, order.who.gid).map_err(|error| match error.kind() {
        // AppArmor lets anybody make one, and then do nothing in it.
        io::ErrorKind::PermissionDenied => ContainError::UserNamespacesHeld(format!("map the caller's id: {error}")),
        _ => ContainError::UserNamespaces(format!("map the caller's id: {error}")),
    })
}

/// All the others.
fn namespaces() -> Result<(), ContainError> {
    let others = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET;
    unshare(others).map_err(|error| match error {
        Errno::EPERM | Errno::EACCES => ContainError::UserNamespacesHeld(format!("make the other namespaces: {error}")),
        _ => ContainError::Namespaces(error.to_string()),
    })
}

/// Writes this process's own maps: one id and one group, each shown as another.
pub(super) fn map(uid: u32, outer_uid: u32, gid: u32, outer_gid: u32) -> io::Result<()> {
    // Without this a group could be given up that something is refused to (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {outer_uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {outer_gid} 1"))
}

/// Root's number, in any user namespace.
const ROOT: u32 = 0;
