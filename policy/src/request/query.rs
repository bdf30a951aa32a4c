//! Which query bytes have one reading. Values are not judged; keys are, as exact bytes.

use super::{BadRequest, MAX_QUERY_PAIRS, QueryPair};
use std::ops::Range;

/// Checks a query without its `?`, and tells where its pairs stand in a target in which it begins at `offset`.
pub(super) fn check(query: &[u8], offset: usize) -> Result<Vec<Range<usize>>, BadRequest> {
    let mut pairs = Vec::new();
    let mut start = offset;
    for pair in query.split(|b| *b == b'&') {
        if pairs.len() == MAX_QUERY_PAIRS {
            return Err(BadRequest::QueryPairs);
        }
        if pair.is_empty() || pair[0] == b'=' {
            return Err(BadRequest::EmptyQuery);
        }
        check_bytes(pair)?;
        pairs.push(start..start + pair.len());
        start += pair.len() + 1;
    }
    Ok(pairs)
}

/// Checks a key that a binding lists: it must be one that a query can hold.
pub(crate) fn check_key(key: &str) -> Result<(), BadRequest> {
    if key.is_empty() {
        return Err(BadRequest::EmptyQuery);
    }
    if key.contains(['&', '=']) {
        return Err(BadRequest::QueryByte);
    }
    check_bytes(key.as_bytes())
}

/// The key and the value of one pair.
pub(super) fn pair(text: &str) -> QueryPair<'_> {
    match text.split_once('=') {
        Some((key, value)) => QueryPair { key, value: Some(value) },
        None => QueryPair { key: text, value: None },
    }
}

fn check_bytes(pair: &[u8]) -> Result<(), BadRequest> {
    for (at, byte) in pair.iter().enumerate() {
        if *byte == b'%' {
            let digits = pair.get(at + 1..at + 3).ok_or(BadRequest::QueryEscape)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) || digits == b"00" {
                return Err(BadRequest::QueryEscape);
            }
        } else if !stands_plain(*byte) {
            return Err(BadRequest::QueryByte);
        }
    }
    Ok(())
}

/// RFC 3986 `query` without `;`, which some servers read as `&`; with the brackets that many clients send plain.
fn stands_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',')
        || matches!(byte, b'=' | b':' | b'@' | b'/' | b'?' | b'[' | b']')
}
