//! Heads and chunks, written anew.

/// Adds `name: value`. False, and nothing added, if either holds a byte that could end the line or the value early.
#[must_use]
pub(crate) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) -> bool {
    if !is_token(name) || !is_field_value(value) {
        return false;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    true
}

/// Adds `name: number`.
pub(crate) fn number_field(out: &mut Vec<u8>, name: &str, number: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    number_text(out, number);
    out.extend_from_slice(b"\r\n");
}

/// Adds a status line without a reason phrase.
pub(crate) fn status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number_text(out, u64::from(status));
    out.extend_from_slice(b" \r\n");
}

/// Adds one chunk; an empty piece adds nothing, as an empty chunk would end the body.
pub(crate) fn chunk(out: &mut Vec<u8>, piece: &[u8]) {
    if piece.is_empty() {
        return;
    }
    let digits = (usize::BITS - piece.len().leading_zeros()).div_ceil(4);
    for at in (0..digits).rev() {
        let digit = (piece.len() >> (at * 4)) & 15;
        out.push(b"0123456789abcdef"[digit]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

/// Adds the end of a chunked body.
pub(crate) fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Whether it is a token of RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    let symbol = |b: u8| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || symbol(b))
}

/// Whether it can stand as a field's value: no control character but the tab.
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f))
}

fn number_text(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
