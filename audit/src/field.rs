//! The types of the fields of records. None takes free text: what comes from outside is escaped and cut to a size
//! (case A32), what names a person is a commitment, and numbers that may pass 2⁵³ are strings.

use avouch_words::{Digest, Millis};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};
use std::fmt;

/// A number of up to 64 bits, in JSON a decimal string: JCS numbers are doubles, and above 2⁵³ those round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Count(pub u64);

impl From<u64> for Count {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(|_| D::Error::custom("not a number"))
    }
}

/// A moment, in JSON a number of milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// The moment as the clock names it.
    pub fn millis(self) -> Millis {
        Millis(self.0)
    }
}

impl From<Millis> for Moment {
    /// Moments before 1970 or past what a double holds exactly become the nearest that fits.
    fn from(value: Millis) -> Self {
        Self(value.0.clamp(0, MAX_EXACT))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        if !(0..=MAX_EXACT).contains(&value) {
            return Err(D::Error::custom("not a moment"));
        }
        Ok(Self(value))
    }
}

/// A word out of the program's own list, `a-z 0-9 _` and at most 48 bytes: never anything that came from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(String);

impl Code {
    /// The longest code, in bytes.
    pub const MAX: usize = 48;

    /// A code of the program. One that does not fit the form becomes `other`.
    pub fn of(text: &'static str) -> Self {
        Self(if Self::fits(text) { text } else { "other" }.to_owned())
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn fits(text: &str) -> bool {
        (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if Self::fits(&text) { Ok(Self(text)) } else { Err(D::Error::custom("not a code")) }
    }
}

/// A text from outside, fit for a log line: printable ASCII as it is, `\` as `\\`, every other byte as `\xNN`. If
/// that is longer than `N` bytes, it is cut and the SHA-256 of the whole follows behind a space (which a whole text
/// never holds), so that two long texts stay apart.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outside<const N: usize>(String);

impl<const N: usize> Outside<N> {
    /// Escapes and cuts.
    pub fn of(text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        let mut out = String::with_capacity(text.len().min(N));
        for &byte in text {
            let at = out.len();
            match byte {
                b'\\' => out.push_str(r"\\"),
                b if b.is_ascii_graphic() => out.push(char::from(b)),
                b => {
                    out.push_str(r"\x");
                    out.push(char::from(HEX[usize::from(b >> 4)]));
                    out.push(char::from(HEX[usize::from(b & 15)]));
                }
            }
            if out.len() > N {
                out.truncate(at);
                out.push(' ');
                out.push_str(&Digest::of(&[text]).to_string());
                break;
            }
        }
        Self(out)
    }

    /// The escaped text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn fits(text: &str) -> bool {
        let whole = |part: &str| {
            let mut bytes = part.bytes();
            while let Some(byte) = bytes.next() {
                let good = match byte {
                    b'\\' => match bytes.next() {
                        Some(b'\\') => true,
                        Some(b'x') => bytes.next().is_some_and(is_hex) && bytes.next().is_some_and(is_hex),
                        _ => false,
                    },
                    b => b.is_ascii_graphic(),
                };
                if !good {
                    return false;
                }
            }
            part.len() <= N
        };
        match text.split_once(' ') {
            None => whole(text),
            Some((start, digest)) => whole(start) && Digest::parse(digest).is_some(),
        }
    }
}

impl<const N: usize> fmt::Debug for Outside<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const N: usize> Serialize for Outside<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Outside<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if Self::fits(&text) { Ok(Self(text)) } else { Err(D::Error::custom("not an escaped text")) }
    }
}

/// A salted commitment to a value that could identify a person: the value and its salt are kept beside the log and
/// can be erased there, and the log still verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Commitment(Digest);

impl Commitment {
    /// How many random bytes a salt has; values that are easily guessed need all of them.
    pub const SALT: usize = 16;

    /// Commits to the value.
    pub fn of(salt: &[u8; Self::SALT], value: &[u8]) -> Self {
        Self(Digest::of(&[b"avouch commitment\n", salt, value]))
    }

    /// The digest.
    pub fn digest(&self) -> Digest {
        self.0
    }
}

impl Serialize for Commitment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Digest::deserialize(deserializer).map(Self)
    }
}

fn is_hex(byte: u8) -> bool {
    HEX.contains(&byte)
}

const HEX: &[u8; 16] = b"0123456789abcdef";
/// 2⁵³ − 1.
const MAX_EXACT: i64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{decode, encode};

    #[test]
    fn texts_from_outside_are_one_escaped_and_capped_line() {
        let hostile = "a\u{1b}[31m\n\u{202e}b\\x0a\0";
        let text = Outside::<256>::of(hostile);
        assert_eq!(text.as_str(), r"a\x1b[31m\x0a\xe2\x80\xaeb\\x0a\x00");
        assert_eq!(decode::<Outside<256>>(&encode(&text).unwrap()), Ok(text));
        let long = Outside::<16>::of("x".repeat(100_000));
        let other = Outside::<16>::of(format!("{}y", "x".repeat(99_999)));
        assert_eq!(long.as_str().len(), 16 + 1 + 64);
        assert_ne!(long, other);
        assert_eq!(decode::<Outside<16>>(&encode(&long).unwrap()), Ok(long));
        assert_eq!(Outside::<16>::of("x".repeat(16)).as_str(), "x".repeat(16));
        for bad in ["a b", "é", "\\", "\\n", "\\xZZ", "\\xAA", "xxxxxxxxxxxxxxxxx", "x x x"] {
            assert!(decode::<Outside<16>>(&encode(&bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_past_2_to_the_53_do_not_round() {
        let count = Count(u64::MAX);
        assert_eq!(encode(&count).unwrap(), br#""18446744073709551615""#);
        assert_eq!(decode::<Count>(&encode(&count).unwrap()), Ok(count));
        for bad in ["\"01\"", "\"+1\"", "\"-1\"", "\"\"", "1", "\"18446744073709551616\""] {
            assert!(decode::<Count>(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(Moment::from(Millis(i64::MAX)).millis(), Millis((1 << 53) - 1));
        assert_eq!(Moment::from(Millis(-5)).millis(), Millis(0));
        assert!(decode::<Moment>(b"9007199254740992").is_err());
        assert!(decode::<Moment>(b"9007199254740991").is_ok());
    }

    #[test]
    fn codes_are_words_of_the_program() {
        assert_eq!(Code::of("bad_request").as_str(), "bad_request");
        assert_eq!(Code::of("No such!").as_str(), "other");
        assert!(decode::<Code>(b"\"a b\"").is_err());
        assert!(decode::<Code>(format!("\"{}\"", "a".repeat(49)).as_bytes()).is_err());
    }

    #[test]
    fn a_commitment_needs_its_salt() {
        let one = Commitment::of(&[1; 16], b"me@example.test");
        assert_eq!(one, Commitment::of(&[1; 16], b"me@example.test"));
        assert_ne!(one, Commitment::of(&[2; 16], b"me@example.test"));
    }
}
