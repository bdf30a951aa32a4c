//! Reading a file that is a secret's.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use avouch_words::Name;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::SourceFault;
use crate::value::ROOM;

use super::{CREDENTIALS_DIRECTORY, MAX_READS};

const ROOT: u32 = 0;
/// What its mode may not say: that others than its owner can use it.
const OTHERS: u32 = 0o077;
/// The same for root's files in [`CREDENTIALS_DIRECTORY`]: the group's right to read is how the mode shows the access
/// list by which systemd lets in the service's user, and the directory lets in nobody else.
const OTHERS_THAN_THE_SERVICE: u32 = 0o037;

/// A plain file of root or of the helper's own user, that nobody else can use.
#[derive(Debug, Clone)]
pub(crate) struct PrivateFile {
    path: PathBuf,
    not_others: u32,
}

/// What a file held, and which file it was, when.
pub(crate) struct Held {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) version: String,
}

impl PrivateFile {
    /// The file at this path, which begins with `/` or with [`CREDENTIALS_DIRECTORY`], for which `credentials` is put.
    pub(crate) fn new(path: &str, credentials: Option<&Path>) -> Option<Self> {
        if let Some(below) = path.strip_prefix(CREDENTIALS_DIRECTORY) {
            return Some(Self { path: credentials?.join(below), not_others: OTHERS_THAN_THE_SERVICE });
        }
        Path::new(path).is_absolute().then(|| Self { path: path.into(), not_others: OTHERS })
    }

    /// Reads it; the source is only named in the log.
    pub(crate) fn read(&self, source: &Name) -> Result<Held, SourceFault> {
        for _ in 0..MAX_READS {
            if let Some(held) = self.read_once(source)? {
                return Ok(held);
            }
        }
        Err(SourceFault::Unavailable)
    }

    /// Which file lies there now, and when it was last touched.
    pub(crate) fn version(&self) -> Option<String> {
        std::fs::symlink_metadata(&self.path).ok().map(|meta| version(&meta))
    }

    /// None if it was written to meanwhile.
    fn read_once(&self, source: &Name) -> Result<Option<Held>, SourceFault> {
        let mut file = open(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => SourceFault::Missing,
            kind => {
                tracing::warn!(%source, path = %self.path.display(), %kind, "the file cannot be opened");
                SourceFault::Denied
            }
        })?;
        let meta = file.metadata().map_err(|_| SourceFault::Unavailable)?;
        if let Some(wrong) = self.what_is_wrong(&meta) {
            tracing::warn!(%source, path = %self.path.display(), "{wrong}");
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
        let (before, after) = (version(&meta), version(&file.metadata().map_err(|_| SourceFault::Unavailable)?));
        Ok((before == after).then_some(Held { bytes, version: before }))
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

impl std::fmt::Display for PrivateFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// Neither through a link, nor waiting for the other end of a pipe.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// A file that is put over another by `rename` has another inode; one whose times were set back still has a later
/// time of change, which nobody can set.
fn version(meta: &Metadata) -> String {
    let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()].map(|time| format!("{time:x}"));
    format!("{:x}-{:x}-{:x}-{}", meta.dev(), meta.ino(), meta.size(), times.join("-"))
}
