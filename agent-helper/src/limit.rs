//! How often one uid may ask, so that others go on being served (A31).

use avouch_words::Clock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A token bucket for each uid.
pub struct UidLimit {
    clock: Arc<dyn Clock>,
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<u32, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl UidLimit {
    /// So many a second, and so many at once.
    pub fn new(per_second: u32, burst: u32, clock: Arc<dyn Clock>) -> Self {
        Self { clock, per_second: per_second.into(), burst: burst.into(), buckets: Mutex::default() }
    }

    /// Takes one, if there is one left.
    pub fn take(&self, uid: u32) -> bool {
        let now = self.clock.boot();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_UIDS && !buckets.contains_key(&uid) {
            buckets.retain(|_, bucket| self.level(*bucket, now) < self.burst);
        }
        let level = buckets.get(&uid).map_or(self.burst, |bucket| self.level(*bucket, now));
        let enough = level >= 1.0;
        let tokens = if enough { level - 1.0 } else { level };
        if buckets.len() < MOST_UIDS || buckets.contains_key(&uid) {
            buckets.insert(uid, Bucket { tokens, at: now });
        }
        enough
    }

    fn level(&self, bucket: Bucket, now: Duration) -> f64 {
        let gained = now.saturating_sub(bucket.at).as_secs_f64() * self.per_second;
        (bucket.tokens + gained).min(self.burst)
    }
}

/// Uids whose buckets are kept; above it full buckets are forgotten, which changes nothing for them.
const MOST_UIDS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::HandClock;

    #[test]
    fn one_uid_runs_dry_and_another_does_not() {
        let clock = HandClock::new();
        let limit = UidLimit::new(10, 3, clock.clone());
        assert_eq!([1; 4].map(|uid| limit.take(uid)), [true, true, true, false]);
        assert!(limit.take(2));
        clock.forward(Duration::from_millis(100));
        assert_eq!([1; 2].map(|uid| limit.take(uid)), [true, false]);
        clock.forward(Duration::from_secs(3600));
        assert_eq!([1; 4].map(|uid| limit.take(uid)), [true, true, true, false], "it never holds more than the burst");
    }

    #[test]
    fn very_many_uids_take_no_more_room() {
        let limit = UidLimit::new(1, 2, HandClock::new());
        for uid in 0..10_000 {
            limit.take(uid);
        }
        assert!(limit.buckets.lock().unwrap().len() <= MOST_UIDS);
    }
}
