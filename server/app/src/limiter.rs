//! How often what strangers do goes into the log. Anyone can knock, so refusals of strangers are counted out: above the
//! rate they are refused all the same, and only the trace tells.

use avouch_words::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A bucket of permissions that fills again with time.
pub(crate) struct Limiter {
    clock: Arc<dyn Clock>,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    left: u32,
    filled: Duration,
}

impl Limiter {
    /// A full bucket.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let filled = clock.boot();
        Self { clock, bucket: Mutex::new(Bucket { left: BURST, filled }) }
    }

    /// Takes one permission, if there is one.
    pub(crate) fn take(&self) -> bool {
        let now = self.clock.boot();
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = now.saturating_sub(bucket.filled).as_nanos() / EVERY.as_nanos();
        if fresh > 0 {
            bucket.left = bucket.left.saturating_add(u32::try_from(fresh).unwrap_or(BURST)).min(BURST);
            bucket.filled = now;
        }
        match bucket.left.checked_sub(1) {
            Some(left) => {
                bucket.left = left;
                true
            }
            None => false,
        }
    }
}

/// As many at once.
const BURST: u32 = 64;
/// One more after so long.
const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    #[test]
    fn strangers_cannot_fill_the_log() {
        let clock = Arc::new(TestClock::default());
        let limiter = Limiter::new(Arc::clone(&clock) as Arc<dyn Clock>);
        assert_eq!((0..1000).filter(|_| limiter.take()).count(), BURST as usize);
        clock.advance(Duration::from_secs(3));
        assert_eq!((0..1000).filter(|_| limiter.take()).count(), 3);
        clock.advance(Duration::from_secs(3600));
        assert_eq!((0..1000).filter(|_| limiter.take()).count(), BURST as usize);
    }
}
