//! The spool's files: names, permissions, whole replacements.

use super::SpoolFault;
use avouch_audit::spool::SpoolId;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) const MARKER: &str = "spool";
pub(super) const ACKED: &str = "acked";
pub(super) const BROKEN: &str = "broken";
const LOCK: &str = "lock";

pub(super) fn fault(path: &Path, why: &io::Error) -> SpoolFault {
    SpoolFault::Open { path: path.display().to_string(), why: why.to_string() }
}

/// The spool's directory, made if it is not there, nobody else's, and locked for this process.
pub(super) fn take(directory: &Path) -> Result<File, SpoolFault> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|why| fault(directory, &why))?;
    let about = fs::symlink_metadata(directory).map_err(|why| fault(directory, &why))?;
    if !about.is_dir() || about.uid() != nix::unistd::geteuid().as_raw() || about.mode() & 0o077 != 0 {
        return Err(SpoolFault::Permissions(directory.display().to_string()));
    }
    let path = directory.join(LOCK);
    let lock = options().create(true).truncate(false).open(&path).map_err(|why| fault(&path, &why))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SpoolFault::Held(directory.display().to_string())),
        Err(TryLockError::Error(why)) => Err(fault(&path, &why)),
    }
}

/// A new, empty segment.
pub(super) fn create_segment(directory: &Path, spool: SpoolId, first: u64) -> io::Result<(PathBuf, File)> {
    let path = directory.join(segment_name(spool, first));
    let file = options().append(true).create_new(true).open(&path)?;
    if let Err(why) = sync_directory(directory) {
        // An empty file would be in the way of the next try.
        remove(&path)?;
        return Err(why);
    }
    Ok((path, file))
}

/// A segment that is there, to write on.
pub(super) fn open_segment(path: &Path) -> io::Result<File> {
    options().append(true).open(path)
}

/// The segments of a spool by their first number, in order.
pub(super) fn segments(directory: &Path, spool: SpoolId) -> io::Result<Vec<(u64, PathBuf)>> {
    let prefix = format!("{spool}-");
    let mut found = Vec::new();
    for item in fs::read_dir(directory)? {
        let item = item?;
        let name = item.file_name();
        let first = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".jsonl")?.parse().ok());
        if let Some(first) = first {
            found.push((first, item.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// A spool of which there are records, whatever the marker says.
pub(super) fn any_spool(directory: &Path) -> io::Result<Option<SpoolId>> {
    for item in fs::read_dir(directory)? {
        let item = item?;
        let name = item.file_name();
        let id = name.to_str().filter(|name| name.ends_with(".jsonl")).and_then(|name| SpoolId::parse(name.get(..32)?));
        if id.is_some() && item.metadata()?.len() > 0 {
            return Ok(id);
        }
    }
    Ok(None)
}

/// Replaces a small file as a whole: after a crash it is the old one or the new one.
pub(super) fn replace(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = options().create(true).truncate(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, directory.join(name))?;
    sync_directory(directory)
}

/// A small file; none if it is not there.
pub(super) fn read(directory: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(directory.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}

/// Takes a file away; it may be gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// Makes names durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC);
    options
}

fn segment_name(spool: SpoolId, first: u64) -> String {
    format!("{spool}-{first:020}.jsonl")
}
