//! The canonical request: what is judged, and byte for byte what is sent (case A14, rule B04). Two spellings of one
//! path are never folded into one; the second spelling is refused.

mod path;
mod query;

pub(crate) use path::check as check_path;
pub(crate) use query::check_key as check_query_key;

use crate::origin::{BadOrigin, Origin, split_scheme};
use crate::placeholder::Placed;
use std::fmt;
use std::ops::Range;

/// The longest request target, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;
/// The most query pairs of one request.
pub const MAX_QUERY_PAIRS: usize = 64;
/// The most segments of one path.
pub const MAX_SEGMENTS: usize = 128;
/// The longest method, in bytes.
pub const MAX_METHOD: usize = 20;

/// What stands for the method where a tunnel is asked for: what will go through it is not known yet.
pub const TUNNEL: &str = "TUNNEL";

/// An HTTP method in upper case. `TRACE` echoes the credential (rule B05), `CONNECT` is no request to a tool, and
/// `PRI` begins another protocol: none of these can be made.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(String);

impl Method {
    /// Reads a method; `TRACE`, `TRACK`, `CONNECT`, `PRI` and anything not in `A-Z -` are refused.
    pub fn parse(text: &[u8]) -> Result<Self, BadRequest> {
        let shape = (1..=MAX_METHOD).contains(&text.len())
            && text[0].is_ascii_uppercase()
            && text.iter().all(|b| b.is_ascii_uppercase() || *b == b'-');
        let text = std::str::from_utf8(text).ok().filter(|_| shape).ok_or(BadRequest::Method)?;
        if REFUSED_METHODS.contains(&text) {
            return Err(BadRequest::MethodRefused);
        }
        Ok(Self(text.to_owned()))
    }

    /// The method as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// No body.
    None,
    /// A body of so many bytes, said before it comes.
    Length(u64),
    /// A body of a length not known before it ends.
    Streamed,
}

/// Why a request has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Lower case, empty, or bytes other than letters and `-`.
    #[error("the method is not upper-case letters")]
    Method,
    /// See [`Method`].
    #[error("the method is TRACE, TRACK, CONNECT or PRI, which no binding can allow")]
    MethodRefused,
    /// Above [`MAX_TARGET`].
    #[error("the target is longer than 8192 bytes")]
    TargetLength,
    /// Scheme, host or port.
    #[error("the authority is refused: {0}")]
    Origin(#[from] BadOrigin),
    /// `alice@host`.
    #[error("the target carries a user name")]
    UserInfo,
    /// The target does not begin with a slash, as in `*` or `http://host`.
    #[error("the path does not begin with '/'")]
    PathStart,
    /// `//`.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `.` and `..`.
    #[error("the path has a segment '.' or '..'")]
    DotSegment,
    /// Above [`MAX_SEGMENTS`].
    #[error("the path has more than 128 segments")]
    Segments,
    /// A byte that may not stand in a path as it is: `;`, `\`, controls, space, `"`, `<`, non-ASCII and so on.
    #[error("the path holds a byte that has more than one reading (such as ';', '\\', a control or non-ASCII byte)")]
    PathByte,
    /// `%` not before two hexadecimal digits, or before lower-case ones.
    #[error("the path has a percent escape that is not two upper-case hexadecimal digits")]
    PathEscape,
    /// An escape of a byte that would be read twice, or could stand as it is: `%2F`, `%2E`, `%25`, `%00`, `%41`.
    #[error("the path escapes a byte that could stand plain or has a meaning in paths")]
    PathEscaped,
    /// Escaped bytes that are not UTF-8, overlong forms among them.
    #[error("the path escapes bytes that are not UTF-8")]
    PathUtf8,
    /// `#`.
    #[error("the target carries a fragment")]
    Fragment,
    /// `/x?`, `&&`, `=v`.
    #[error("the query is empty, or has an empty pair or key")]
    EmptyQuery,
    /// A byte that may not stand in a query as it is.
    #[error("the query holds a byte that has more than one reading (such as ';', '\\', a control or non-ASCII byte)")]
    QueryByte,
    /// `%` not before two hexadecimal digits, or `%00`.
    #[error("the query has a broken percent escape or an escaped NUL")]
    QueryEscape,
    /// Above [`MAX_QUERY_PAIRS`].
    #[error("the query has more than 64 pairs")]
    QueryPairs,
}

/// One key of the query with its value, both as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryPair<'a> {
    /// The bytes before `=`.
    pub key: &'a str,
    /// The bytes after it; none where there is no `=`.
    pub value: Option<&'a str>,
}

/// A request with one reading. The sender writes its head from this value and from nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalRequest {
    origin: Origin,
    method: Method,
    /// Path and query, exactly as judged and sent.
    target: String,
    path_end: usize,
    pairs: Vec<Range<usize>>,
    body: Body,
    placed: Vec<Placed>,
}

impl CanonicalRequest {
    /// From the absolute-form of a proxy request: `http://host[:port]/path[?query]`.
    pub fn from_absolute_form(method: &[u8], target: &[u8], body: Body) -> Result<Self, BadRequest> {
        let (origin, origin_form) = split_absolute_form(target)?;
        Self::from_origin_form(origin, method, origin_form, body)
    }

    /// From the origin-form inside a CONNECT, whose authority gave the origin.
    pub fn from_origin_form(origin: Origin, method: &[u8], target: &[u8], body: Body) -> Result<Self, BadRequest> {
        let method = Method::parse(method)?;
        if target.len() > MAX_TARGET {
            return Err(BadRequest::TargetLength);
        }
        if target.contains(&b'#') {
            return Err(BadRequest::Fragment);
        }
        let path_end = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
        path::check(&target[..path_end])?;
        let pairs = match target.get(path_end + 1..) {
            Some(query) => query::check(query, path_end + 1)?,
            None => Vec::new(),
        };
        // Both checks let only ASCII through.
        let target = std::str::from_utf8(target).map_err(|_| BadRequest::PathByte)?.to_owned();
        Ok(Self { origin, method, target, path_end, pairs, body, placed: Vec::new() })
    }

    /// Where it goes.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        &self.target[..self.path_end]
    }

    /// The query pairs in the order sent.
    pub fn query(&self) -> impl Iterator<Item = QueryPair<'_>> {
        self.pairs.iter().map(|range| query::pair(&self.target[range.clone()]))
    }

    /// Path and query, to be written in the outgoing request line.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// With the placeholders that its header fields hold: they are judged with it.
    #[must_use]
    pub fn with_placed(self, placed: Vec<Placed>) -> Self {
        Self { placed, ..self }
    }

    /// The placeholders in its header fields, in their order.
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }

    /// What follows the head.
    pub fn body(&self) -> Body {
        self.body
    }
}

/// The origin of an absolute-form target, and the origin-form that remains. Used alone where only the origin is
/// looked at: whether anything binds it.
pub fn split_absolute_form(target: &[u8]) -> Result<(Origin, &[u8]), BadRequest> {
    if target.len() > MAX_TARGET {
        return Err(BadRequest::TargetLength);
    }
    // Checked before the authority is cut out: `http://good#@evil/` has two readings already.
    if target.contains(&b'#') {
        return Err(BadRequest::Fragment);
    }
    let text = std::str::from_utf8(target).map_err(|_| BadRequest::PathByte)?;
    let (scheme, rest) = split_scheme(text)?;
    let end = rest.find(['/', '?', '\\']).unwrap_or(rest.len());
    let (authority, origin_form) = rest.split_at(end);
    if authority.contains('@') {
        return Err(BadRequest::UserInfo);
    }
    let origin = Origin::from_authority(scheme, authority.as_bytes())?;
    if !origin_form.starts_with('/') {
        return Err(BadRequest::PathStart);
    }
    Ok((origin, origin_form.as_bytes()))
}

const REFUSED_METHODS: [&str; 4] = ["TRACE", "TRACK", "CONNECT", "PRI"];

#[cfg(test)]
mod tests;
