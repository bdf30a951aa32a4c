//! Path patterns. Segments are compared as the exact bytes of the request; a pattern never sees a decoded path.

use crate::request::{BadRequest, check_path};
use std::fmt;

/// `/repos/*/issues`, `/repos/**`: literal segments, `*` for exactly one non-empty segment, and at the end `**` for
/// all that remains (at least one segment, which may be the empty one after a trailing slash).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern(String);

/// Why a text is not a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// `/a/**/b`.
    #[error("'**' may stand only as the last segment")]
    RestInside,
    /// `/a*`, `/***`.
    #[error("'*' and '**' stand for whole segments; they cannot be part of one")]
    Partial,
    /// No canonical request could have this path.
    #[error("no request can have this path: {0}")]
    Path(#[from] BadRequest),
    /// Above [`PathPattern::MAX`].
    #[error("a path pattern has at most 1024 bytes")]
    TooLong,
}

impl PathPattern {
    /// The longest pattern, in bytes.
    pub const MAX: usize = 1024;

    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.len() > Self::MAX {
            return Err(BadPattern::TooLong);
        }
        check_path(text.as_bytes())?;
        let mut segments = text[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                ONE => {}
                REST if segments.peek().is_none() => {}
                REST => return Err(BadPattern::RestInside),
                // A literal `*` in a path is rare; that it would be taken for a wildcard is not.
                _ if segment.contains('*') => return Err(BadPattern::Partial),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it covers the path of a canonical request.
    pub fn matches(&self, path: &str) -> bool {
        let mut path = path.split('/');
        let mut pattern = self.0.split('/');
        loop {
            match (pattern.next(), path.next()) {
                (None, None) => return true,
                (Some(REST), Some(_)) => return true,
                (Some(ONE), Some(segment)) if !segment.is_empty() => {}
                (Some(literal), Some(segment)) if literal == segment => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const ONE: &str = "*";
const REST: &str = "**";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_whole_segments_only() {
        let table = [
            ("/repos/**", "/repos/x", true),
            ("/repos/**", "/repos/x/y/z", true),
            ("/repos/**", "/repos/", true),
            ("/repos/**", "/repos", false),
            ("/repos/**", "/reposx/y", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a/", "/a/", true),
            ("/a", "/A", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", false),
            ("/a/*", "/a/b/c", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/b/d", false),
            ("/a/*", "/a/*", true),
            ("/a/%20b", "/a/%20b", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(PathPattern::parse(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "/a/**/b", "/a*", "/***", "/*a/b", "", "a/b", "/a//b", "/a/../b", "/%2e", "/a;b", "/a?x=1", "/a#b", "/ü",
            "/a b",
        ] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(PathPattern::parse(&format!("/{}", "a".repeat(PathPattern::MAX))), Err(BadPattern::TooLong));
        assert!(PathPattern::parse(&format!("/{}", "a".repeat(PathPattern::MAX - 1))).is_ok());
    }
}
