//! Mounts by descriptor: what is opened once cannot be changed into something else before it is mounted.

use super::kernel::{Attributes, set_attributes};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A place on the host, found once; whatever is mounted there is seen through it.
pub(crate) fn find(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// As [`find`], by a path that has no link in it: one that somebody put there meanwhile is not followed.
pub(crate) fn find_without_links(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

/// A copy of the mount at `place`, with all below it, attached to nothing yet.
pub(crate) fn copy(place: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(place, "", flags)?)
}

/// As [`copy`], of this mount alone: what is mounted below is not seen, but for what it covers.
pub(crate) fn copy_alone(place: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(place, "", flags)?)
}

/// A read-only copy of what is at `place`.
pub(crate) fn read_only(place: impl AsFd) -> io::Result<OwnedFd> {
    let copied = copy(place)?;
    set_attributes(&copied, true, Attributes { read_only: true, no_devices: true, ..Attributes::default() })?;
    Ok(copied)
}

/// A copy of what is at `place` that can be written.
pub(crate) fn writable(place: impl AsFd) -> io::Result<OwnedFd> {
    let copied = copy(place)?;
    set_attributes(&copied, true, Attributes { no_devices: true, ..Attributes::default() })?;
    Ok(copied)
}

/// A new file system of the kernel's own.
pub(crate) fn fresh(kind: &str, options: &[(&str, &str)], flags: &[&str], programs: bool) -> io::Result<OwnedFd> {
    let nothing_of_its_own = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let no_programs = if programs { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NOEXEC };
    made(kind, options, flags, nothing_of_its_own | no_programs)
}

/// As [`fresh`], for one whose files are devices.
pub(crate) fn devices(kind: &str, options: &[(&str, &str)], flags: &[&str]) -> io::Result<OwnedFd> {
    made(kind, options, flags, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

fn made(kind: &str, options: &[(&str, &str)], flags: &[&str], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let settings = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(settings.as_fd(), *name, *value)?;
    }
    for name in flags {
        fsconfig_set_flag(settings.as_fd(), *name)?;
    }
    fsconfig_create(settings.as_fd())?;
    Ok(fsmount(settings.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// An empty file system in memory, of at most so many bytes and files.
pub(crate) fn memory(bytes: u64, mode: &str, programs: bool) -> io::Result<OwnedFd> {
    let files = (bytes / BYTES_PER_FILE).max(FEWEST_FILES);
    let (bytes, files) = (bytes.to_string(), files.to_string());
    fresh("tmpfs", &[("size", &bytes), ("nr_inodes", &files), ("mode", mode)], &[], programs)
}

/// A path by which the kernel finds what this descriptor stands for.
pub(crate) fn path_of(descriptor: impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}

/// The root of the session's files while it is being built.
#[derive(Debug)]
pub(crate) struct NewRoot(OwnedFd);

impl NewRoot {
    /// An empty one, mounted over `over` for as long as it is built.
    pub(crate) fn over(over: &Path) -> io::Result<Self> {
        let root = memory(ROOT_BYTES, "755", false)?;
        move_mount(&root, "", CWD, over, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(Self(root))
    }

    /// The descriptor of the root itself.
    pub(crate) fn top(&self) -> &OwnedFd {
        &self.0
    }

    /// What is at this absolute path already; nowhere on the way may there be a link.
    pub(crate) fn at(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        openat2(
            &self.0,
            inside,
            OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )
    }

    /// The directory at this absolute path, made with what is missing above it.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        if let Ok(found) = self.at(path) {
            return Ok(found);
        }
        let mut so_far = PathBuf::from("/");
        let mut here = self.at(&so_far)?;
        for part in path.components() {
            if let Component::Normal(name) = part {
                so_far.push(name);
                match mkdirat(&here, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    // Below a read-only mount what is there is all there is.
                    Err(Errno::ROFS | Errno::ACCESS) if self.at(&so_far).is_ok() => {}
                    // The session may not pass here, so it loses nothing by an empty directory in its place.
                    Err(Errno::ACCESS) if self.at(&so_far).is_err_and(|error| error == Errno::ACCESS) => {
                        attach(memory(ROOT_BYTES, "755", false)?, &here)?;
                        let covered = self.at(so_far.parent().unwrap_or(Path::new("/")))?;
                        mkdirat(&covered, name, Mode::from_raw_mode(0o755))?;
                    }
                    Err(error) => return Err(error.into()),
                }
                here = self.at(&so_far)?;
            }
        }
        Ok(here)
    }

    /// An empty file at this absolute path, to mount something over.
    pub(crate) fn file(&self, path: &Path) -> io::Result<OwnedFd> {
        if let Ok(found) = self.at(path) {
            return Ok(found);
        }
        let (above, name) = split(path)?;
        let above = self.directory(above)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        drop(openat(&above, name, flags, Mode::from_raw_mode(0o644))?);
        Ok(self.at(path)?)
    }

    /// A symbolic link at this absolute path.
    pub(crate) fn link(&self, path: &Path, to: &Path) -> io::Result<()> {
        let (above, name) = split(path)?;
        Ok(symlinkat(to, self.directory(above)?, name)?)
    }

    /// Mounts `mount` at this absolute path, over a directory or a file as it is one itself.
    pub(crate) fn mount(&self, mount: impl AsFd, path: &Path) -> io::Result<()> {
        let place = if is_directory(&mount)? { self.directory(path)? } else { self.file(path)? };
        Ok(attach(mount, place)?)
    }
}

/// Mounts `mount` over what `place` stands for.
pub(crate) fn attach(mount: impl AsFd, place: impl AsFd) -> rustix::io::Result<()> {
    move_mount(
        mount.as_fd(),
        "",
        place.as_fd(),
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// Whether a descriptor stands for a directory.
pub(crate) fn is_directory(descriptor: impl AsFd) -> io::Result<bool> {
    let mode = fstat(descriptor)?.st_mode;
    Ok(rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Directory)
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let none = || io::Error::other("a path without a name");
    Ok((path.parent().ok_or_else(none)?, path.file_name().ok_or_else(none)?))
}

/// The root holds directories and links, nothing else.
const ROOT_BYTES: u64 = 4 * 1024 * 1024;
/// One file for so many bytes of a file system in memory.
const BYTES_PER_FILE: u64 = 4096;
const FEWEST_FILES: u64 = 256;
