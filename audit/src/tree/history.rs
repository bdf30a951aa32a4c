//! A tree with all of its hashes, for roots of earlier sizes and for proofs.

use super::node;
use avouch_words::Digest;

/// Every hash of a tree: `levels[0]` are the leaves, `levels[l]` the roots of complete subtrees of 2^l leaves.
#[derive(Clone, Debug, Default)]
pub struct History {
    levels: Vec<Vec<Digest>>,
}

impl History {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts in the next leaf, by its hash.
    pub fn append(&mut self, leaf: Digest) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            match row.as_slice() {
                [.., left, right] if row.len().is_multiple_of(2) => hash = node(left, right),
                _ => return,
            }
        }
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The hash of a leaf.
    pub fn leaf(&self, index: u64) -> Option<Digest> {
        self.levels.first()?.get(usize::try_from(index).ok()?).copied()
    }

    /// The root as it was when there were so many leaves; none for more than there are.
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        match size {
            0 => Some(Digest::of(&[])),
            _ if size > self.size() => None,
            _ => self.range(0, size),
        }
    }

    /// The inclusion proof of a leaf in the tree of so many leaves (RFC 6962 §2.1.1); none if there is no such
    /// leaf. In a tree of one leaf it exists, and is empty.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Digest>> {
        if index >= size || size > self.size() {
            return None;
        }
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                path.push(self.range(middle, end)?);
                end = middle;
            } else {
                path.push(self.range(start, middle)?);
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The proof that the tree of `new` leaves begins with the tree of `old` (RFC 6962 §2.1.2); none unless
    /// 0 < `old` ≤ `new` ≤ the size.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Digest>> {
        if old == 0 || old > new || new > self.size() {
            return None;
        }
        let (mut start, mut end) = (0, new);
        let mut path = Vec::new();
        // The root of the old tree is known to the one who checks, as long as it is a subtree itself.
        while old != end {
            let middle = start + split(end - start);
            if old <= middle {
                path.push(self.range(middle, end)?);
                end = middle;
            } else {
                path.push(self.range(start, middle)?);
                start = middle;
            }
        }
        if start != 0 {
            path.push(self.range(start, end)?);
        }
        path.reverse();
        Some(path)
    }

    /// The root over leaves `start..end`, where `start` is a multiple of the next power of two from `end - start`.
    fn range(&self, start: u64, end: u64) -> Option<Digest> {
        let len = end - start;
        if len.is_power_of_two() {
            let level = len.trailing_zeros();
            let at = usize::try_from(start >> level).ok()?;
            return self.levels.get(usize::try_from(level).ok()?)?.get(at).copied();
        }
        let middle = start + split(len);
        Some(node(&self.range(start, middle)?, &self.range(middle, end)?))
    }
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}
