//! The root of a session's files: what its profile names, and nothing else.

use super::ContainError;
use super::error::because;
use super::found::{self, Found, Home, OWN};
use super::kernel::{Attributes, set_attributes};
use super::mounts::{self, NewRoot, attach};
use super::order::Order;
use super::own::{Own, cover};
use super::scratch::Scratch;
use crate::git;
use crate::profile::{Access, Allowed, Profile, Want};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What root gave while it was root, and the session's id could not reach.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The work directory, mounted nowhere yet.
    pub(crate) work: Option<OwnedFd>,
    /// The Workload API socket, mounted nowhere yet.
    pub(crate) socket: Option<OwnedFd>,
    /// The directory of its identity tokens, mounted nowhere yet.
    pub(crate) tokens: Option<OwnedFd>,
}

/// The new root is in place.
#[derive(Debug)]
pub(crate) struct Built {
    /// System roots and the session's anchor, yet to be written.
    pub(crate) bundle: File,
    /// The session's anchor alone, yet to be written.
    pub(crate) extra: File,
    /// What the profile wants and this host does not have.
    pub(crate) lacking: Vec<String>,
}

/// Makes the new root that of this process and all it starts, and lets go of the host's.
pub(crate) fn build(order: &Order, profile: &Profile, given: Given) -> Result<Built, ContainError> {
    let failed = |doing: &'static str| because(ContainError::Mounts, doing);
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(because(ContainError::UserNamespacesHeld, "make mounts private"))?;
    let nests = profile.kernel.namespaces == Allowed::Allow;
    let own = Own::find(nests)?;
    let system = found::system(profile);
    let home = found::home(order, profile);
    let work = match given.work {
        Some(mount) => Work::Given(mount),
        None => {
            let found = mounts::find_without_links(&order.work_dir);
            Work::Found(found.map_err(because(ContainError::WorkDir, "open it"))?)
        }
    };
    let socket = match given.socket {
        Some(mount) => Ok(mount),
        None => mounts::find(&order.socket).and_then(mounts::copy),
    };
    let socket = socket.map_err(because(ContainError::Socket, "find it"))?;
    let tokens = match (given.tokens, &order.tokens) {
        (Some(mount), _) => Some(Ok(mount)),
        (None, place) => place.as_deref().map(|place| mounts::find(place).and_then(mounts::copy)),
    };
    let tokens = tokens.transpose().map_err(failed("find the identity tokens"))?;
    let holes = found::holes(order, profile);
    let over = OVER.map(Path::new).into_iter().find(|over| over.is_dir()).unwrap_or(Path::new("/"));
    let root = NewRoot::over(over).map_err(failed("mount a root"))?;
    let mut builder = Builder {
        scratch: Scratch::new(&root, profile.limits.scratch.bytes())
            .map_err(failed("mount the session's own files"))?,
        root,
        overlay: profile.kernel.overlay,
        lacking: Vec::new(),
    };
    builder.system(&system).map_err(failed("mount the system's files"))?;
    builder.own(own).map_err(failed("mount /dev, /proc and /sys"))?;
    let (bundle, extra) = builder.run(&socket, tokens.as_ref(), &holes).map_err(failed("mount /run"))?;
    builder.home(order, home)?;
    builder.work(&order.work_dir, work, profile.files.work)?;
    builder.hide(order, profile).map_err(failed("hide what no session may see"))?;
    builder.holes(&holes).map_err(failed("mount the sockets that the profile names"))?;
    builder.enter().map_err(failed("change the root"))?;
    Ok(Built { bundle, extra, lacking: builder.lacking })
}

enum Work {
    Found(OwnedFd),
    Given(OwnedFd),
}

struct Builder {
    root: NewRoot,
    scratch: Scratch,
    overlay: Want,
    lacking: Vec<String>,
}

impl Builder {
    fn system(&self, all: &[(PathBuf, Found)]) -> io::Result<()> {
        for (path, found) in all {
            match found {
                // A link that is there already is one of the host's, below something that is read.
                Found::Link(to) => match self.root.link(path, to) {
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::ReadOnlyFilesystem) => {
                    }
                    done => done?,
                },
                Found::Place(place) => self.root.mount(mounts::read_only(place)?, path)?,
            }
        }
        Ok(())
    }

    fn own(&self, own: Own) -> io::Result<()> {
        let empty = self.empty()?;
        own.place(&self.root, self.scratch.part("shm", 0o1777)?, &empty)?;
        self.root.mount(self.scratch.part("vartmp", 0o1777)?, Path::new("/var/tmp"))?;
        for (path, to) in [("/var/run", "/run"), ("/var/lock", "/run/lock")] {
            if self.root.at(Path::new(path)).is_err_and(|error| error == Errno::NOENT) {
                // Below a host's /var there is one already, or none can be.
                let _: io::Result<()> = self.root.link(Path::new(path), Path::new(to));
            }
        }
        // Over the scratch file system itself, whose other parts can be reached no more.
        attach(self.scratch.part("tmp", 0o1777)?, self.root.at(Path::new("/tmp"))?)?;
        Ok(())
    }

    /// An empty file, for covering others.
    fn empty(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(openat(&self.scratch.top, "empty", flags, Mode::from_raw_mode(0o444))?)
    }

    /// `/run` with the Workload API socket, the CA files, the sockets that the profile names, and nothing else.
    /// What is seen is read-only; the files are written from outside of it.
    fn run(
        &self,
        socket: &OwnedFd,
        tokens: Option<&OwnedFd>,
        holes: &[(PathBuf, OwnedFd)],
    ) -> io::Result<(File, File)> {
        let run = Path::new("/run");
        let under = mounts::memory(RUN_BYTES, "755", false)?;
        self.root.mount(&under, run)?;
        let write = |path: &str| -> io::Result<File> {
            drop(self.root.file(Path::new(path))?);
            let inside = path.trim_start_matches("/run/");
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            Ok(File::from(openat(&under, inside, flags, Mode::empty())?))
        };
        let files = (write(super::BUNDLE_FILE)?, write(super::EXTRA_FILE)?);
        self.root.mount(socket, Path::new(super::WORKLOAD_SOCKET))?;
        if let Some(tokens) = tokens {
            let sealed = Attributes { read_only: true, no_devices: true, no_programs: true, map: None };
            set_attributes(tokens, true, sealed)?;
            self.root.mount(tokens, Path::new(super::TOKENS_DIRECTORY))?;
        }
        for (path, place) in holes.iter().filter(|(path, _)| path.starts_with(run)) {
            self.root.mount(mounts::copy(place)?, path)?;
        }
        let seen = mounts::copy(self.root.at(run)?)?;
        set_attributes(&seen, false, Attributes { read_only: true, no_devices: true, no_programs: true, map: None })?;
        attach(seen, self.root.at(run)?)?;
        Ok(files)
    }

    /// The sockets that the profile names elsewhere than in `/run`.
    fn holes(&self, holes: &[(PathBuf, OwnedFd)]) -> io::Result<()> {
        for (path, place) in holes.iter().filter(|(path, _)| !path.starts_with("/run")) {
            self.root.mount(mounts::copy(place)?, path)?;
        }
        Ok(())
    }

    fn home(&mut self, order: &Order, found: Home) -> Result<(), ContainError> {
        let Some(home) = order.home.as_deref().filter(|home| is_a_home(home)) else {
            return Ok(());
        };
        let failed = |doing: &'static str| because(ContainError::Mounts, doing);
        let own = self.scratch.part("home", 0o755).map_err(failed("make a home"))?;
        self.root.mount(&own, home).map_err(failed("mount home"))?;
        if let Some(text) = found.git {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(&own, git::FILE, flags, Mode::from_raw_mode(0o644));
            let written = file.map_err(io::Error::from).and_then(|file| File::from(file).write_all(text.as_bytes()));
            written.map_err(failed("say in home who commits"))?;
        }
        for (path, access, found) in found.entries {
            let at = if path == Path::new(".") { home.to_owned() } else { home.join(&path) };
            match found {
                Found::Link(to) => self.root.link(&at, &to).map_err(failed("make a link in home"))?,
                Found::Place(place) => self.give(place, access, &at)?,
            }
        }
        if let Some(named) = order.home_named.as_deref().filter(|named| *named != home) {
            // The name that the environment has for it leads there over a link.
            let _: io::Result<()> = self.root.link(named, home);
        }
        Ok(())
    }

    fn give(&mut self, place: OwnedFd, access: Access, at: &Path) -> Result<(), ContainError> {
        let failed = |error: io::Error| ContainError::Mounts(format!("mount {}: {error}", at.display()));
        let mount = match access {
            Access::Read => mounts::read_only(&place),
            Access::Write => mounts::writable(&place),
            Access::Copy => self.copied(&place)?.map_or_else(|| mounts::read_only(&place), Ok),
        };
        self.root.mount(mount.map_err(failed)?, at).map_err(failed)
    }

    /// `place` with the session's own writing over it; none where this host cannot and the profile lives without.
    fn copied(&mut self, place: &OwnedFd) -> Result<Option<OwnedFd>, ContainError> {
        if self.overlay == Want::Off || !mounts::is_directory(place)? {
            return Ok(None);
        }
        match self.scratch.over(place) {
            Ok(mount) => Ok(Some(mount)),
            Err(error) if self.overlay == Want::Required => Err(ContainError::Seal(format!(
                "no overlayfs in a user namespace, which the profile requires: {error}"
            ))),
            Err(_) => {
                let sentence =
                    "this host has no overlayfs in a user namespace: what the profile copies can only be read";
                if !self.lacking.iter().any(|said| said == sentence) {
                    self.lacking.push(sentence.to_owned());
                }
                Ok(None)
            }
        }
    }

    fn work(&mut self, at: &Path, work: Work, access: Access) -> Result<(), ContainError> {
        let failed = because(ContainError::WorkDir, "mount it");
        let mount = match work {
            Work::Found(place) => return self.give(place, access, at),
            Work::Given(mount) => mount,
        };
        if access != Access::Write {
            let attributes = Attributes { read_only: true, no_devices: true, ..Attributes::default() };
            if let Err(error) = set_attributes(&mount, true, attributes) {
                return Err(failed(error));
            }
        }
        self.root.mount(&mount, at).map_err(failed)?;
        if access == Access::Copy {
            self.give(mount, access, at)?;
        }
        Ok(())
    }

    /// Covers what no session may see, wherever it would show.
    fn hide(&self, order: &Order, profile: &Profile) -> io::Result<()> {
        let empty = openat(&self.scratch.top, "empty", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let written = self.written(order, profile);
        for path in order.hide.iter().chain(&profile.files.hide) {
            match self.root.at(path) {
                Ok(_) => {
                    self.pin(&written, path)?;
                    // Found anew, as what was found before is below what is pinned.
                    cover(&self.root.at(path)?, &empty)?;
                }
                // Not there, or beyond what the session may pass. Behind a link it is covered where it really is.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What of the host a session writes.
    fn written(&self, order: &Order, profile: &Profile) -> Vec<PathBuf> {
        let entries = profile.home.iter().filter(|entry| entry.access == Access::Write);
        let home = order.home.as_deref().unwrap_or(Path::new("/"));
        entries.map(|entry| home.join(&entry.path)).chain([order.work_dir.clone()]).collect()
    }

    /// Directories above something covered must stay where they are: moved away, it would be found by the next
    /// session under another name. A mount point cannot be moved.
    fn pin(&self, written: &[PathBuf], path: &Path) -> io::Result<()> {
        let inside = |above: &&Path| written.iter().any(|top| above.starts_with(top) && above != top);
        let mut above: Vec<_> = path.ancestors().skip(1).filter(inside).collect();
        above.reverse();
        for directory in above {
            let place = self.root.at(directory)?;
            attach(mounts::copy(&place)?, place)?;
        }
        Ok(())
    }

    fn enter(&self) -> io::Result<()> {
        set_attributes(
            self.root.top(),
            false,
            Attributes { read_only: true, no_devices: true, ..Attributes::default() },
        )?;
        rustix::process::fchdir(self.root.top())?;
        // The old root is put over the new one, and taken away from there (pivot_root(2)).
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }
}

/// A home that can be made: not the root, nor what is made for every session, nor where programs are, as the homes of
/// some system users are.
fn is_a_home(home: &Path) -> bool {
    home.is_absolute()
        && home.parent().is_some()
        && !OWN.iter().any(|own| home == Path::new(own))
        && !PROGRAMS.iter().any(|place| home.starts_with(place) || Path::new(place).starts_with(home))
}

/// The new root is built over the first of these that there is; on the host nothing changes.
const OVER: [&str; 3] = ["/tmp", "/run", "/usr"];
/// Where programs and their settings are.
const PROGRAMS: [&str; 9] =
    ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/share", "/usr/games", "/bin", "/sbin", "/lib", "/etc"];
/// CA files, and the names of sockets.
const RUN_BYTES: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_home_is_made_over_programs() {
        for home in ["/home/ann", "/root", "/var/lib/jenkins", "/opt/app", "/tmp/home"] {
            assert!(is_a_home(Path::new(home)), "{home}");
        }
        for home in ["/", "", "/usr/sbin", "/usr", "/bin", "/dev", "/usr/games", "/etc/x", "relative"] {
            assert!(!is_a_home(Path::new(home)), "{home}");
        }
    }
}
