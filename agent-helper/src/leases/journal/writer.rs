//! The one task that writes.

use super::{Key, MOST_OWED, line, rewrite};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// Something to write, and who waits for it.
pub(super) struct Entry {
    pub(super) key: Key,
    /// The line of what is owed; none if it is settled.
    pub(super) owed: Option<String>,
    pub(super) reply: oneshot::Sender<bool>,
}

pub(super) struct Writer {
    path: PathBuf,
    file: File,
    held: HashMap<Key, String>,
    size: u64,
    lines: usize,
    /// What the disk holds is not known: nothing is written until the next start.
    failed: bool,
}

impl Writer {
    pub(super) fn new(path: PathBuf, file: File, held: HashMap<Key, String>) -> Self {
        let size = file.metadata().map_or(0, |about| about.len());
        Self { path, file, lines: held.len(), held, size, failed: false }
    }

    /// Writes what is queued until nobody can queue anything more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        while let Some(first) = queue.recv().await {
            let mut batch = vec![first];
            while batch.len() < MOST_TOGETHER
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            let written = tokio::task::spawn_blocking(move || {
                self.write(batch);
                if self.lines > LONG && self.lines > LONG_FOR * self.held.len() {
                    self.compact();
                }
                self
            });
            match written.await {
                Ok(this) => self = this,
                // Whoever waits is told by the queue's end that nothing was written.
                Err(_) => return,
            }
        }
    }

    /// Makes a batch durable, all that fits of it or nothing.
    fn write(&mut self, batch: Vec<Entry>) {
        let mut bytes = Vec::new();
        let mut written = Vec::with_capacity(batch.len());
        let mut more = self.held.len();
        for entry in batch {
            let text = match &entry.owed {
                Some(text) if self.held.contains_key(&entry.key) => Some(text.clone()),
                Some(text) if more < MOST_OWED => {
                    more += 1;
                    Some(text.clone())
                }
                // As much is owed as can be.
                Some(_) => None,
                None => line::settled(&entry.key),
            };
            match text {
                Some(text) => {
                    bytes.extend_from_slice(text.as_bytes());
                    written.push(entry);
                }
                None => drop(entry.reply.send(false)),
            }
        }
        let durable = !self.failed && self.durable(&bytes);
        for entry in written {
            if durable {
                self.lines += 1;
                match entry.owed {
                    Some(text) => self.held.insert(entry.key, text),
                    None => self.held.remove(&entry.key),
                };
            }
            // Who asked may be gone: what is written is owed all the same, and is given back.
            let _ = entry.reply.send(durable);
        }
    }

    fn durable(&mut self, bytes: &[u8]) -> bool {
        if let Err(error) = self.file.write_all(bytes) {
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            self.failed = !(full && self.file.set_len(self.size).is_ok());
            tracing::error!(%error, failed = self.failed, "leases.journal.write");
            return false;
        }
        if let Err(error) = self.file.sync_data() {
            // Syncing again could report success for pages that the kernel has dropped (fault F09).
            self.failed = true;
            tracing::error!(%error, "leases.journal.sync");
            return false;
        }
        self.size += bytes.len() as u64;
        true
    }

    fn compact(&mut self) {
        match rewrite(&self.path, self.held.values().map(String::as_str)) {
            Ok(file) => *self = Self::new(self.path.clone(), file, std::mem::take(&mut self.held)),
            Err(error) => {
                // Tried again when it has doubled; until then the long one does.
                tracing::warn!(%error, "leases.journal.compact");
                self.lines = 0;
            }
        }
    }
}

/// Entries that are written and synced together.
const MOST_TOGETHER: usize = 1024;
/// A journal with more lines is written anew,
const LONG: usize = 4096;
/// if it has so many for each obligation.
const LONG_FOR: usize = 4;
