//! A file with one value, that something else on the node keeps up to date: an agent of another store, systemd's
//! credentials, a mounted Secret. It is a secret's file: plain, its owner root or the helper's own user, readable by
//! nobody else. It is read anew when it is another file or was written to.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use avouch_words::{Name, Reference};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::value::{ROOM, lease_of_line};
use crate::{Doing, Lease, Obligations, Source, SourceFault, Wanted};

/// How often a file is read that is written to while it is read.
pub const MAX_READS: usize = 3;

/// Where a service manager puts the credentials of a service (systemd.exec(5)).
pub const CREDENTIALS_DIRECTORY: &str = "$CREDENTIALS_DIRECTORY/";

const ROOT: u32 = 0;
/// What its mode may not say: that others than its owner can use it.
const OTHERS: u32 = 0o077;
/// The same for root's files in [`CREDENTIALS_DIRECTORY`]: the group's right to read is how the mode shows the access
/// list by which systemd lets in the service's user, and the directory lets in nobody else.
const OTHERS_THAN_THE_SERVICE: u32 = 0o037;

/// A file as a source. It has one value, so references to it are empty.
pub struct FileSource {
    name: Name,
    path: PathBuf,
    not_others: u32,
}

impl FileSource {
    /// The file at this path, which begins with `/` or with [`CREDENTIALS_DIRECTORY`], for which `credentials` is put
    /// if the helper was given such a directory. None if the path is neither.
    pub fn new(name: Name, path: &str, credentials: Option<&Path>) -> Option<Self> {
        if let Some(below) = path.strip_prefix(CREDENTIALS_DIRECTORY) {
            let path = credentials?.join(below);
            return Some(Self { name, path, not_others: OTHERS_THAN_THE_SERVICE });
        }
        Path::new(path).is_absolute().then(|| Self { name, path: path.into(), not_others: OTHERS })
    }

    fn read_once(&self) -> Result<Option<Lease>, SourceFault> {
        let mut file = open(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => SourceFault::Missing,
            kind => {
                tracing::warn!(source = %self.name, path = %self.path.display(), %kind, "the file cannot be opened");
                SourceFault::Denied
            }
        })?;
        let before = file.metadata().map_err(|_| SourceFault::Unavailable)?;
        if let Some(wrong) = self.what_is_wrong(&before) {
            tracing::warn!(source = %self.name, path = %self.path.display(), "{wrong}");
            return Err(SourceFault::Denied);
        }
        // A buffer that grew would leave copies behind, so it has its full size from the start.
        let mut bytes = Zeroizing::new(vec![0; ROOM]);
        let mut length = 0;
        while length < bytes.len() {
            match file.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(SourceFault::Unavailable),
            }
        }
        bytes.truncate(length);
        let version = version(&before);
        if version != self::version(&file.metadata().map_err(|_| SourceFault::Unavailable)?) {
            return Ok(None);
        }
        let mut lease = lease_of_line(&bytes)?;
        lease.version = Some(version);
        Ok(Some(lease))
    }

    /// A sentence for the log.
    fn what_is_wrong(&self, meta: &Metadata) -> Option<String> {
        let (mode, own) = (meta.mode() & 0o7777, rustix::process::geteuid().as_raw());
        if !meta.is_file() {
            Some("it is not a plain file: put one there, not a link to one".to_owned())
        } else if meta.uid() != ROOT && meta.uid() != own {
            Some(format!("it belongs to uid {}: give it to root or to uid {own}", meta.uid()))
        } else if mode & OTHERS != 0 && (meta.uid() != ROOT || mode & self.not_others != 0) {
            Some(format!("its mode is {mode:04o}, so others than its owner can use it: chmod go= it"))
        } else {
            None
        }
    }
}

impl Source for FileSource {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "file"
    }

    fn check_reference(&self, reference: &Reference) -> Result<(), String> {
        match reference.as_str() {
            "" => Ok(()),
            _ => Err("a file has one value: leave the reference out".to_owned()),
        }
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, _owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(async move {
            self.check_reference(&wanted.reference).map_err(|_| SourceFault::Reference)?;
            // A few hundred bytes of a local file: less work than handing it to another thread.
            for _ in 0..MAX_READS {
                if let Some(lease) = self.read_once()? {
                    return Ok(lease);
                }
            }
            Err(SourceFault::Unavailable)
        })
    }

    fn is_current(&self, _reference: &Reference, version: &str) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|meta| self::version(&meta) == version)
    }
}

/// Neither through a link, nor waiting for the other end of a pipe.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Which file it is and when it was last touched. A file that is put over another by `rename` has another inode; one
/// whose times were set back still has a later time of change, which nobody can set.
fn version(meta: &Metadata) -> String {
    let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()].map(|time| format!("{time:x}"));
    format!("{:x}-{:x}-{:x}-{}", meta.dev(), meta.ino(), meta.size(), times.join("-"))
}

#[cfg(test)]
mod tests;
