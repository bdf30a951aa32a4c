//! Facts that attestors find.

use std::fmt;

/// A fact `type:value` found by an attestor, such as `unix:uid:1001` or `node:name:laptop`: a type of
/// `a-z 0-9 -`, a colon, and a value of 1 to 512 printable ASCII bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector(String);

/// Why a text is not a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a selector is type:value, as unix:uid:1001; the type of a-z, 0-9 and '-', the value printable ASCII of at most 512 bytes"
)]
pub struct BadSelector;

impl Selector {
    /// The longest selector, in bytes.
    pub const MAX: usize = 544;

    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, BadSelector> {
        let (kind, value) = text.split_once(':').ok_or(BadSelector)?;
        let kind_fits = (1..=31).contains(&kind.len())
            && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let value_fits = (1..=512).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !kind_fits || !value_fits {
            return Err(BadSelector);
        }
        Ok(Self(text.to_owned()))
    }

    /// The selector as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type before the first colon: the attestor's name.
    pub fn kind(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// Whether it only says which program file runs: never enough alone, as the file can be made to run by
    /// anyone who may execute it (DESIGN §7, case U03).
    pub fn is_path_or_hash(&self) -> bool {
        self.0.starts_with("unix:path:") || self.0.starts_with("unix:sha256:")
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_have_a_type_and_a_value() {
        for good in ["unix:uid:0", "session:agent:researcher", "unix:path:/usr/bin/a b", "k8s:ns:prod"] {
            assert_eq!(Selector::parse(good).map(|s| s.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "unix", ":x", "unix:", "Unix:uid:0", "unix:uid:\n", "unix:é", &format!("a:{}", "x".repeat(513))]
        {
            assert_eq!(Selector::parse(bad), Err(BadSelector), "{bad:?}");
        }
    }
}
