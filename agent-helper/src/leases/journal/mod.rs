//! The journal of what is owed, on the helper's own disk: an obligation is in it when [`Journal::record`] returns, and
//! not before.
//!
//! One file of mode 0600. Its first line is `avouch-leases 1`; each line after it is the first 16 hexadecimal digits of
//! the SHA-256 of the rest, a space, and JSON: `{"owed":{…}}` for an obligation (one of the same source and id is
//! replaced) or `{"settled":{"source":…,"id":…}}`. Lines are only appended. A line that does not fit its sum is what a
//! crash tore, or damage: it is passed over and said, and nothing that can be read is lost to it. A start writes the
//! file anew with what is still owed and puts it in the old one's place; so does a journal that has become long for
//! what is owed.
//!
//! One task writes. What has queued up while it waited for the disk is written and synced together: what an obligation
//! costs is one `fdatasync`, and a share of one under load.

mod line;
mod writer;

use avouch_sources::{Obligation, SourceFault};
use avouch_words::Name;
use line::Line;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use writer::{Entry, Writer};

/// As much can be owed at once; who wants more is refused.
pub const MOST_OWED: usize = 16_384;
/// The longest id of a lease or accessor of a token, in bytes.
pub const LONGEST_ID: usize = 512;
/// How long an entry may take to be durable.
const DEADLINE: Duration = Duration::from_secs(5);
/// Entries that wait to be written.
const WAITING: usize = 4096;
/// The longest file that is read.
const LONGEST_FILE: u64 = 256 * 1024 * 1024;

/// What names an obligation: its source, and its id there.
pub(crate) type Key = (Name, String);

/// The journal cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub struct JournalFault {
    /// The file.
    path: PathBuf,
    /// What the system says.
    #[source]
    why: io::Error,
}

/// What a journal held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// What was owed.
    pub(crate) owed: Vec<Obligation>,
    /// Lines that could not be read, a torn end among them.
    pub(crate) unreadable: usize,
}

/// The journal, as those who write to it have it.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: mpsc::Sender<Entry>,
}

impl Journal {
    /// Opens the file, or makes it. Blocks for that, and writes on the runtime that it is called on.
    pub(crate) fn open(path: &Path) -> Result<(Self, Before), JournalFault> {
        let fault = |why| JournalFault { path: path.to_owned(), why };
        let (held, before) = read(path).map_err(fault)?;
        let file = rewrite(path, held.values().map(String::as_str)).map_err(fault)?;
        let (entries, queue) = mpsc::channel(WAITING);
        tokio::spawn(Writer::new(path.to_owned(), file, held).run(queue));
        Ok((Self { entries }, before))
    }

    /// Writes what is owed; when it returns, that is durable.
    pub(crate) async fn record(&self, owed: &Obligation) -> Result<(), SourceFault> {
        if owed.id.is_empty() || owed.id.len() > LONGEST_ID {
            return Err(SourceFault::NotRecorded);
        }
        let key = (owed.source.clone(), owed.id.clone());
        self.write(key, Some(line::owed(owed).ok_or(SourceFault::NotRecorded)?)).await
    }

    /// Writes that something is owed no more.
    pub(crate) async fn settle(&self, key: &Key) -> Result<(), SourceFault> {
        self.write(key.clone(), None).await
    }

    async fn write(&self, key: Key, owed: Option<String>) -> Result<(), SourceFault> {
        let (reply, written) = oneshot::channel();
        let whole = async {
            self.entries.send(Entry { key, owed, reply }).await.ok()?;
            written.await.ok()
        };
        match tokio::time::timeout(DEADLINE, whole).await {
            Ok(Some(true)) => Ok(()),
            Ok(Some(false) | None) | Err(_) => Err(SourceFault::NotRecorded),
        }
    }
}

/// What is in the file: the lines that still count, and what they say.
fn read(path: &Path) -> io::Result<(HashMap<Key, String>, Before)> {
    let mut text = Vec::new();
    match options().read(true).open(path) {
        Ok(file) => file.take(LONGEST_FILE).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let mut before = Before::default();
    match lines.next() {
        None => {}
        Some(first) if first == HEAD => {}
        // Another version's, or no journal at all: not to be written over.
        Some(first) if first.ends_with(b"\n") => return Err(io::ErrorKind::InvalidData.into()),
        Some(_) => before.unreadable += 1,
    }
    let mut owed: HashMap<Key, (Obligation, String)> = HashMap::new();
    for line in lines {
        match line::read(line) {
            Some(Line::Owed(one)) => {
                let text = String::from_utf8_lossy(line).into_owned();
                owed.insert((one.source.clone(), one.id.clone()), (one, text));
            }
            Some(Line::Settled(key)) => drop(owed.remove(&key)),
            None => before.unreadable += 1,
        }
    }
    let mut held = HashMap::with_capacity(owed.len());
    for (key, (one, text)) in owed {
        before.owed.push(one);
        held.insert(key, text);
    }
    Ok((held, before))
}

/// Puts a file with these lines in the place of the one there is: after a crash it is the old one or the new one.
fn rewrite<'a>(path: &Path, lines: impl Iterator<Item = &'a str>) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut file = options().create(true).write(true).truncate(true).open(&new)?;
    let mut bytes = HEAD.to_vec();
    lines.for_each(|line| bytes.extend_from_slice(line.as_bytes()));
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    options().append(true).open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC);
    options
}

const HEAD: &[u8] = b"avouch-leases 1\n";

#[cfg(test)]
mod tests;
