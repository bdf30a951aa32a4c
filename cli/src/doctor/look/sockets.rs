//! A socket of the helper's, as this user finds it.

use crate::doctor::scene::Door;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Looks at the way there, and connects if that is `quiet`: the helper notes whoever asks for a session and then says
/// nothing.
pub fn door(path: &Path, quiet: bool) -> Door {
    let barrier = barrier(path);
    let outcome = match barrier {
        Some(_) => Err(ErrorKind::PermissionDenied),
        None if quiet => UnixStream::connect(path).map(drop).map_err(|error| error.kind()),
        None => Ok(()),
    };
    Door { path: path.to_owned(), outcome, barrier, unsafe_dir: path.parent().and_then(unsafe_dir) }
}

/// The first directory on the way that this user may not pass, or the socket itself.
fn barrier(path: &Path) -> Option<(PathBuf, u32)> {
    let mut way: Vec<_> = path.ancestors().skip(1).collect();
    way.reverse();
    let closed = |place: &Path, wanted| accessat(CWD, place, wanted, AtFlags::EACCESS).is_err();
    let dir = way.into_iter().find(|dir| closed(dir, Access::EXEC_OK));
    let place = dir.or_else(|| closed(path, Access::WRITE_OK).then_some(path))?;
    Some((place.to_owned(), mode(place)?))
}

/// The socket's directory, if others than its owner can make files in it; a sticky one keeps them from replacing what
/// is not theirs, but not from being first.
fn unsafe_dir(dir: &Path) -> Option<(PathBuf, u32)> {
    let mode = mode(dir)?;
    (mode & 0o022 != 0).then(|| (dir.to_owned(), mode))
}

fn mode(place: &Path) -> Option<u32> {
    std::fs::metadata(place).ok().map(|about| about.mode() & 0o7777)
}
