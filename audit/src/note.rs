//! Signed notes (C2SP signed-note 1.0.0), with Ed25519 and nothing else.

use avouch_words::Digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// The longest note, in bytes.
pub const MAX_NOTE: usize = 64 * 1024;
/// The most signatures of one note.
pub const MAX_SIGNATURES: usize = 32;

/// The public half of a key that signs notes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

/// Why a text is not a key or a note, or a note is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Not `name+id+key`, another algorithm, or an id that is not that key's.
    #[error("the key is not an Ed25519 key in the form name+id+key")]
    Key,
    /// An empty name, or one with spaces or `+`.
    #[error("a key's name is not empty and has no spaces, '+' or control characters")]
    Name,
    /// Above [`MAX_NOTE`] or [`MAX_SIGNATURES`].
    #[error("the note is too long")]
    TooLong,
    /// Not a text, a blank line and signature lines.
    #[error("the note is not a text, a blank line and signature lines")]
    Form,
    /// No signature of the key.
    #[error("the note is not signed by the key")]
    Unsigned,
    /// A signature under the key's name and id is not its signature.
    #[error("the signature is wrong")]
    Signature,
}

impl VerifierKey {
    /// A key by its name and its 32 public bytes.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, BadNote> {
        let bad = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.chars().any(bad) {
            return Err(BadNote::Name);
        }
        Ok(Self { name: name.to_owned(), public })
    }

    /// Reads the text form, `name+id+key`.
    pub fn parse(text: &str) -> Result<Self, BadNote> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadNote::Key);
        };
        let key = STANDARD.decode(key).map_err(|_| BadNote::Key)?;
        let [ED25519, public @ ..] = key.as_slice() else {
            return Err(BadNote::Key);
        };
        let key = Self::new(name, public.try_into().map_err(|_| BadNote::Key)?)?;
        if key.to_string() == text { Ok(key) } else { Err(BadNote::Key) }
    }

    /// The name: for a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key).
    pub fn id(&self) -> [u8; 4] {
        let digest = Digest::of(&[self.name.as_bytes(), &[0x0a, ED25519], &self.public]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        [a, b, c, d]
    }

    /// The note of this text with the signature that `sign` makes over it. The private key may be anywhere.
    pub fn sign<E>(&self, text: &str, sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>) -> Result<String, E> {
        let signature = sign(text.as_bytes())?;
        let line = STANDARD.encode([&self.id()[..], &signature].concat());
        Ok(format!("{text}\n{DASH}{} {line}\n", self.name))
    }

    /// The note's text, if this key signed it. Signatures of other keys say nothing and are passed over.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, BadNote> {
        if note.len() > MAX_NOTE {
            return Err(BadNote::TooLong);
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(BadNote::Form);
        }
        let at = note.rfind("\n\n").ok_or(BadNote::Form)?;
        let (text, lines) = (&note[..=at], &note[at + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(BadNote::Form)?;
        let mut signed = false;
        for (number, line) in lines.split('\n').enumerate() {
            if number == MAX_SIGNATURES {
                return Err(BadNote::TooLong);
            }
            let (name, signature) = line.strip_prefix(DASH).and_then(|l| l.split_once(' ')).ok_or(BadNote::Form)?;
            let signature = STANDARD.decode(signature).map_err(|_| BadNote::Form)?;
            let (id, signature) = signature.split_first_chunk::<4>().ok_or(BadNote::Form)?;
            if name == self.name && *id == self.id() {
                ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &self.public)
                    .verify(text.as_bytes(), signature)
                    .map_err(|_| BadNote::Signature)?;
                signed = true;
            }
        }
        if signed { Ok(text) } else { Err(BadNote::Unsigned) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode([&[ED25519], &self.public[..]].concat()))
    }
}

/// The signature type's number.
const ED25519: u8 = 0x01;
/// An em dash and a space.
const DASH: &str = "\u{2014} ";

#[cfg(test)]
mod tests {
    use super::*;

    const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const QUOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn the_reference_implementations_note_opens() {
        let key = VerifierKey::parse(NEUMANN).unwrap();
        assert_eq!(key.name(), "PeterNeumann");
        assert_eq!(key.to_string(), NEUMANN);
        assert!(key.open(QUOTE).unwrap().ends_with("problem is.\n"));
        assert_eq!(key.open(&QUOTE.replace("don't", "do")), Err(BadNote::Signature));
        assert_eq!(key.open(&QUOTE.replace("\u{2014} Peter", "\u{2014} Paul")), Err(BadNote::Unsigned));
    }

    #[test]
    fn the_standards_example_head_is_under_the_go_checksum_databases_key() {
        // The example of tlog-checkpoint shows this head's size, root and signature under another name.
        let key = VerifierKey::parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").unwrap();
        let note = "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        assert!(key.open(note).is_ok());
    }

    #[test]
    fn keys_have_one_text() {
        for bad in [
            "PeterNeumann",
            "PeterNeumann+c74f20a3",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+Ahpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10Q=",
            "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(VerifierKey::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "a b", "a+b", "a\nb"] {
            assert_eq!(VerifierKey::new(bad, [0; 32]), Err(BadNote::Name), "{bad:?}");
        }
    }

    #[test]
    fn malformed_notes_are_refused() {
        let key = VerifierKey::parse(NEUMANN).unwrap();
        for bad in [
            "",
            "\n\n",
            "text",
            "text\n\n",
            "text\n\nno dash\n",
            QUOTE.trim_end(),
            &QUOTE.replace("you don't", "you\tdon't"),
            &format!("{QUOTE}\n"),
        ] {
            assert!(key.open(bad).is_err(), "{bad:?}");
        }
        let other = VerifierKey::new("other", [1; 32]).unwrap();
        assert_eq!(other.open(QUOTE), Err(BadNote::Unsigned));
        let line = QUOTE.lines().last().unwrap();
        let many = format!("{QUOTE}{}", format!("{line}\n").repeat(MAX_SIGNATURES));
        assert_eq!(key.open(&many), Err(BadNote::TooLong));
        assert_eq!(key.open(&"x".repeat(MAX_NOTE + 1)), Err(BadNote::TooLong));
    }
}
