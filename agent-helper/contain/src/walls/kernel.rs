//! The three kernel calls of containment that have no safe wrapper. Nothing else in the product is unsafe.

#![expect(
    unsafe_code,
    reason = "mount_setattr, close_range and joining a keyring are raw system calls in every crate there is"
)]

use nix::errno::Errno;
use nix::libc;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

/// What a mount shall be from now on; attributes are only ever added.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) read_only: bool,
    pub(crate) no_devices: bool,
    pub(crate) no_programs: bool,
    /// The user namespace by whose map the owners of files are shown.
    pub(crate) map: Option<BorrowedFd<'a>>,
}

/// Sets attributes on the mount at `mount` (and all below it); set-user-id bits are never honoured.
pub(crate) fn set_attributes(mount: impl AsFd, recursive: bool, attributes: Attributes<'_>) -> io::Result<()> {
    let mut set = libc::MOUNT_ATTR_NOSUID;
    for (wanted, bit) in [
        (attributes.read_only, libc::MOUNT_ATTR_RDONLY),
        (attributes.no_devices, libc::MOUNT_ATTR_NODEV),
        (attributes.no_programs, libc::MOUNT_ATTR_NOEXEC),
        (attributes.map.is_some(), libc::MOUNT_ATTR_IDMAP),
    ] {
        if wanted {
            set |= bit;
        }
    }
    let map = attributes.map.map_or(0, |map| map.as_raw_fd());
    let order =
        libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: u64::try_from(map).unwrap_or(0) };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is borrowed for the call, the path is a constant that ends in a zero, and the kernel
    // reads exactly the size it is told of a structure that lives until the call returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const order,
            size_of::<libc::mount_attr>(),
        )
    };
    Ok(Errno::result(done).map(drop)?)
}

/// Closes every descriptor from 3 on. For the first lines of a process that was just started and has opened
/// none of its own: they are what it inherited without asking.
pub(crate) fn close_inherited() -> io::Result<()> {
    // SAFETY: closes descriptors that no value of this process owns, as it has opened none yet.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
    Ok(Errno::result(done).map(drop)?)
}

/// Gives this thread a new and empty session keyring without a name.
pub(crate) fn join_new_keyring() -> nix::Result<()> {
    // SAFETY: the call takes a name or nothing; it is given nothing, and touches no memory of this process.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0_usize) };
    Errno::result(joined).map(drop)
}

/// `KEYCTL_JOIN_SESSION_KEYRING` of linux/keyctl.h.
const JOIN_SESSION_KEYRING: i32 = 1;
