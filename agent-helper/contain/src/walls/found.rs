//! What a profile names of the host, found before the new root covers anything.

use super::mounts;
use super::order::Order;
use crate::git;
use crate::profile::{Access, Profile};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Something that a profile names, as it was found.
pub(crate) enum Found {
    Place(OwnedFd),
    Link(PathBuf),
}

/// What the profile reads of the system.
pub(crate) fn system(profile: &Profile) -> Vec<(PathBuf, Found)> {
    let mut all = Vec::new();
    for path in &profile.files.read {
        if path == Path::new("/") {
            let names = std::fs::read_dir("/").into_iter().flatten().flatten().map(|entry| entry.path());
            all.extend(names.filter(|path| !OWN.iter().any(|own| path == Path::new(own))));
        } else if !OWN.iter().any(|own| path.starts_with(own)) {
            all.push(path.clone());
        }
    }
    all.sort();
    all.dedup();
    all.into_iter().filter_map(|path| Some((path.clone(), found(&path)?))).collect()
}

/// What is at a path of the system's: a link is made again and not followed.
fn found(path: &Path) -> Option<Found> {
    if let Ok(to) = std::fs::read_link(path) {
        return Some(Found::Link(to));
    }
    mounts::find(path).ok().map(Found::Place)
}

/// Home and the entries of it that the profile names, each with how it is given.
pub(crate) struct Home {
    pub(crate) entries: Vec<(PathBuf, Access, Found)>,
    /// Who commits.
    pub(crate) git: Option<String>,
}

/// Finds them. What is not there is passed over.
pub(crate) fn home(order: &Order, profile: &Profile) -> Home {
    let Some(home) = order.home.as_deref().and_then(|home| mounts::find(home).ok()) else {
        return Home { entries: Vec::new(), git: None };
    };
    let mut entries: Vec<_> = profile.home.iter().collect();
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let look = |path: &Path| {
        // No link on the way: what a session may write in must not lead the next one elsewhere.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let (above, name) = (path.parent()?, path.file_name());
        let Some(name) = name else {
            return openat(&home, ".", flags, Mode::empty()).ok().map(Found::Place);
        };
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let above =
            openat2(&home, above, flags | OFlags::DIRECTORY, Mode::empty(), resolve | ResolveFlags::NO_SYMLINKS)
                .ok()?;
        if let Ok(to) = rustix::fs::readlinkat(&above, name, Vec::new()) {
            use std::os::unix::ffi::OsStringExt as _;
            return Some(Found::Link(PathBuf::from(std::ffi::OsString::from_vec(to.into_bytes()))));
        }
        openat2(&above, name, flags, Mode::empty(), resolve).ok().map(Found::Place)
    };
    let entries = entries.into_iter().filter_map(|entry| Some((entry.path.clone(), entry.access, look(&entry.path)?)));
    Home { entries: entries.collect(), git: git::identity(&home) }
}

/// The sockets that the profile names and that are there, where they really are.
pub(crate) fn holes(order: &Order, profile: &Profile) -> Vec<(PathBuf, OwnedFd)> {
    let home = order.home.as_deref().unwrap_or(Path::new("/"));
    let paths = profile.sockets.iter().filter_map(|hole| hole.path(home, order.runtime_dir.as_deref()));
    let paths = paths.filter_map(|path| path.canonicalize().ok());
    paths.filter_map(|path| Some((path.clone(), mounts::find(&path).ok()?))).collect()
}

/// What every session has as its own, whatever a profile names.
pub(crate) const OWN: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];
