//! What is where: the segments of the spool, how far they are durable, and how far the issuer has them.

use super::{Acked, SpoolFault, files};
use avouch_audit::checkpoint::Checkpoint;
use avouch_audit::record::HelperEvent;
use avouch_audit::spool::{Chain, SpoolId};
use avouch_audit::tree::leaf;
use avouch_words::{Digest, Name, Ulid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A place in a segment is kept for every so many records; between them one reads on.
const MARK_EVERY: u64 = 64;

pub(super) struct Segment {
    first: u64,
    path: PathBuf,
    bytes: u64,
    records: u64,
    marks: Vec<u64>,
}

/// The state of the spool as it is durable.
pub(super) struct Index {
    directory: PathBuf,
    chain: Chain,
    segments: Vec<Segment>,
    acked: Option<Marker>,
    /// Calls whose outcome is not recorded: their segments are kept, for the next start to see them.
    open: BTreeMap<Ulid, Open>,
}

pub(super) struct Open {
    pub(super) seq: u64,
    pub(super) agent: Name,
}

/// The file `acked`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    pub(super) spool: SpoolId,
    pub(super) next: u64,
    /// The hash of the record before `next`.
    pub(super) head: Digest,
    pub(super) checkpoint: String,
}

impl Segment {
    pub(super) fn new(first: u64, path: PathBuf) -> Self {
        Self { first, path, bytes: 0, records: 0, marks: Vec::new() }
    }

    /// A record of so many bytes, line end included, is at the end.
    pub(super) fn grow(&mut self, bytes: u64) {
        if self.records.is_multiple_of(MARK_EVERY) {
            self.marks.push(self.bytes);
        }
        self.records += 1;
        self.bytes += bytes;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn end(&self) -> u64 {
        self.first + self.records
    }
}

impl Index {
    pub(super) fn new(directory: PathBuf, chain: Chain, acked: Option<Marker>) -> Self {
        Self { directory, chain, segments: Vec::new(), acked, open: BTreeMap::new() }
    }

    pub(super) fn chain(&self) -> Chain {
        self.chain
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn acked(&self) -> Option<Acked> {
        self.acked.as_ref().map(|acked| Acked { next: acked.next, checkpoint: acked.checkpoint.clone() })
    }

    pub(super) fn last(&self) -> Option<&Segment> {
        self.segments.last()
    }

    /// Bytes of all segments that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    pub(super) fn add_segment(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    /// A record is durable at the end of the last segment.
    pub(super) fn grew(&mut self, seq: u64, bytes: u64, event: &HelperEvent) {
        if let Some(segment) = self.segments.last_mut() {
            segment.grow(bytes);
        }
        match event {
            HelperEvent::Intent { decision, caller, .. } => {
                self.open.insert(*decision, Open { seq, agent: caller.agent.clone() });
            }
            HelperEvent::Outcome { decision, .. } => {
                self.open.remove(decision);
            }
            _ => {}
        }
    }

    pub(super) fn set_chain(&mut self, chain: Chain) {
        self.chain = chain;
    }

    /// Calls without an outcome, in the order of their intents.
    pub(super) fn open(&self) -> Vec<(Ulid, Name)> {
        let mut open: Vec<_> = self.open.iter().map(|(id, open)| (open.seq, *id, open.agent.clone())).collect();
        open.sort();
        open.into_iter().map(|(_, id, agent)| (id, agent)).collect()
    }

    pub(super) fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Vec<u8>>, SpoolFault> {
        let mut records = Vec::new();
        let (mut next, mut bytes) = (from, 0);
        if from >= self.chain.next() {
            return Ok(records);
        }
        if self.segments.first().is_none_or(|segment| segment.first > from) {
            return Err(SpoolFault::Gone(from));
        }
        for segment in &self.segments {
            if next >= segment.end() {
                continue;
            }
            let mark = usize::try_from((next - segment.first) / MARK_EVERY).unwrap_or(usize::MAX);
            let at = segment.marks.get(mark).copied().ok_or(SpoolFault::Gone(next))?;
            let mut skip = (next - segment.first) % MARK_EVERY;
            let changed = |_: io::Error| SpoolFault::Changed;
            let mut file = BufReader::new(File::open(&segment.path).map_err(changed)?);
            file.seek(SeekFrom::Start(at)).map_err(changed)?;
            while next < segment.end() {
                let mut line = Vec::new();
                file.read_until(b'\n', &mut line).map_err(changed)?;
                if line.pop() != Some(b'\n') {
                    return Err(SpoolFault::Changed);
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                bytes += line.len();
                if bytes > max_bytes && !records.is_empty() {
                    return Ok(records);
                }
                records.push(line);
                next += 1;
            }
        }
        Ok(records)
    }

    /// Both the position and the head only go forward; that this spool holds less than the issuer says is a fault
    /// of the spool.
    pub(super) fn acknowledge(&mut self, next: u64, checkpoint: String) -> Result<(), SpoolFault> {
        let size = Checkpoint::peek(&checkpoint).ok_or(SpoolFault::Checkpoint)?.size;
        if next > self.chain.next() {
            return Err(SpoolFault::Changed);
        }
        if let Some(held) = &self.acked {
            if next < held.next {
                return Err(SpoolFault::WentBack { held: held.next, shown: next });
            }
            let held_size = Checkpoint::peek(&held.checkpoint).map_or(0, |head| head.size);
            if size < held_size {
                return Err(SpoolFault::WentBack { held: held_size, shown: size });
            }
            if next == held.next && checkpoint == held.checkpoint {
                return Ok(());
            }
        }
        let head = self.digest_before(next)?;
        let marker = Marker { spool: self.chain.spool(), next, head, checkpoint };
        let bytes = serde_json::to_vec(&marker).map_err(|_| SpoolFault::Failed)?;
        files::replace(&self.directory, files::ACKED, &bytes).map_err(|_| SpoolFault::Full)?;
        self.acked = Some(marker);
        self.drop_shipped();
        Ok(())
    }

    /// The next start finds the spool broken, whatever else it finds.
    pub(super) fn mark_broken(&self) {
        let bytes = self.chain.spool().to_string();
        if let Err(why) = files::replace(&self.directory, files::BROKEN, bytes.as_bytes()) {
            tracing::error!(error = %why, "the broken spool could not be marked; its next start has to find out itself");
        }
    }

    fn digest_before(&self, next: u64) -> Result<Digest, SpoolFault> {
        match (next.checked_sub(1), &self.acked) {
            (None, _) => Ok(avouch_audit::spool::GENESIS),
            (_, Some(held)) if held.next == next => Ok(held.head),
            (Some(_), _) if next == self.chain.next() => Ok(self.chain.head()),
            (Some(last), _) => self.read(last, 1)?.first().map(|bytes| leaf(bytes)).ok_or(SpoolFault::Gone(last)),
        }
    }

    /// Takes away segments that the issuer has, but never the last one, nor one with a call whose outcome is open.
    pub(super) fn drop_shipped(&mut self) {
        let acked = self.acked.as_ref().map_or(0, |acked| acked.next);
        let needed = self.open.values().map(|open| open.seq).min().unwrap_or(u64::MAX).min(acked);
        while self.segments.len() > 1 && self.segments[0].end() <= needed {
            if let Err(why) = files::remove(&self.segments[0].path) {
                tracing::warn!(error = %why, "a shipped segment of the spool could not be removed");
                return;
            }
            self.segments.remove(0);
        }
    }
}
