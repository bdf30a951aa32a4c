//! A body looked through while it passes, whatever pieces it comes in.

use super::{LONGEST, find};

/// Looks for placeholders in a body that comes in pieces.
#[derive(Debug, Default)]
pub struct Watch {
    /// The end of what was seen: as much as could be the beginning of a placeholder.
    tail: Vec<u8>,
}

impl Watch {
    /// A new body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a placeholder stands in this piece, or across its border with those before it.
    pub fn sees(&mut self, piece: &[u8]) -> bool {
        const KEPT: usize = LONGEST - 1;
        let seam = piece.len().min(KEPT);
        self.tail.extend_from_slice(&piece[..seam]);
        if find(&self.tail).is_some() || find(piece).is_some() {
            return true;
        }
        if piece.len() >= KEPT {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - KEPT..]);
        } else {
            let spare = self.tail.len().saturating_sub(KEPT);
            self.tail.drain(..spare);
        }
        false
    }
}
