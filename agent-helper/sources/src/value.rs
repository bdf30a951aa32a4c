//! What a store, a file or a command gave, as a value that can be injected and scrubbed.

use avouch_words::Secret;
use zeroize::Zeroizing;

use crate::sealed::{VALUE_MAX, check};
use crate::{Lease, SourceFault};

/// Room for the longest value, a line end, and one byte more that shows a value to be too long.
pub(crate) const ROOM: usize = VALUE_MAX + LINE_END_MAX + 1;

const LINE_END_MAX: usize = 2;

/// The longest name that a source makes up for a user, in bytes.
const NAME_MAX: usize = 256;

/// A lease of bytes that came from outside; nothing is owed for it.
pub(crate) fn lease(bytes: Vec<u8>) -> Result<Lease, SourceFault> {
    lease_of(Secret::new(bytes))
}

/// A lease of a value that came from outside; nothing is owed for it.
pub(crate) fn lease_of(value: Secret) -> Result<Lease, SourceFault> {
    check(&value).map_err(|_| SourceFault::Garbage)?;
    Ok(Lease::of(value))
}

/// Whether it can be injected and scrubbed.
pub(crate) fn usable(value: &Secret) -> bool {
    check(value).is_ok()
}

/// Whether it can be the name of a user.
pub(crate) fn usable_name(name: &Secret) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && name.expose().iter().all(u8::is_ascii_graphic)
}

/// Whether it can be a text of PEM: of the length of a value, printable, in lines.
pub(crate) fn usable_pem(text: &Secret) -> bool {
    let plain = |b: &u8| (b' '..=b'~').contains(b) || *b == b'\n';
    text.len() <= VALUE_MAX && text.expose().starts_with(b"-----BEGIN ") && text.expose().iter().all(plain)
}

/// A lease of what a file or a command holds, where a line end closes the line. Nothing but a line end is no value.
pub(crate) fn lease_of_line(bytes: &Zeroizing<Vec<u8>>) -> Result<Lease, SourceFault> {
    let line = bytes.strip_suffix(b"\n").map_or(bytes.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
    if line.is_empty() {
        return Err(SourceFault::Missing);
    }
    lease(line.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;

    fn line(bytes: &[u8]) -> Result<Vec<u8>, SourceFault> {
        let lease = lease_of_line(&Zeroizing::new(bytes.to_vec()))?;
        Ok(lease.part(Part::Value).unwrap().expose().to_vec())
    }

    #[test]
    fn one_line_end_is_taken_off_and_no_more() {
        for whole in [b"long-enough".as_slice(), b"long-enough\n", b"long-enough\r\n"] {
            assert_eq!(line(whole).unwrap(), b"long-enough");
        }
        for garbage in [b"long-enough\n\n".as_slice(), b"long\nenough", b"long-enough\r", b"\xfflong-enough", b"short"]
        {
            assert_eq!(line(garbage).unwrap_err(), SourceFault::Garbage, "{garbage:?}");
        }
        for nothing in [b"".as_slice(), b"\n", b"\r\n"] {
            assert_eq!(line(nothing).unwrap_err(), SourceFault::Missing);
        }
        assert_eq!(line(&vec![b'x'; VALUE_MAX + 1]).unwrap_err(), SourceFault::Garbage);
        assert_eq!(line(&[vec![b'x'; VALUE_MAX], b"\r\n".to_vec()].concat()).unwrap().len(), VALUE_MAX);
    }
}
