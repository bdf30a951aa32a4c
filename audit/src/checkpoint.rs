//! The signed head of the log (C2SP tlog-checkpoint 1.0.0): origin, size and root in a signed note.

use crate::note::{BadNote, VerifierKey};
use avouch_words::{Digest, TrustDomain};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A head of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

/// Why a note is not a checkpoint of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// The note or its signature.
    #[error(transparent)]
    Note(#[from] BadNote),
    /// Not an origin, a size and a root.
    #[error("the head is not an origin, a size and a root")]
    Form,
    /// Another log's.
    #[error("the head is of another log")]
    Origin,
}

/// The origin of a trust domain's log, and the name of the key that signs its heads.
pub fn origin(trust_domain: &TrustDomain) -> String {
    format!("{trust_domain}/audit")
}

impl Checkpoint {
    /// The note's text.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }

    /// The signed note. The key's name has to be the origin.
    pub fn sign<E>(&self, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>) -> Result<String, E> {
        key.sign(&self.text(), sign)
    }

    /// Reads a signed note, and believes it only if the key signed it and it is of the log that the key is named
    /// after. Extension lines, which no monitor could check, are refused.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, BadCheckpoint> {
        let checkpoint = Self::parse_text(key.open(note)?).ok_or(BadCheckpoint::Form)?;
        if checkpoint.origin != key.name() {
            return Err(BadCheckpoint::Origin);
        }
        Ok(checkpoint)
    }

    /// Reads a note without its key: for showing it and for comparing sizes, never for believing it.
    pub fn peek(note: &str) -> Option<Self> {
        let at = note.rfind("\n\n")?;
        Self::parse_text(&note[..=at])
    }

    fn parse_text(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: size.parse().ok()?,
            root: Digest::from_bytes(STANDARD.decode(root).ok()?.try_into().ok()?),
        };
        // One spelling: no leading zeros, no further lines.
        (!origin.is_empty() && checkpoint.text() == text).then_some(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn pair() -> (Ed25519KeyPair, VerifierKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, VerifierKey::new("td/audit", public).unwrap())
    }

    fn sign(pair: &Ed25519KeyPair, key: &VerifierKey, text: &str) -> String {
        key.sign(text, |bytes| pair.sign(bytes).as_ref().try_into()).unwrap()
    }

    #[test]
    fn a_signed_head_opens_under_its_key_alone() {
        let (pair, key) = pair();
        let head = Checkpoint { origin: "td/audit".to_owned(), size: 7, root: Digest::of(&[b"x"]) };
        let note = sign(&pair, &key, &head.text());
        assert_eq!(Checkpoint::open(&note, &key), Ok(head.clone()));
        assert_eq!(Checkpoint::peek(&note), Some(head));
        let wrong = VerifierKey::new("td/audit", [9; 32]).unwrap();
        assert_eq!(Checkpoint::open(&note, &wrong), Err(BadCheckpoint::Note(BadNote::Unsigned)));
        let larger = note.replace("\n7\n", "\n8\n");
        assert_eq!(Checkpoint::open(&larger, &key), Err(BadCheckpoint::Note(BadNote::Signature)));
    }

    #[test]
    fn heads_have_one_spelling() {
        let (pair, key) = pair();
        let root = STANDARD.encode([1; 32]);
        for bad in [
            format!("td/audit\n07\n{root}\n"),
            format!("td/audit\n+7\n{root}\n"),
            format!("td/audit\n7\n{root}\nextension\n"),
            format!("td/audit\n7\n{}\n", STANDARD.encode([1; 31])),
            format!("td/audit\n\n{root}\n"),
            "td/audit\n7\n".to_owned(),
        ] {
            assert_eq!(Checkpoint::open(&sign(&pair, &key, &bad), &key), Err(BadCheckpoint::Form), "{bad}");
        }
        let other = sign(&pair, &key, &format!("other/audit\n7\n{root}\n"));
        assert_eq!(Checkpoint::open(&other, &key), Err(BadCheckpoint::Origin));
    }

    #[test]
    fn the_standards_example_reads() {
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let head = Checkpoint::peek(note).unwrap();
        assert_eq!((head.origin.as_str(), head.size), ("example.com/behind-the-sofa", 20_852_163));
    }
}
