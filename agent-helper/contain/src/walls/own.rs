//! `/dev`, `/proc` and `/sys` of a session: made anew, or the least of the host's.

use super::ContainError;
use super::error::because;
use super::kernel::{Attributes, set_attributes};
use super::mounts::{self, NewRoot, attach};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What is taken from the host's own, found before the new root covers anything.
#[derive(Debug)]
pub(crate) struct Own {
    devices: Vec<(PathBuf, OwnedFd)>,
    system: Vec<(PathBuf, OwnedFd)>,
    proc: OwnedFd,
    /// A second `/proc`, never reached by a path.
    whole: Option<OwnedFd>,
}

impl Own {
    /// Finds it. Where `nests`, sandboxes inside may mount a `/proc` of their own.
    pub(crate) fn find(nests: bool) -> Result<Self, ContainError> {
        let device = |name: &&str| {
            let path = Path::new("/dev").join(name);
            Ok((path.clone(), mounts::find(&path)?))
        };
        let devices = DEVICES.iter().map(device).collect::<io::Result<_>>();
        let devices = devices.map_err(because(ContainError::Mounts, "look for the usual devices in /dev"))?;
        let system =
            SYSTEM.iter().map(PathBuf::from).filter_map(|path| Some((path.clone(), mounts::find(&path).ok()?)));
        let fresh = || mounts::fresh("proc", &[], &[], false).map_err(because(ContainError::FreshProc, "mount proc"));
        Ok(Self { devices, system: system.collect(), proc: fresh()?, whole: nests.then(fresh).transpose()? })
    }

    /// Puts it in place. `shared` becomes `/dev/shm`, `empty` is an empty file that nobody can read.
    pub(crate) fn place(self, root: &NewRoot, shared: OwnedFd, empty: &OwnedFd) -> io::Result<()> {
        if let Some(whole) = &self.whole {
            // The kernel lets a namespace mount /proc only if it has one already of which no part is covered. This
            // one is complete, and what is mounted at /run next covers the way to it.
            root.mount(whole, Path::new("/run/proc"))?;
        }
        self.devices(root, shared)?;
        root.mount(&self.proc, Path::new("/proc"))?;
        mask(root, empty)?;
        for (path, found) in &self.system {
            root.mount(least(found)?, path)?;
        }
        Ok(())
    }

    fn devices(&self, root: &NewRoot, shared: OwnedFd) -> io::Result<()> {
        let dev = Path::new("/dev");
        root.mount(mounts::memory(DEV_BYTES, "755", false)?, dev)?;
        for (path, found) in &self.devices {
            let copied = mounts::copy(found)?;
            set_attributes(&copied, false, Attributes { no_programs: true, ..Attributes::default() })?;
            root.mount(copied, path)?;
        }
        for (name, to) in LINKS {
            root.link(&dev.join(name), Path::new(to))?;
        }
        root.mount(shared, &dev.join("shm"))?;
        let terminals = [("ptmxmode", "0666"), ("mode", "0620"), ("max", MOST_TERMINALS)];
        root.mount(mounts::devices("devpts", &terminals, &["newinstance"])?, &dev.join("pts"))?;
        // Nothing is made in /dev from here on.
        let place = root.at(dev)?;
        set_attributes(&place, false, Attributes { read_only: true, no_programs: true, ..Attributes::default() })
    }
}

/// Covers what of `/proc` tells of the host or changes it. Root alone could write most of it, and no process of a
/// session is the host's root; this does not depend on that.
fn mask(root: &NewRoot, empty: &OwnedFd) -> io::Result<()> {
    for path in READ_ONLY.iter().map(Path::new) {
        if let Ok(found) = root.at(path) {
            attach(least(&found)?, found)?;
        }
    }
    for path in COVERED.iter().map(Path::new) {
        if let Ok(found) = root.at(path) {
            cover(&found, empty)?;
        }
    }
    Ok(())
}

/// Mounts something empty over it.
pub(crate) fn cover(place: &OwnedFd, empty: &OwnedFd) -> io::Result<()> {
    let cover = if mounts::is_directory(place)? {
        let nothing = mounts::memory(NOTHING_BYTES, "555", false)?;
        set_attributes(&nothing, false, Attributes { read_only: true, ..Attributes::default() })?;
        nothing
    } else {
        mounts::read_only(empty)?
    };
    Ok(attach(cover, place)?)
}

fn least(place: &OwnedFd) -> io::Result<OwnedFd> {
    let copied = mounts::copy(place)?;
    let attributes = Attributes { read_only: true, no_devices: true, no_programs: true, map: None };
    set_attributes(&copied, true, attributes)?;
    Ok(copied)
}

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What runtimes read to size themselves: processors, memory nodes, page sizes.
const SYSTEM: [&str; 3] =
    ["/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage"];
/// Parts of `/proc` that can change the kernel, kept readable as programs look into them.
const READ_ONLY: [&str; 4] = ["/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq"];
/// Parts of `/proc` that no program needs.
const COVERED: [&str; 15] = [
    "/proc/sysrq-trigger",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/kallsyms",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/latency_stats",
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/proc/mtrr",
];
const DEV_BYTES: u64 = 64 * 1024;
const NOTHING_BYTES: u64 = 4096;
/// Terminals of one session; the kernel's own count is for the whole host.
const MOST_TERMINALS: &str = "256";
