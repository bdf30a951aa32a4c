//! Names that people give (agents, nodes, credentials, sources) and identifiers that we make.

use std::fmt;

/// 1 to 64 bytes of `a-z 0-9 - _ .`, beginning with a letter or digit: fit for a SPIFFE ID segment, a file name,
/// a metric label and a shell word as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 of a-z, 0-9, '-', '_' and '.', and begins with a letter or a digit")]
pub struct BadName;

impl Name {
    /// The longest name, in bytes.
    pub const MAX: usize = 64;

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !begins || text.len() > Self::MAX || !text.bytes().all(allowed) {
            return Err(BadName);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An identifier that avouch makes: 16 bytes, 26 characters of Crockford's base 32, of which the first 10 tell the
/// millisecond, so that they sort by time (the ULID format).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ulid([u8; 16]);

impl Ulid {
    /// A new identifier of this moment. `random` has to come from the system's generator.
    pub fn new(now: crate::Millis, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&now.0.max(0).to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Self(bytes)
    }

    /// The moment it was made, as its maker's clock said.
    pub fn moment(&self) -> crate::Millis {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0[..6]);
        crate::Millis(i64::from_be_bytes(bytes))
    }

    /// Reads the 26 characters; lower case and look-alikes are refused.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.len() != 26 {
            return Err(BadName);
        }
        let mut value: u128 = 0;
        for (at, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|a| *a == byte).ok_or(BadName)?;
            if at == 0 && digit > 7 {
                return Err(BadName);
            }
            value = (value << 5) | digit as u128;
        }
        Ok(Self(value.to_be_bytes()))
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for at in (0..26).rev() {
            let digit = (value >> (at * 5)) & 31;
            write!(f, "{}", char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        for good in ["a", "researcher", "api.github-2_x", "0", &"a".repeat(64)] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a b", "-a", ".a", "a/b", "é", "a\n", &"a".repeat(65)] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identifiers_read_back_and_sort_by_time() {
        let early = Ulid::new(crate::Millis(1_700_000_000_000), [255; 10]);
        let late = Ulid::new(crate::Millis(1_700_000_000_001), [0; 10]);
        assert_eq!(Ulid::parse(&early.to_string()), Ok(early));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.moment(), crate::Millis(1_700_000_000_000));
        for bad in ["", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01hf0000000000000000000000", "01HF000000000000000000000U"] {
            assert!(Ulid::parse(bad).is_err(), "{bad}");
        }
    }
}
