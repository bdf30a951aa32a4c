//! What tests of this crate share.

use avouch_words::{Clock, Millis, SystemClock};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The system's clock, turned forward or back.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        SystemClock.boot() + Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}
