//! The start: what the last run left is checked record by record; a torn end is cut, and what cannot be explained
//! by a crash ends the spool.

use super::files::{self, fault};
use super::index::{Index, Marker, Segment};
use super::{SpoolFault, writer};
use avouch_audit::field::Count;
use avouch_audit::record::{HelperEvent, Loss, Outcome, SpoolEnd};
use avouch_audit::spool::{Chain, SpoolId, SpoolRecord};
use avouch_words::{Clock, Name, Ulid};
use ring::rand::SecureRandom;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub(super) struct Started {
    pub(super) lock: File,
    pub(super) index: Index,
}

/// What was found of the spool before.
enum Found {
    Nothing,
    Whole { index: Index, cut: u64 },
    Broken { previous: SpoolEnd, loss: Loss, open: Vec<(Ulid, Name)> },
}

pub(super) fn start(directory: &Path, clock: &dyn Clock, random: &dyn SecureRandom) -> Result<Started, SpoolFault> {
    let lock = files::take(directory)?;
    let mut events = Vec::new();
    let (mut index, open) = match find(directory)? {
        Found::Nothing => (create(directory, random)?, Vec::new()),
        Found::Whole { index, cut } => {
            if cut > 0 {
                tracing::warn!(bytes = cut, "the torn end of the spool was cut");
                events.push(HelperEvent::TailCut { bytes: Count(cut) });
            }
            let open = index.open();
            (index, open)
        }
        Found::Broken { previous, loss, open } => {
            tracing::error!(spool = %previous.spool, "the spool is not as it was left; a new one begins");
            events.push(HelperEvent::SpoolBroken { previous, loss });
            (create(directory, random)?, open)
        }
    };
    events.extend(open.into_iter().map(|(decision, agent)| HelperEvent::Outcome {
        decision,
        agent,
        outcome: Outcome::Unknown {},
        reflected: false,
        stripped: false,
        bytes: Count(0),
        duration_us: Count(0),
    }));
    writer::write_now(&mut index, events, clock)?;
    Ok(Started { lock, index })
}

/// A new spool: its first segment, then the marker that names it. A crash between the two leaves the old marker.
fn create(directory: &Path, random: &dyn SecureRandom) -> Result<Index, SpoolFault> {
    let mut id = [0; 16];
    random.fill(&mut id).map_err(|_| SpoolFault::Failed)?;
    let spool = SpoolId(id);
    let (path, _) = files::create_segment(directory, spool, 0).map_err(|why| fault(directory, &why))?;
    files::replace(directory, files::MARKER, spool.to_string().as_bytes()).map_err(|why| fault(directory, &why))?;
    for name in [files::ACKED, files::BROKEN] {
        files::remove(&directory.join(name)).map_err(|why| fault(directory, &why))?;
    }
    files::sync_directory(directory).map_err(|why| fault(directory, &why))?;
    let mut index = Index::new(directory.to_owned(), Chain::start(spool), None);
    index.add_segment(Segment::new(0, path));
    Ok(index)
}

fn find(directory: &Path) -> Result<Found, SpoolFault> {
    let read = |name| files::read(directory, name).map_err(|why| fault(&directory.join(name), &why));
    let Some(marker) = read(files::MARKER)? else {
        // A new spool's marker is there before its first record.
        let left = files::any_spool(directory).map_err(|why| fault(directory, &why))?;
        return Ok(left.map_or(Found::Nothing, |spool| broken(spool, 0, Loss::Missing, Vec::new())));
    };
    let Some(spool) = std::str::from_utf8(&marker).ok().and_then(SpoolId::parse) else {
        // Whoever wrote this, it was not a helper: the spool that it named is not known any more.
        return Ok(broken(SpoolId([0; 16]), 0, Loss::Broken, Vec::new()));
    };
    // An acknowledgement of another spool is left from before a break.
    let acked = match read(files::ACKED)? {
        None => None,
        Some(bytes) => match serde_json::from_slice::<Marker>(&bytes) {
            Ok(acked) => Some(acked).filter(|acked| acked.spool == spool),
            Err(_) => return Ok(broken(spool, 0, Loss::Broken, Vec::new())),
        },
    };
    let least = acked.as_ref().map_or(0, |acked| acked.next);
    let segments = files::segments(directory, spool).map_err(|why| fault(directory, &why))?;
    if segments.is_empty() {
        return Ok(broken(spool, least, Loss::Missing, Vec::new()));
    }
    let marked = read(files::BROKEN)?.is_some_and(|name| name == marker);
    let mut walk = Walk::new(directory, spool, acked);
    let whole = walk.all(&segments)? && !marked;
    let records = walk.chain.next().max(least);
    if !whole {
        return Ok(broken(spool, records, Loss::Broken, walk.index.open()));
    }
    walk.index.set_chain(walk.chain);
    walk.index.drop_shipped();
    Ok(Found::Whole { index: walk.index, cut: walk.cut })
}

fn broken(spool: SpoolId, records: u64, loss: Loss, open: Vec<(Ulid, Name)>) -> Found {
    Found::Broken { previous: SpoolEnd { spool, records: Count(records) }, loss, open }
}

/// The walk through all records.
struct Walk {
    chain: Chain,
    acked: Option<Marker>,
    index: Index,
    cut: u64,
}

impl Walk {
    fn new(directory: &Path, spool: SpoolId, acked: Option<Marker>) -> Self {
        let chain = Chain::start(spool);
        Self { chain, index: Index::new(directory.to_owned(), chain, acked.clone()), acked, cut: 0 }
    }

    /// Whether everything is as a crash could have left it.
    fn all(&mut self, segments: &[(u64, PathBuf)]) -> Result<bool, SpoolFault> {
        let last = segments.len() - 1;
        for (number, (first, path)) in segments.iter().enumerate() {
            let bytes = fs::read(path).map_err(|why| fault(path, &why))?;
            if number == 0 && !self.begin(*first, &bytes) {
                return Ok(false);
            }
            if *first != self.chain.next() {
                return Ok(false);
            }
            self.index.add_segment(Segment::new(*first, path.clone()));
            let Some(good) = self.segment(&bytes) else {
                return Ok(false);
            };
            if good < bytes.len() {
                if number != last || !is_torn(&bytes[good..], self.chain) {
                    return Ok(false);
                }
                self.cut = (bytes.len() - good) as u64;
                truncate(path, good as u64)?;
            }
        }
        // Records that the issuer has were here.
        Ok(self.acked.as_ref().is_none_or(|acked| acked.next <= self.chain.next()))
    }

    /// Where the chain begins: at its start, or behind what the issuer has.
    fn begin(&mut self, first: u64, bytes: &[u8]) -> bool {
        if first == 0 {
            return true;
        }
        let Some(acked) = &self.acked else {
            return false;
        };
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let head = if acked.next == first {
            acked.head
        } else if acked.next > first
            && let Ok(record) = SpoolRecord::decode(line)
        {
            // The link to what was taken away is believed; that it leads to what the issuer has is checked later.
            record.prev
        } else {
            return false;
        };
        self.chain = Chain::resume(self.chain.spool(), first, head);
        true
    }

    /// How many bytes of the segment are good; none if a record differs from the one the issuer has.
    fn segment(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut good = 0;
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let Some(record) = line.strip_suffix(b"\n").and_then(|line| self.chain.check(line).ok()) else {
                break;
            };
            good += line.len();
            self.index.grew(record.seq.0, line.len() as u64, &record.event);
            if let Some(acked) = &self.acked
                && acked.next == self.chain.next()
                && acked.head != self.chain.head()
            {
                return None;
            }
        }
        Some(good)
    }
}

/// Whether a bad end is what a crash leaves: it begins with a torn line, and what may follow was in the same write.
/// A whole record in it is no crash, unless a page before it was never written and reads as zeros.
fn is_torn(end: &[u8], chain: Chain) -> bool {
    let is_record = |line: &[u8]| {
        let record = line.strip_suffix(b"\n").map(SpoolRecord::decode);
        matches!(record, Some(Ok(record)) if record.spool == chain.spool())
    };
    let mut lines = end.split_inclusive(|b| *b == b'\n').peekable();
    lines.peek().is_some_and(|line| line.contains(&0)) || !lines.any(is_record)
}

fn truncate(path: &Path, bytes: u64) -> Result<(), SpoolFault> {
    let cut = || {
        let file = files::open_segment(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    };
    cut().map_err(|why| fault(path, &why))
}
