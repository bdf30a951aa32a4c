//! Where in a source a credential's value lies.

use std::fmt;

/// Up to 512 bytes of printable ASCII without blanks, that only the source can read; empty where the source needs
/// none. It is no secret, and may be shown and recorded.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference(String);

/// Why a text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reference is at most 512 printable ASCII characters without blanks")]
pub struct BadReference;

impl Reference {
    /// The longest, in bytes.
    pub const MAX: usize = 512;

    /// Reads a reference.
    pub fn parse(text: &str) -> Result<Self, BadReference> {
        if text.len() > Self::MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadReference);
        }
        Ok(Self(text.to_owned()))
    }

    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_short_and_plain() {
        for good in ["", "kv2:secret/ci/github#token@3", &"x".repeat(Reference::MAX)] {
            assert_eq!(Reference::parse(good).unwrap().as_str(), good);
        }
        for bad in ["a b", "a\n", "\u{e9}", "\0", &"x".repeat(Reference::MAX + 1)] {
            assert_eq!(Reference::parse(bad), Err(BadReference), "{bad:?}");
        }
    }
}
