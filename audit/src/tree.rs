//! The Merkle tree of RFC 6962 §2.1. Leaves and nodes are hashed apart, so that neither can pass as the other.

mod history;
mod proof;

pub use history::History;
pub use proof::{verify_consistency, verify_inclusion};

use avouch_words::Digest;

/// The hash of a leaf: SHA-256(0x00 ‖ entry).
pub fn leaf(entry: &[u8]) -> Digest {
    Digest::of(&[&[0], entry])
}

/// The hash of a node: SHA-256(0x01 ‖ left ‖ right).
pub fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// A tree that only grows, held as the roots of its complete subtrees: as many as its size has one bits, so that
/// going on after a restart needs no leaf.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    peaks: Vec<Digest>,
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree as it was kept: its size, and the roots of its complete subtrees from the largest on. None if
    /// their number does not fit the size.
    pub fn resume(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (u64::from(size.count_ones()) == peaks.len() as u64).then_some(Self { size, peaks })
    }

    /// Puts in the next leaf, by its hash.
    pub fn append(&mut self, leaf: Digest) {
        let mut root = leaf;
        let mut size = self.size;
        // Each one bit at the end is a subtree as large as the one in hand: the two become one.
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                root = node(&left, &root);
            }
            size >>= 1;
        }
        self.peaks.push(root);
        self.size += 1;
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, from the largest on.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// The root; of the empty tree, the hash of nothing.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Digest::of(&[]),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests;
