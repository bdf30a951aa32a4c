//! The chain of a helper's spool: a random id, records numbered from 0 without gaps, each with the hash of the one
//! before. The helper seals it, and the issuer, the helper's next start and `verify` check it with the same code.

use crate::canonical::{self, BadForm};
use crate::field::{Count, Moment};
use crate::record::HelperEvent;
use crate::tree::leaf;
use avouch_words::{Digest, Millis};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};
use std::fmt;

/// The version of the record's form.
pub const VERSION: u8 = 1;
/// What stands for the record before the first.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);

/// The random id of a spool, in text 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpoolId(pub [u8; 16]);

impl SpoolId {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        let value = u128::from_str_radix(text, 16).ok().filter(|_| fits)?;
        Some(Self(value.to_be_bytes()))
    }

    /// Reads the 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SpoolId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpoolId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("not a spool id"))
    }
}

/// A record, as it is in a spool and, whole, in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolRecord {
    /// [`VERSION`].
    pub v: u8,
    /// The spool it is in.
    pub spool: SpoolId,
    /// Its number, from 0.
    pub seq: Count,
    /// The hash of the record before.
    pub prev: Digest,
    /// The helper's time.
    pub time: Moment,
    /// What happened.
    pub event: HelperEvent,
}

impl SpoolRecord {
    /// Reads a record in its canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadForm> {
        let record: Self = canonical::decode(bytes)?;
        if record.v == VERSION { Ok(record) } else { Err(BadForm::Unknown) }
    }

    /// The hash that the next record names.
    pub fn digest(&self) -> Result<Digest, BadForm> {
        canonical::encode(self).map(|bytes| leaf(&bytes))
    }
}

/// A record that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub seq: u64,
    /// Its canonical form.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub digest: Digest,
}

/// Why a record does not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// It is no record at all.
    #[error("the record is not valid: {0}")]
    Form(#[from] BadForm),
    /// It is of another spool.
    #[error("the record is of spool {0}")]
    OtherSpool(SpoolId),
    /// A number below the next: the one who holds the earlier records has to compare the hash.
    #[error("the record repeats number {seq}")]
    Past {
        /// Its number.
        seq: u64,
        /// Its hash.
        digest: Digest,
    },
    /// A number above the next.
    #[error("the record has number {shown}, but {expected} comes next")]
    Gap {
        /// The number that has to come next.
        expected: u64,
        /// The number that came.
        shown: u64,
    },
    /// The number is right, and the record before is another one.
    #[error("record {seq} does not follow the record before it")]
    Broken {
        /// Its number.
        seq: u64,
    },
}

/// How far a spool's chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    spool: SpoolId,
    next: u64,
    head: Digest,
}

impl Chain {
    /// The chain of a new spool.
    pub const fn start(spool: SpoolId) -> Self {
        Self { spool, next: 0, head: GENESIS }
    }

    /// The chain of which the records below `next` are known and `head` is the hash of the last.
    pub const fn resume(spool: SpoolId, next: u64, head: Digest) -> Self {
        Self { spool, next, head }
    }

    /// The spool.
    pub const fn spool(&self) -> SpoolId {
        self.spool
    }

    /// The number that comes next: how many records there are.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The hash of the last record.
    pub const fn head(&self) -> Digest {
        self.head
    }

    /// Makes the next record. After a fault the chain is where it was.
    pub fn seal(&mut self, event: HelperEvent, now: Millis) -> Result<Sealed, BadForm> {
        let record = SpoolRecord {
            v: VERSION,
            spool: self.spool,
            seq: Count(self.next),
            prev: self.head,
            time: Moment::from(now),
            event,
        };
        let bytes = canonical::encode(&record)?;
        let sealed = Sealed { seq: self.next, digest: leaf(&bytes), bytes };
        self.next += 1;
        self.head = sealed.digest;
        Ok(sealed)
    }

    /// Reads the next record. After a fault the chain is where it was.
    pub fn check(&mut self, bytes: &[u8]) -> Result<SpoolRecord, ChainFault> {
        let record = SpoolRecord::decode(bytes)?;
        self.follow(&record, leaf(bytes))?;
        Ok(record)
    }

    /// Goes on by a record that was read, whose hash is given.
    pub fn follow(&mut self, record: &SpoolRecord, digest: Digest) -> Result<(), ChainFault> {
        let seq = record.seq.0;
        if record.spool != self.spool {
            return Err(ChainFault::OtherSpool(record.spool));
        }
        if seq < self.next {
            return Err(ChainFault::Past { seq, digest });
        }
        if seq > self.next {
            return Err(ChainFault::Gap { expected: self.next, shown: seq });
        }
        if record.prev != self.head {
            return Err(ChainFault::Broken { seq });
        }
        self.next += 1;
        self.head = digest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Outside;

    fn event(n: u32) -> HelperEvent {
        HelperEvent::Started { version: Outside::of(n.to_string()) }
    }

    #[test]
    fn what_is_sealed_checks_and_a_chain_goes_on_from_its_head() {
        let id = SpoolId([7; 16]);
        let (mut writer, mut reader) = (Chain::start(id), Chain::start(id));
        for n in 0..5 {
            let sealed = writer.seal(event(n), Millis(1000)).unwrap();
            assert_eq!(sealed.seq, u64::from(n));
            let record = reader.check(&sealed.bytes).unwrap();
            assert_eq!(record.digest(), Ok(sealed.digest));
            assert_eq!(reader, writer);
            writer = Chain::resume(id, writer.next(), writer.head());
        }
    }

    #[test]
    fn repeats_gaps_forks_and_other_spools_do_not_follow() {
        let id = SpoolId([7; 16]);
        let mut writer = Chain::start(id);
        let first = writer.seal(event(0), Millis(1)).unwrap();
        let second = writer.seal(event(1), Millis(2)).unwrap();
        let third = writer.seal(event(2), Millis(3)).unwrap();
        let forked = Chain::start(id).seal(event(9), Millis(1)).unwrap();
        let mut reader = Chain::start(id);
        assert_eq!(reader.check(&second.bytes), Err(ChainFault::Gap { expected: 0, shown: 1 }));
        reader.check(&first.bytes).unwrap();
        assert_eq!(reader.check(&forked.bytes), Err(ChainFault::Past { seq: 0, digest: forked.digest }));
        assert_eq!(reader.check(&first.bytes), Err(ChainFault::Past { seq: 0, digest: first.digest }));
        let after_fork = Chain::resume(id, 1, forked.digest).seal(event(1), Millis(2)).unwrap();
        assert_eq!(reader.check(&after_fork.bytes), Err(ChainFault::Broken { seq: 1 }));
        reader.check(&second.bytes).unwrap();
        let other = SpoolId([8; 16]);
        let elsewhere = Chain::resume(other, 2, second.digest).seal(event(2), Millis(3)).unwrap();
        assert_eq!(reader.check(&elsewhere.bytes), Err(ChainFault::OtherSpool(other)));
        reader.check(&third.bytes).unwrap();
        let wrong_version = String::from_utf8(third.bytes).unwrap().replace("\"v\":1", "\"v\":2");
        assert_eq!(reader.check(wrong_version.as_bytes()), Err(ChainFault::Form(BadForm::Unknown)));
    }

    #[test]
    fn spool_ids_have_one_text() {
        let id = SpoolId([0xab; 16]);
        assert_eq!(SpoolId::parse(&id.to_string()), Some(id));
        for bad in ["", "+bababababababababababababababab", &"AB".repeat(16), &"ab".repeat(17)] {
            assert_eq!(SpoolId::parse(bad), None, "{bad}");
        }
    }
}
