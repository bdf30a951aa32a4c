//! Places that each user can have only so many of, so that there are some left for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// So many places, and so many of them for one user.
#[derive(Clone, Debug)]
pub struct Slots {
    counts: Arc<Mutex<Counts>>,
    most: usize,
    most_of_uid: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    of_uid: HashMap<u32, usize>,
}

/// A user's place; free again when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    uid: u32,
}

impl Slots {
    /// All of them free.
    pub fn new(most: usize, most_of_uid: usize) -> Self {
        Self { counts: Arc::default(), most, most_of_uid }
    }

    /// A place for this user, if there is one.
    pub fn take(&self, uid: u32) -> Option<Slot> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.of_uid.get(&uid).copied().unwrap_or(0);
        if counts.total >= self.most || own >= self.most_of_uid {
            return None;
        }
        counts.total += 1;
        counts.of_uid.insert(uid, own + 1);
        Some(Slot { slots: self.clone(), uid })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.slots.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(own) = counts.of_uid.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                counts.of_uid.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// U15: what one user takes leaves room for others.
    #[test]
    fn one_user_cannot_take_all_places() {
        let slots = Slots::new(64, 8);
        let mut flood: Vec<_> = (0..8).map(|_| slots.take(1000).unwrap()).collect();
        assert!(slots.take(1000).is_none());
        let other = slots.take(1001).unwrap();
        flood.pop();
        assert!(slots.take(1000).is_some());
        drop((flood, other));
        assert_eq!(slots.counts.lock().unwrap().total, 0);
        assert!(slots.counts.lock().unwrap().of_uid.is_empty());
        let all: Vec<_> = (0..64).map(|at| slots.take(at).unwrap()).collect();
        assert!(slots.take(99_999).is_none());
        drop(all);
    }
}
