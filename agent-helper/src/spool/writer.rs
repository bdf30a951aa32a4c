//! The one thread that writes.

use super::files;
use super::index::{Index, Segment};
use super::{MAX_LATER, MAX_SPOOL_BYTES, Receipt, SEGMENT_BYTES, Shared, SpoolFault};
use avouch_audit::canonical::BadForm;
use avouch_audit::field::{Code, Count};
use avouch_audit::record::{HelperEvent, Outcome};
use avouch_audit::spool::{Chain, Sealed};
use avouch_words::Clock;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The most records that are written and synced together.
const MAX_BATCH: usize = 1024;
/// The most bytes that are written and synced together.
const MAX_BATCH_BYTES: usize = 512 * 1024;

/// How long a record that nobody waits for may wait for one to be synced with.
const LINGER: Duration = Duration::from_millis(10);

type Reply = oneshot::Sender<Result<Receipt, SpoolFault>>;

/// A record, and who waits for it.
pub(super) struct Item {
    pub(super) event: HelperEvent,
    pub(super) reply: Option<Reply>,
}

pub(super) enum Message {
    Append(Box<Item>),
    Close { reply: oneshot::Sender<()> },
}

/// The two calls that can fail on a disk.
pub(super) trait Disk: Send + 'static {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, file: &File) -> io::Result<()>;
}

/// The disk as it is.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

pub(super) struct Writer<D> {
    lock: File,
    disk: D,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    file: Option<File>,
    /// Records nobody waits for that found no space; they go first when there is some.
    held: VecDeque<HelperEvent>,
    /// The runtime whose timers are used.
    timers: Handle,
}

pub(super) fn spawn<D: Disk>(writer: Writer<D>, messages: mpsc::Receiver<Message>) -> io::Result<()> {
    thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(messages)).map(drop)
}

/// Writes the records of a start, before anybody can append.
pub(super) fn write_now(index: &mut Index, events: Vec<HelperEvent>, clock: &dyn Clock) -> Result<(), SpoolFault> {
    let mut chain = index.chain();
    let mut batch = Vec::new();
    for event in events {
        let sealed = chain.seal(event.clone(), clock.now())?;
        batch.push((sealed, event));
    }
    if batch.is_empty() {
        return Ok(());
    }
    let path = index.last().map(|segment| segment.path().to_owned()).ok_or(SpoolFault::Changed)?;
    let write = || {
        let mut file = files::open_segment(&path)?;
        file.write_all(&lines(&batch))?;
        file.sync_data()
    };
    write().map_err(|why| files::fault(&path, &why))?;
    commit(index, &batch, chain);
    Ok(())
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(lock: File, disk: D, clock: Arc<dyn Clock>, shared: Arc<Shared>) -> Self {
        Self { lock, disk, clock, shared, file: None, held: VecDeque::new(), timers: Handle::current() }
    }

    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(first) = messages.blocking_recv() {
            let mut items: Vec<Item> = self.held.drain(..).map(|event| Item { event, reply: None }).collect();
            let mut close = None;
            let mut message = Some(first);
            let mut lingered = false;
            while let Some(next) = message.take() {
                match next {
                    Message::Append(item) => items.push(*item),
                    Message::Close { reply } => {
                        close = Some(reply);
                        break;
                    }
                }
                if items.len() < MAX_BATCH {
                    message = messages.try_recv().ok();
                }
                // What nobody waits for is synced together with the next record that somebody waits for.
                if message.is_none() && !lingered && items.iter().all(|item| item.reply.is_none()) {
                    lingered = true;
                    message = self.timers.block_on(async { timeout(LINGER, messages.recv()).await }).ok().flatten();
                }
            }
            self.write(items);
            if let Some(reply) = close {
                messages.close();
                drop(self.lock);
                // Who asked may be gone.
                let _ = reply.send(());
                return;
            }
        }
    }

    /// Writes all of them, in batches that are synced together.
    fn write(&mut self, items: Vec<Item>) {
        let mut items: VecDeque<Item> = items.into();
        while !items.is_empty() {
            if let Some(fault) = self.shared.fault().clone() {
                return refuse_all(items, &fault);
            }
            let mut chain = self.shared.index().chain();
            let mut batch: Vec<(Sealed, HelperEvent)> = Vec::new();
            let mut replies = Vec::new();
            let mut bytes = 0;
            while bytes < MAX_BATCH_BYTES
                && let Some(Item { event, reply }) = items.pop_front()
            {
                if reply.as_ref().is_some_and(oneshot::Sender::is_closed) {
                    continue;
                }
                match chain.seal(event.clone(), self.clock.now()) {
                    Ok(sealed) => {
                        bytes += sealed.bytes.len() + 1;
                        batch.push((sealed, event));
                        replies.push(reply);
                    }
                    Err(why) => refuse(reply, &event, why),
                }
            }
            if batch.is_empty() {
                continue;
            }
            match self.durable(&batch, chain) {
                Ok(()) => self.answer(batch, replies, &mut items),
                Err(fault) => self.give_up(batch, replies, &fault),
            }
        }
    }

    /// Makes the batch durable, all of it or nothing.
    fn durable(&mut self, batch: &[(Sealed, HelperEvent)], chain: Chain) -> Result<(), SpoolFault> {
        let shared = self.shared.clone();
        let (path, size, total) = {
            let index = shared.index();
            let last = index.last().ok_or(SpoolFault::Changed)?;
            (last.path().to_owned(), last.bytes(), index.bytes())
        };
        let bytes = lines(batch);
        if total + bytes.len() as u64 > MAX_SPOOL_BYTES {
            return Err(SpoolFault::Full);
        }
        let (path, size) = if size >= SEGMENT_BYTES { (self.next_segment()?, 0) } else { (path, size) };
        if self.file.is_none() {
            self.file = Some(files::open_segment(&path).map_err(|_| self.changed())?);
        }
        let unchanged = self.file.as_ref().is_some_and(|file| is_unchanged(file, &path, size));
        if !unchanged {
            return Err(self.changed());
        }
        let Some(file) = &mut self.file else {
            return Err(SpoolFault::Changed);
        };
        if let Err(why) = self.disk.write(file, &bytes) {
            // What was written of it goes; if it does not, nobody knows what is there.
            let full = matches!(
                why.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            );
            let undone = file.set_len(size).is_ok();
            tracing::error!(error = %why, "records could not be written to the spool");
            return Err(if full && undone { SpoolFault::Full } else { self.failed() });
        }
        if let Err(why) = self.disk.sync(file) {
            // Syncing again could report success for pages that the kernel has dropped (fault F09).
            tracing::error!(error = %why, "the spool could not be synced; nothing is recorded until the next start");
            return Err(self.failed());
        }
        commit(&mut shared.index(), batch, chain);
        shared.durable.send_replace(chain.next());
        Ok(())
    }

    fn next_segment(&mut self) -> Result<PathBuf, SpoolFault> {
        let mut index = self.shared.index();
        let chain = index.chain();
        let directory = index.directory().to_owned();
        match files::create_segment(&directory, chain.spool(), chain.next()) {
            Ok((path, file)) => {
                index.add_segment(Segment::new(chain.next(), path.clone()));
                index.drop_shipped();
                self.file = Some(file);
                Ok(path)
            }
            Err(why) => {
                tracing::error!(error = %why, "a new segment of the spool could not be made");
                let full = matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                drop(index);
                Err(if full { SpoolFault::Full } else { self.failed() })
            }
        }
    }

    fn answer(&mut self, batch: Vec<(Sealed, HelperEvent)>, replies: Vec<Option<Reply>>, items: &mut VecDeque<Item>) {
        for ((sealed, event), reply) in batch.into_iter().zip(replies) {
            let receipt = Receipt { seq: sealed.seq, digest: sealed.digest };
            let gone = reply.is_some_and(|reply| reply.send(Ok(receipt)).is_err());
            // The one who waited gave up, so nothing was injected: the intent is not left without an end.
            if gone && let HelperEvent::Intent { decision, caller, .. } = event {
                let event = HelperEvent::Outcome {
                    decision,
                    agent: caller.agent,
                    outcome: Outcome::Error { kind: Code::of("audit_unavailable"), status: None },
                    reflected: false,
                    stripped: false,
                    bytes: Count(0),
                    duration_us: Count(0),
                };
                items.push_back(Item { event, reply: None });
            }
        }
    }

    fn give_up(&mut self, batch: Vec<(Sealed, HelperEvent)>, replies: Vec<Option<Reply>>, fault: &SpoolFault) {
        for ((_, event), reply) in batch.into_iter().zip(replies) {
            match reply {
                // Who asked may be gone.
                Some(reply) => drop(reply.send(Err(fault.clone()))),
                None if *fault == SpoolFault::Full && self.held.len() < MAX_LATER => self.held.push_back(event),
                None => tracing::error!(code = event.code(), error = %fault, "a record is lost"),
            }
        }
    }

    fn changed(&self) -> SpoolFault {
        tracing::error!(
            "the spool's file was deleted, renamed, truncated or written by someone else; nothing is recorded until the next start"
        );
        self.shared.index().mark_broken();
        self.shared.fault().insert(SpoolFault::Changed).clone()
    }

    fn failed(&self) -> SpoolFault {
        self.shared.fault().insert(SpoolFault::Failed).clone()
    }
}

fn lines(batch: &[(Sealed, HelperEvent)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (sealed, _) in batch {
        bytes.extend_from_slice(&sealed.bytes);
        bytes.push(b'\n');
    }
    bytes
}

fn commit(index: &mut Index, batch: &[(Sealed, HelperEvent)], chain: Chain) {
    for (sealed, event) in batch {
        index.grew(sealed.seq, sealed.bytes.len() as u64 + 1, event);
    }
    index.set_chain(chain);
}

/// Whether the path still leads to the open file, and that is as long as it was left (fault F12).
fn is_unchanged(file: &File, path: &Path, size: u64) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino()) && named.len() == size
}

fn refuse(reply: Option<Reply>, event: &HelperEvent, why: BadForm) {
    match reply {
        // Who asked may be gone.
        Some(reply) => drop(reply.send(Err(why.into()))),
        None => tracing::error!(code = event.code(), error = %why, "a record has no canonical form and is lost"),
    }
}

fn refuse_all(items: VecDeque<Item>, fault: &SpoolFault) {
    for item in items {
        match item.reply {
            // Who asked may be gone.
            Some(reply) => drop(reply.send(Err(fault.clone()))),
            None => tracing::error!(code = item.event.code(), error = %fault, "a record is lost"),
        }
    }
}
