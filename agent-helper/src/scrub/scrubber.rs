//! The stream: what cannot be the beginning of a form goes on at once, the rest waits for what follows.

use super::walk::Steps;
use super::{MARKER, Needles};
use bytes::BufMut;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Scrubs one body, in chunks of any size; the result does not depend on where they begin. The length changes where
/// something is found, so a body that goes through here is sent without a `Content-Length`.
pub struct Scrubber {
    needles: Arc<Needles>,
    /// What waits, and nothing else.
    held: Zeroizing<Vec<u8>>,
    /// So many first bytes of `held` are part of a form that was found; their marker is written.
    covered: usize,
    reflected: bool,
    /// What came could not be searched within bounds: nothing of the rest goes on.
    shut: bool,
}

impl Scrubber {
    /// A scrubber for one body.
    pub fn new(needles: Arc<Needles>) -> Self {
        Self { needles, held: Zeroizing::default(), covered: 0, reflected: false, shut: false }
    }

    /// Takes a chunk, and writes all that cannot be the beginning of a form. What stays held may be looked at with
    /// [`Self::held`]: between two events of a stream it is nothing, unless the event ends as a form begins.
    pub fn push(&mut self, chunk: &[u8], out: &mut impl BufMut) {
        if self.held.is_empty() {
            let kept = self.scan(chunk, out);
            self.keep(&chunk[kept..]);
            return;
        }
        let mut input = std::mem::take(&mut self.held);
        extend(&mut input, chunk);
        let kept = self.scan(&input, out);
        self.keep(&input[kept..]);
    }

    /// Ends the body. If it was cut off within a form, the part that came is taken out as well.
    pub fn finish(&mut self, out: &mut impl BufMut) {
        let held = std::mem::take(&mut self.held);
        let plain = &held[self.covered.min(held.len())..];
        let steps = Steps::for_input(plain.len());
        let cut_off = self.needles.cut_off(plain, &steps);
        match if steps.are_used_up() { Some(0) } else { cut_off } {
            Some(at) => {
                out.put_slice(&plain[..at]);
                // Directly behind a form that was found, one marker stands for both.
                if at > 0 || self.covered == 0 {
                    out.put_slice(MARKER);
                }
                self.reflected = true;
            }
            None => out.put_slice(plain),
        }
        self.covered = 0;
    }

    /// Whether anything was taken out so far.
    pub fn reflected(&self) -> bool {
        self.reflected
    }

    /// How many bytes wait for what follows.
    pub fn held(&self) -> usize {
        self.held.len() - self.covered.min(self.held.len())
    }

    /// Writes what is settled of `input`, and tells where that which is not begins.
    fn scan(&mut self, input: &[u8], out: &mut impl BufMut) -> usize {
        if self.shut {
            return input.len();
        }
        let steps = Steps::for_input(input.len());
        let mut found = Vec::new();
        self.needles.find(input, &steps, |start, end| found.push((start, end)));
        found.sort_unstable();
        let waits = self.needles.unfinished(input, &steps);
        if steps.are_used_up() {
            out.put_slice(MARKER);
            (self.shut, self.reflected, self.covered) = (true, true, 0);
            return input.len();
        }
        // All of `input` before `written` is written, or covered by a marker that is.
        let mut written = self.covered;
        for (start, end) in found {
            // A form that begins where something waits is found again with it.
            if start >= waits {
                break;
            }
            if start >= written {
                out.put_slice(&input[written..start]);
                out.put_slice(MARKER);
                self.reflected = true;
            }
            written = written.max(end);
        }
        if written < waits {
            out.put_slice(&input[written..waits]);
            written = waits;
        }
        self.covered = written - waits;
        waits
    }

    fn keep(&mut self, rest: &[u8]) {
        self.held.zeroize();
        extend(&mut self.held, rest);
    }
}

/// Appends without leaving a copy behind where the buffer has to grow.
fn extend(buffer: &mut Zeroizing<Vec<u8>>, more: &[u8]) {
    if buffer.capacity() < buffer.len() + more.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((buffer.len() + more.len()).next_power_of_two()));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(more);
}
