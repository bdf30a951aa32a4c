//! The check of an exported log, offline: every entry's form, number and link, every spool nested in it, every
//! head's signature and root. Any doubt is a fault, and a fault names the first bad index.

mod entries;
mod spools;

use crate::canonical::BadForm;
use crate::checkpoint::{BadCheckpoint, Checkpoint};
use crate::export::{Part, ReadFault};
use crate::note::{BadNote, VerifierKey};
use crate::spool::{ChainFault, SpoolId};
use avouch_words::{Digest, SpiffeId, TrustDomain};
use entries::Entries;
use std::collections::BTreeMap;

/// What a log that verified says. It may still hold alarms: whoever reports it has to fail on those too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The key that its heads are signed with.
    pub key: String,
    /// How many entries there are, all of them under a signed head.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// Signed heads that were checked.
    pub checkpoints: u64,
    /// Entries by who wrote them.
    pub writers: BTreeMap<SpiffeId, u64>,
    /// Intents that have no outcome (yet: the helper's next start writes `unknown`).
    pub without_outcome: u64,
    /// Rewriting, withholding or inventing of records that the issuer saw and recorded.
    pub alarms: Vec<Alarm>,
}

impl Report {
    /// Whether there is nothing to be alarmed about.
    pub fn is_clean(&self) -> bool {
        self.alarms.is_empty()
    }
}

/// An alarm that the issuer recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The entry.
    pub index: u64,
    /// Its code.
    pub code: &'static str,
    /// The node it is about.
    pub node: SpiffeId,
    /// The spool it is about.
    pub spool: SpoolId,
}

/// Why a log is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The export cannot be read.
    #[error("entry {index} is the first that could not be read: {why}")]
    Read {
        /// How many entries were read before.
        index: u64,
        /// Why.
        why: ReadFault,
    },
    /// The export does not begin with a key, or has a second one.
    #[error("the log has no key, or more than one")]
    Key,
    /// What stands for the key is none.
    #[error("the log's key is not valid: {0}")]
    BadKey(BadNote),
    /// Another key than the one expected.
    #[error("the log's key is not the expected one")]
    WrongKey,
    /// An entry.
    #[error("entry {index} is bad: {why}")]
    Entry {
        /// Its number.
        index: u64,
        /// Why.
        why: EntryFault,
    },
    /// A head that is not valid.
    #[error("the {number}. signed head is bad: {why}")]
    Checkpoint {
        /// Which head, from 1.
        number: u64,
        /// Why.
        why: BadCheckpoint,
    },
    /// A head covers more entries than there are: the end of the log was cut off.
    #[error(
        "a signed head covers {covers} entries, but there are only {index}: the end was cut off, from entry {index} on"
    )]
    Cut {
        /// How many entries there are: the first one missing.
        index: u64,
        /// How many there were.
        covers: u64,
    },
    /// The entries are not those that were signed.
    #[error("the entries are not those that were signed: the first bad one is not before {index} and is before {size}")]
    Root {
        /// How many entries the largest good head covers: the first bad entry is not before.
        index: u64,
        /// How many entries the head covers that does not fit.
        size: u64,
    },
    /// No head covers the last entries.
    #[error("no signed head covers entry {index} and those behind it")]
    Unsigned {
        /// The first entry not covered.
        index: u64,
    },
}

impl Fault {
    /// The first index that is bad, or not vouched for; none for faults of the key and of heads.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Read { index, .. }
            | Self::Entry { index, .. }
            | Self::Cut { index, .. }
            | Self::Root { index, .. }
            | Self::Unsigned { index } => Some(*index),
            Self::Key | Self::BadKey(_) | Self::WrongKey | Self::Checkpoint { .. } => None,
        }
    }
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// Its bytes.
    #[error("{0}")]
    Form(#[from] BadForm),
    /// Numbers are left out, repeated or out of order.
    #[error("the numbers have a gap, a repeat or another order here")]
    Number,
    /// It is not what the entry behind it was chained to.
    #[error("its contents are not those that the next entry follows")]
    Altered,
    /// It does not follow the entry before.
    #[error("it does not follow the entry before it")]
    Link,
    /// An event by a writer other than the issuer, a record by one other than a node, or another trust domain.
    #[error("it is not its writer's to say")]
    Writer,
    /// A record that does not follow its spool's last.
    #[error("its record does not follow in its spool: {0}")]
    Spool(#[from] ChainFault),
    /// A record of a spool that its node has not opened, or has closed.
    #[error("its record is of a spool that is not open for that node")]
    SpoolNotOpen,
    /// A spool opened twice, opened while the node's last is unclosed without an alarm, or closed by another node or
    /// with another number of records.
    #[error("a spool is opened or closed here as it may not be")]
    SpoolOrder,
}

/// Checks a log. `expected_key` is the key as it was learned elsewhere (without it, the log's own word is taken for
/// who signs it); `newest_seen` is a signed head that was kept elsewhere, which the log has to contain.
pub fn verify(
    parts: impl IntoIterator<Item = Result<Part, ReadFault>>,
    expected_key: Option<&str>,
    newest_seen: Option<&str>,
) -> Result<Report, Fault> {
    let mut parts = parts.into_iter();
    let key = match parts.next() {
        Some(Ok(Part::Key(text))) => VerifierKey::parse(&text).map_err(Fault::BadKey)?,
        Some(Ok(_)) | None => return Err(Fault::Key),
        Some(Err(why)) => return Err(Fault::Read { index: 0, why }),
    };
    if expected_key.is_some_and(|expected| expected != key.to_string()) {
        return Err(Fault::WrongKey);
    }
    let domain = key.name().strip_suffix("/audit").and_then(|name| TrustDomain::parse(name).ok());
    let domain = domain.ok_or(Fault::BadKey(BadNote::Name))?;

    let mut entries = Entries::new(domain);
    // Heads are checked when all entries are there; a bad one is kept, as an entry's fault says more.
    let mut heads: Vec<Result<Checkpoint, Fault>> = Vec::new();
    let open = |note: &str, heads: &mut Vec<Result<Checkpoint, Fault>>| {
        let number = heads.len() as u64 + 1;
        heads.push(Checkpoint::open(note, &key).map_err(|why| Fault::Checkpoint { number, why }));
    };
    let mut fault = None;
    for part in parts {
        match part {
            // Behind a bad entry only heads are of interest: they tell whether it is the first.
            Ok(Part::Entry(bytes)) if fault.is_none() => fault = entries.push(&bytes).err(),
            Ok(Part::Entry(_)) => {}
            Ok(Part::Checkpoint(note)) => open(&note, &mut heads),
            Ok(Part::Key(_)) => return Err(Fault::Key),
            Err(why) => return Err(fault.unwrap_or(Fault::Read { index: entries.size(), why })),
        }
    }
    let in_log = heads.len() as u64;
    if let Some(note) = newest_seen {
        open(note, &mut heads);
    }
    let heads: Result<Vec<_>, _> = heads.into_iter().collect();
    let (mut heads, bad_head) = match heads {
        Ok(heads) => (heads, None),
        Err(bad) => (Vec::new(), Some(bad)),
    };
    heads.sort_by_key(|head| head.size);
    if let Some(fault) = fault.or_else(|| entries.finish(&heads).err()) {
        let before = fault.index().unwrap_or(0);
        heads.retain(|head| head.size <= before);
        return Err(check_heads(&entries, &heads).err().unwrap_or(fault));
    }
    if let Some(bad) = bad_head {
        return Err(bad);
    }
    let good = check_heads(&entries, &heads)?;
    match heads.last() {
        Some(newest) if good == entries.size() => Ok(Report {
            key: key.to_string(),
            size: good,
            root: newest.root,
            checkpoints: in_log,
            writers: entries.writers,
            without_outcome: entries.spools.without_outcome(),
            alarms: entries.alarms,
        }),
        _ => Err(Fault::Unsigned { index: good }),
    }
}

/// How many entries the largest head covers, if all of them fit the entries. They come by size.
fn check_heads(entries: &Entries, heads: &[Checkpoint]) -> Result<u64, Fault> {
    let mut good = 0;
    for head in heads {
        match entries.root_at(head.size) {
            None => return Err(Fault::Cut { index: entries.size(), covers: head.size }),
            Some(root) if root != head.root => return Err(Fault::Root { index: good, size: head.size }),
            Some(_) => good = head.size,
        }
    }
    Ok(good)
}

#[cfg(test)]
mod tests;
