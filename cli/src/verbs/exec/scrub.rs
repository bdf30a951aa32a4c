//! What the program prints, without the values it holds.

use avouch_helper::scrub::{Needles, Scrubber};
use std::io::{Read, Write};
use std::sync::Arc;

/// Passes everything on until the end. What could be the beginning of a value waits for what follows.
pub fn pass(mut from: impl Read, mut to: impl Write, needles: Arc<Needles>) {
    let mut scrubber = Scrubber::new(needles);
    let mut piece = vec![0; PIECE];
    let mut out = Vec::new();
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => scrubber.push(&piece[..read], &mut out),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        // Whoever reads it may have gone; the program finds out by itself.
        if to.write_all(&out).and_then(|()| to.flush()).is_err() {
            return;
        }
        out.clear();
    }
    scrubber.finish(&mut out);
    let _ = to.write_all(&out).and_then(|()| to.flush());
}

/// How much is read at once.
const PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_out_wherever_the_pieces_begin() {
        struct OneByOne(Vec<u8>);
        impl Read for OneByOne {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                match self.0.is_empty() {
                    true => Ok(0),
                    false => {
                        into[0] = self.0.remove(0);
                        Ok(1)
                    }
                }
            }
        }
        let needles = Arc::new(Needles::new([&b"s3cr3t-canary"[..]]).unwrap());
        let mut out = Vec::new();
        let said = b"before s3cr3t-canary, czNjcjN0LWNhbmFyeQ== after".to_vec();
        pass(OneByOne(said), &mut out, needles);
        // The last letter before the padding is not of the value alone.
        assert_eq!(String::from_utf8(out).unwrap(), "before [avouch:removed], [avouch:removed]Q== after");
    }
}
