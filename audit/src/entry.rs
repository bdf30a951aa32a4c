//! The issuer's log: entries numbered from 0 without gaps, each with the hash of the one before. An entry holds an
//! event of the issuer, or a helper's record, whole and with its own chain.

use crate::canonical::{self, BadForm};
use crate::field::{Count, Moment};
use crate::record::IssuerEvent;
use crate::spool::{GENESIS, SpoolRecord};
use crate::tree::leaf;
use avouch_words::{Digest, Millis, SpiffeId};
use serde::{Deserialize, Serialize};

/// The version of the entry's form.
pub const VERSION: u8 = 1;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Entry {
    /// Its number, from 0.
    pub index: u64,
    /// The leaf hash of the entry before.
    pub prev: Digest,
    /// The issuer's time.
    pub time: Moment,
    /// Who says so: the issuer, or the node whose connection brought the record.
    pub writer: SpiffeId,
    /// What happened.
    pub body: Body,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An event of the issuer.
    Event(IssuerEvent),
    /// A helper's record.
    Record(Box<SpoolRecord>),
}

impl Body {
    /// The stable code of the event.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Event(event) => event.code(),
            Self::Record(record) => record.event.code(),
        }
    }
}

impl Entry {
    /// Reads an entry in its canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadForm> {
        canonical::decode(bytes)
    }

    /// Writes the canonical form.
    pub fn encode(&self) -> Result<Vec<u8>, BadForm> {
        canonical::encode(self)
    }
}

/// An entry that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// Its number.
    pub index: u64,
    /// Its canonical form.
    pub bytes: Vec<u8>,
    /// Its leaf hash: what the next entry names and what goes into the tree.
    pub leaf: Digest,
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    next: u64,
    head: Digest,
}

impl Default for Log {
    fn default() -> Self {
        Self { next: 0, head: GENESIS }
    }
}

impl Log {
    /// The empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// The log of which the entries below `next` are known and `head` is the leaf hash of the last.
    pub const fn resume(next: u64, head: Digest) -> Self {
        Self { next, head }
    }

    /// The number that comes next: how many entries there are.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The leaf hash of the last entry.
    pub const fn head(&self) -> Digest {
        self.head
    }

    /// Makes the next entry. After a fault the log is where it was.
    pub fn seal(&mut self, body: Body, writer: SpiffeId, now: Millis) -> Result<SealedEntry, BadForm> {
        let entry = Entry { index: self.next, prev: self.head, time: Moment::from(now), writer, body };
        let bytes = entry.encode()?;
        let sealed = SealedEntry { index: self.next, leaf: leaf(&bytes), bytes };
        self.next += 1;
        self.head = sealed.leaf;
        Ok(sealed)
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    v: u8,
    index: Count,
    prev: Digest,
    time: Moment,
    writer: SpiffeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<IssuerEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<SpoolRecord>,
}

impl TryFrom<Fields> for Entry {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let body = match (fields.event, fields.record) {
            (Some(event), None) => Body::Event(event),
            (None, Some(record)) if record.v == crate::spool::VERSION => Body::Record(Box::new(record)),
            _ => return Err("an entry holds one event or one record"),
        };
        if fields.v != VERSION {
            return Err("the entry is of another version");
        }
        Ok(Self { index: fields.index.0, prev: fields.prev, time: fields.time, writer: fields.writer, body })
    }
}

impl From<Entry> for Fields {
    fn from(entry: Entry) -> Self {
        let (event, record) = match entry.body {
            Body::Event(event) => (Some(event), None),
            Body::Record(record) => (None, Some(*record)),
        };
        Self {
            v: VERSION,
            index: Count(entry.index),
            prev: entry.prev,
            time: entry.time,
            writer: entry.writer,
            event,
            record,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Chain, SpoolId};

    #[test]
    fn an_entry_holds_one_event_or_one_whole_record() {
        let mut chain = Chain::start(SpoolId([1; 16]));
        let sealed = chain.seal(crate::record::HelperEvent::Stopped {}, Millis(5)).unwrap();
        let record = SpoolRecord::decode(&sealed.bytes).unwrap();
        let node = SpiffeId::parse("spiffe://td/node/join_token/n").unwrap();
        let mut log = Log::new();
        let entry = log.seal(Body::Record(Box::new(record)), node, Millis(6)).unwrap();
        // The nested record is its own canonical form inside the entry's.
        let text = String::from_utf8(entry.bytes.clone()).unwrap();
        assert!(text.contains(std::str::from_utf8(&sealed.bytes).unwrap()));
        let read = Entry::decode(&entry.bytes).unwrap();
        assert_eq!(read.body.code(), "helper.stopped");
        assert_eq!(read.encode().unwrap(), entry.bytes);
        for bad in [
            text.replace("\"v\":1,\"writer\"", "\"v\":2,\"writer\""),
            text.replace("\"time\":5,\"v\":1", "\"time\":5,\"v\":2"),
            text.replace("\"record\":", "\"event\":{\"code\":\"lock.expired\"},\"record\":"),
            text.replace("\"v\":1,\"writer\"", "\"v\":1,\"w\":1,\"writer\""),
        ] {
            assert_ne!(bad, text);
            assert!(Entry::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
