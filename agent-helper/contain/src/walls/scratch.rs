//! What is written to a session's own places.

use super::mounts::{self, NewRoot};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// All that a session writes to what is its own, in one file system with one limit.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) top: OwnedFd,
    overlays: u32,
}

impl Scratch {
    /// An empty one, mounted at `/tmp` for as long as the root is built.
    pub(crate) fn new(root: &NewRoot, bytes: u64) -> io::Result<Self> {
        let top = mounts::memory(bytes, "755", true)?;
        root.mount(&top, Path::new("/tmp"))?;
        Ok(Self { top, overlays: 0 })
    }

    /// A mount of a new directory in it.
    pub(crate) fn part(&self, name: &str, mode: u32) -> io::Result<OwnedFd> {
        mounts::writable(self.place(name, mode)?)
    }

    fn place(&self, name: &str, mode: u32) -> io::Result<OwnedFd> {
        mkdirat(&self.top, name, Mode::from_raw_mode(mode))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let place = openat(&self.top, name, flags, Mode::empty())?;
        // Whatever the caller's mask is.
        rustix::fs::fchmod(&place, Mode::from_raw_mode(mode))?;
        Ok(place)
    }

    /// What is below `lower`, with what the session writes over it.
    pub(crate) fn over(&mut self, lower: &OwnedFd) -> io::Result<OwnedFd> {
        self.overlays += 1;
        let upper = self.place(&format!("upper-{}", self.overlays), 0o755)?;
        let work = self.place(&format!("work-{}", self.overlays), 0o755)?;
        let (lower, upper, work) = (mounts::path_of(lower), mounts::path_of(&upper), mounts::path_of(&work));
        let options = [("lowerdir", lower.as_str()), ("upperdir", &upper), ("workdir", &work)];
        mounts::fresh("overlay", &options, &["userxattr"], true)
    }
}
