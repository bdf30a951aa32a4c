//! The durable spool: what this helper records, on its own disk, before anything is done. A record is in it when
//! [`Spool::append`] returns, and not before (invariant 4).
//!
//! One thread writes. What has queued up while it waited for the disk is written and synced together (group
//! commit). Files of the spool's directory, all 0600 in 0700:
//!
//! | file | content |
//! |---|---|
//! | `lock` | held while a helper runs, so that a second one refuses to start (case U14) |
//! | `spool` | the id of the spool in use |
//! | `<id>-<first number>.jsonl` | a segment: records, one canonical JSON line each |
//! | `acked` | how far the issuer has it, and the issuer's newest signed head |
//! | `broken` | the id of a spool that was not found as it was left: the next start begins a new one |
//!
//! Until the issuer acknowledges a record, the helper's own uid can rewrite it.

mod files;
mod index;
mod start;
mod writer;

use avouch_audit::canonical::BadForm;
use avouch_audit::record::HelperEvent;
use avouch_audit::spool::SpoolId;
use avouch_words::{Clock, Digest};
use index::Index;
use ring::rand::SecureRandom;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use writer::{Disk, Item, Message, RealDisk};

/// How long an append may take, waiting in the queue included (fault F13).
pub const DEADLINE: Duration = Duration::from_secs(1);
/// The most appends that wait at once.
pub const MAX_WAITING: usize = 4096;
/// The most records that are queued without anyone waiting.
pub const MAX_LATER: usize = 4096;
/// A segment that has grown to this many bytes gets no more records.
pub const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// The most bytes that wait for the issuer; beyond them appends are refused until it acknowledges.
pub const MAX_SPOOL_BYTES: u64 = 1024 * 1024 * 1024;

/// Why a record is not in the spool, or the spool cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolFault {
    /// Another helper runs on the same state.
    #[error("another helper uses the spool in {0}")]
    Held(String),
    /// Other users could read or write it.
    #[error("the spool's directory {0} is not the helper's own with mode 0700")]
    Permissions(String),
    /// The disk, on start.
    #[error("the spool cannot be opened: {path}: {why}")]
    Open {
        /// The file.
        path: String,
        /// What the system says.
        why: String,
    },
    /// The record has no canonical form that fits.
    #[error("the record cannot be written: {0}")]
    Form(#[from] BadForm),
    /// The disk or the spool's own limit is full. It goes on by itself when there is space.
    #[error("there is no space for the record")]
    Full,
    /// Too many records wait.
    #[error("too many records wait to be written")]
    Busy,
    /// The record was not durable in time.
    #[error("the record was not written in time")]
    Deadline,
    /// The file was deleted, renamed, truncated or written by someone else. Refused until the next start.
    #[error("the spool was changed by someone else")]
    Changed,
    /// A write or sync failed: what is on the disk is not known. Refused until the next start.
    #[error("the disk failed, and what it holds is not known")]
    Failed,
    /// The helper is ending.
    #[error("the spool is closed")]
    Closed,
    /// Records before the first one that is kept were asked for.
    #[error("record {0} is not kept any more")]
    Gone(u64),
    /// The issuer's position or its signed head went back.
    #[error("the issuer's log went back: {shown} after {held}")]
    WentBack {
        /// What was acknowledged before.
        held: u64,
        /// What was sent.
        shown: u64,
    },
    /// The acknowledgement is not a head of a log.
    #[error("the acknowledgement holds no signed head")]
    Checkpoint,
}

/// A record that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub digest: Digest,
}

/// How far the issuer has the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    /// All records below this number are in the issuer's log.
    pub next: u64,
    /// The newest signed head the issuer has sent.
    pub checkpoint: String,
}

/// The spool. Clones are handles on the same one.
#[derive(Clone)]
pub struct Spool {
    id: SpoolId,
    queue: mpsc::Sender<Message>,
    waiting: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// What the writer and the handles share.
struct Shared {
    index: Mutex<Index>,
    durable: watch::Sender<u64>,
    fault: Mutex<Option<SpoolFault>>,
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> MutexGuard<'_, Option<SpoolFault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    /// Opens the spool in this directory, or makes one. Blocks. A torn end is cut and recorded, calls that a crash
    /// interrupted get the outcome `unknown`, and a spool that is not as it was left is followed by a new one.
    pub fn open(directory: &Path, clock: Arc<dyn Clock>, random: &dyn SecureRandom) -> Result<Self, SpoolFault> {
        Self::open_on(directory, clock, random, RealDisk)
    }

    fn open_on(
        directory: &Path,
        clock: Arc<dyn Clock>,
        random: &dyn SecureRandom,
        disk: impl Disk,
    ) -> Result<Self, SpoolFault> {
        let started = start::start(directory, &*clock, random)?;
        let id = started.index.chain().spool();
        let (queue, messages) = mpsc::channel(MAX_WAITING + MAX_LATER + 1);
        let shared = Arc::new(Shared {
            durable: watch::Sender::new(started.index.chain().next()),
            index: Mutex::new(started.index),
            fault: Mutex::new(None),
        });
        writer::spawn(writer::Writer::new(started.lock, disk, clock, shared.clone()), messages)
            .map_err(|why| files::fault(directory, &why))?;
        Ok(Self { id, queue, waiting: Arc::new(Semaphore::new(MAX_WAITING)), shared })
    }

    /// The spool's id.
    pub fn id(&self) -> SpoolId {
        self.id
    }

    /// Puts a record in; it is durable when this returns, or it was refused within [`DEADLINE`]. If the caller goes
    /// away first, an intent that became durable all the same gets an outcome that says so.
    pub async fn append(&self, event: HelperEvent) -> Result<Receipt, SpoolFault> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let whole = async {
            let _place = self.waiting.acquire().await.map_err(|_| SpoolFault::Closed)?;
            let (reply, receipt) = oneshot::channel();
            self.queue.try_send(Message::Append(Box::new(Item { event, reply: Some(reply) }))).map_err(refused)?;
            receipt.await.map_err(|_| SpoolFault::Closed)?
        };
        tokio::time::timeout(DEADLINE, whole).await.map_err(|_| SpoolFault::Deadline)?
    }

    /// Puts a record in the queue, behind those that are in it, and does not wait for the disk.
    pub fn append_later(&self, event: HelperEvent) -> Result<(), SpoolFault> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        // The rest of the queue is for those who wait.
        if self.queue.capacity() <= MAX_WAITING {
            return Err(SpoolFault::Busy);
        }
        self.queue.try_send(Message::Append(Box::new(Item { event, reply: None }))).map_err(refused)
    }

    /// Why appends are refused until the next start, if they are.
    pub fn fault(&self) -> Option<SpoolFault> {
        self.shared.fault().clone()
    }

    /// The number of durable records, and each change of it.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.shared.durable.subscribe()
    }

    /// How far the issuer has it; none before the first acknowledgement.
    pub fn acked(&self) -> Option<Acked> {
        self.shared.index().acked()
    }

    /// Durable records from this number on, in order, as many as fit in `max_bytes` but at least one if there is
    /// one.
    pub async fn unshipped(&self, from: u64, max_bytes: usize) -> Result<Vec<Vec<u8>>, SpoolFault> {
        let shared = self.shared.clone();
        blocking(move || shared.index().read(from, max_bytes)).await
    }

    /// The issuer has all records below `next`, and this is its newest signed head. Both only go forward. An issuer
    /// that has more than there is here shows that this spool was set back: it is used no more.
    pub async fn acknowledge(&self, next: u64, checkpoint: String) -> Result<(), SpoolFault> {
        let shared = self.shared.clone();
        blocking(move || {
            let mut index = shared.index();
            let result = index.acknowledge(next, checkpoint);
            if result == Err(SpoolFault::Changed) {
                index.mark_broken();
                shared.fault().get_or_insert(SpoolFault::Changed);
            }
            result
        })
        .await
    }

    /// Writes what is queued and lets the spool go.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.send(Message::Close { reply }).await.is_ok() {
            // The writer may have ended before it read the message.
            let _ = done.await;
        }
    }
}

fn refused<T>(error: mpsc::error::TrySendError<T>) -> SpoolFault {
    match error {
        mpsc::error::TrySendError::Full(_) => SpoolFault::Busy,
        mpsc::error::TrySendError::Closed(_) => SpoolFault::Closed,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolFault> + Send + 'static,
) -> Result<T, SpoolFault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SpoolFault::Closed)?
}

#[cfg(test)]
mod tests;
