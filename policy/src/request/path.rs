//! Which path bytes have one reading.

use super::{BadRequest, MAX_SEGMENTS};

/// Checks a path, leading slash and all. A trailing slash may be; it makes another path.
pub(crate) fn check(path: &[u8]) -> Result<(), BadRequest> {
    let segments = path.strip_prefix(b"/").ok_or(BadRequest::PathStart)?;
    let mut count = 0;
    let mut rest = segments.split(|b| *b == b'/').peekable();
    while let Some(segment) = rest.next() {
        count += 1;
        if count > MAX_SEGMENTS {
            return Err(BadRequest::Segments);
        }
        if segment.is_empty() && rest.peek().is_some() {
            return Err(BadRequest::EmptySegment);
        }
        check_segment(segment)?;
    }
    Ok(())
}

fn check_segment(segment: &[u8]) -> Result<(), BadRequest> {
    if segment == b"." || segment == b".." {
        return Err(BadRequest::DotSegment);
    }
    // Escaped bytes of one run: what they say has to be UTF-8, each character in its shortest form.
    let mut escaped = Vec::new();
    let mut at = 0;
    while at < segment.len() {
        if segment[at] == b'%' {
            let byte = unescape(segment.get(at + 1..at + 3)).ok_or(BadRequest::PathEscape)?;
            if has_meaning(byte) {
                return Err(BadRequest::PathEscaped);
            }
            escaped.push(byte);
            at += 3;
            continue;
        }
        check_utf8(&mut escaped)?;
        if !stands_plain(segment[at]) {
            return Err(BadRequest::PathByte);
        }
        at += 1;
    }
    check_utf8(&mut escaped)
}

fn check_utf8(escaped: &mut Vec<u8>) -> Result<(), BadRequest> {
    if std::str::from_utf8(escaped).is_err() {
        return Err(BadRequest::PathUtf8);
    }
    escaped.clear();
    Ok(())
}

fn unescape(digits: Option<&[u8]>) -> Option<u8> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    };
    match digits? {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// RFC 3986 `pchar` without `%`, and without `;`, at which some servers cut a segment short.
fn stands_plain(byte: u8) -> bool {
    unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// Whether an escape of this byte hides something: a byte that may stand plain has two spellings, and the others
/// are separators, escapes or controls to whoever decodes before splitting.
fn has_meaning(byte: u8) -> bool {
    unreserved(byte) || byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b'%' | b';' | b'?' | b'#')
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
