//! The audit log's entries and signed heads. Entries are appended in the transaction of the change that they record.

use crate::cells::{Cells, signed};
use crate::error::StoreError;
use crate::sql::{Row, insert, query};
use crate::traces::Trace;
use crate::tx::{Read, Tx};
use avouch_audit::entry::{Body, Log, SealedEntry};
use avouch_audit::field::Commitment;
use avouch_audit::tree::Tree;
use avouch_words::{Digest, Millis, SpiffeId};

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number.
    pub index: u64,
    /// Its canonical form.
    pub bytes: Vec<u8>,
}

/// A signed head as it is kept, with the tree it was signed over, so that a restart reads no old leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// The tree.
    pub tree: Tree,
    /// The signed note.
    pub note: String,
    /// When it was signed.
    pub created: Millis,
}

/// What a transaction appends.
#[derive(Default)]
pub(crate) struct LogTail {
    log: Option<Log>,
    sealed: Vec<SealedEntry>,
    traces: Vec<Trace>,
    /// The first entry that this transaction has written out already.
    pub(crate) written: Option<u64>,
}

impl LogTail {
    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.written.is_none()
    }
}

impl Read {
    /// How far the log has come.
    pub async fn log(&mut self) -> Result<Log, StoreError> {
        let row = query("SELECT idx, leaf FROM log ORDER BY idx DESC LIMIT 1").fetch_optional(self.sql()).await?;
        let Some(row) = row else { return Ok(Log::new()) };
        let cells = Cells::of(&row, "log");
        Ok(Log::resume(cells.unsigned("idx")? + 1, cells.digest("leaf")?))
    }

    /// Entries from a number on, at most `limit` and [`crate::MAX_PAGE`].
    pub async fn log_entries(&mut self, from: u64, limit: u32) -> Result<Vec<LogEntry>, StoreError> {
        let rows = query("SELECT idx, entry FROM log WHERE idx >= $1 ORDER BY idx LIMIT $2")
            .bind(signed(from))
            .bind(limit.min(crate::MAX_PAGE))
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(entry).collect()
    }

    /// Leaf hashes from a number on, without gaps, at most [`crate::MAX_PAGE`].
    pub async fn log_leaves(&mut self, from: u64) -> Result<Vec<Digest>, StoreError> {
        let rows = query("SELECT idx, leaf FROM log WHERE idx >= $1 ORDER BY idx LIMIT $2")
            .bind(signed(from))
            .bind(crate::MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter()
            .zip(from..)
            .map(|(row, expected)| {
                let cells = Cells::of(row, "log");
                if cells.unsigned("idx")? != expected {
                    return Err(cells.damaged("idx"));
                }
                cells.digest("leaf")
            })
            .collect()
    }

    /// The newest signed head.
    pub async fn newest_checkpoint(&mut self) -> Result<Option<StoredCheckpoint>, StoreError> {
        let row = query("SELECT * FROM checkpoints ORDER BY size DESC LIMIT 1").fetch_optional(self.sql()).await?;
        row.map(|row| {
            let cells = Cells::of(&row, "checkpoints");
            let peaks = cells.raw::<&[u8]>("peaks")?.chunks(32).map(|peak| peak.try_into().map(Digest::from_bytes));
            let peaks = peaks.collect::<Result<Vec<_>, _>>().map_err(|_| cells.damaged("peaks"))?;
            Ok(StoredCheckpoint {
                tree: Tree::resume(cells.unsigned("size")?, peaks).ok_or_else(|| cells.damaged("peaks"))?,
                note: cells.raw("note")?,
                created: cells.millis("created_ms")?,
            })
        })
        .transpose()
    }

    /// The notes of signed heads over more than `after` entries, smallest first, at most [`crate::MAX_PAGE`].
    pub async fn checkpoint_notes(&mut self, after: u64) -> Result<Vec<(u64, String)>, StoreError> {
        let rows = query("SELECT size, note FROM checkpoints WHERE size > $1 ORDER BY size LIMIT $2")
            .bind(signed(after))
            .bind(crate::MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of(row, "checkpoints");
                Ok((cells.unsigned("size")?, cells.raw("note")?))
            })
            .collect()
    }

    /// The value behind a commitment in the log, if it was not erased.
    pub async fn committed(&mut self, commitment: &Commitment) -> Result<Option<String>, StoreError> {
        let row = query("SELECT value FROM commitments WHERE digest = $1")
            .bind(&commitment.digest().as_bytes()[..])
            .fetch_optional(self.sql())
            .await?;
        Ok(row.map(|row| row.at(0)).transpose()?)
    }
}

impl Tx {
    /// Appends to the log: what happened, and who says so. The answer is the entry's number.
    pub async fn append(&mut self, body: Body, writer: &SpiffeId, now: Millis) -> Result<u64, StoreError> {
        let mut log = match self.tail.log {
            Some(log) => log,
            None => self.log().await?,
        };
        let traced = Trace::of(&body, log.next());
        let sealed = log.seal(body, writer.clone(), now)?;
        let index = sealed.index;
        self.tail.traces.extend(traced);
        self.tail.log = Some(log);
        self.tail.sealed.push(sealed);
        Ok(index)
    }

    /// Commits to a value that could identify a person, and keeps it and its salt beside the log.
    pub async fn commit_to(&mut self, value: &str, salt: [u8; Commitment::SALT]) -> Result<Commitment, StoreError> {
        let commitment = Commitment::of(&salt, value.as_bytes());
        query("INSERT INTO commitments (digest, salt, value) VALUES ($1, $2, $3)")
            .bind(&commitment.digest().as_bytes()[..])
            .bind(&salt[..])
            .bind(value)
            .execute(self.sql())
            .await
            .map_err(|error| StoreError::insert(error, "commitment", "commitment"))?;
        Ok(commitment)
    }

    /// Keeps a signed head. It says nothing new, so it needs no event.
    pub async fn put_checkpoint(&mut self, checkpoint: &StoredCheckpoint) -> Result<(), StoreError> {
        let peaks: Vec<u8> = checkpoint.tree.peaks().iter().flat_map(|peak| *peak.as_bytes()).collect();
        query("INSERT INTO checkpoints (size, note, peaks, created_ms) VALUES ($1, $2, $3, $4)")
            .bind(signed(checkpoint.tree.size()))
            .bind(&checkpoint.note)
            .bind(peaks)
            .bind(checkpoint.created.0)
            .execute(self.sql())
            .await
            .map_err(|error| StoreError::insert(error, "checkpoint", "checkpoint"))?;
        Ok(())
    }

    /// Writes what was appended, in few statements.
    pub(crate) async fn flush_log(&mut self) -> Result<(), StoreError> {
        let sealed = std::mem::take(&mut self.tail.sealed);
        if let Some(first) = sealed.first() {
            self.tail.written.get_or_insert(first.index);
        }
        for entries in sealed.chunks(CHUNK) {
            let row = |entry: &SealedEntry| {
                [signed(entry.index).into(), entry.bytes[..].into(), entry.leaf.as_bytes()[..].into()]
            };
            let statement = match self.mark() {
                // Where a commit can get lost on its way, the entries say of which transaction they are.
                Some(mark) => {
                    let rows = entries.iter().map(|entry| {
                        let [index, bytes, leaf] = row(entry);
                        [index, bytes, leaf, mark[..].into()]
                    });
                    insert("INSERT INTO log (idx, entry, leaf, tx)", rows, "")
                }
                None => insert("INSERT INTO log (idx, entry, leaf)", entries.iter().map(row), ""),
            };
            statement.execute(self.sql()).await?;
        }
        let traces = std::mem::take(&mut self.tail.traces);
        self.put_traces(&traces).await
    }
}

/// An entry as a row has it.
pub(crate) fn entry(row: &Row) -> Result<LogEntry, StoreError> {
    let cells = Cells::of(row, "log");
    Ok(LogEntry { index: cells.unsigned("idx")?, bytes: cells.raw("entry")? })
}

/// Rows of one statement.
const CHUNK: usize = 500;
