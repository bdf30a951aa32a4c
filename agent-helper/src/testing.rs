//! What the tests of this crate share.

use avouch_words::{Clock, Millis};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A clock that is turned by hand.
pub struct HandClock(Mutex<(Millis, Duration)>);

impl HandClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Millis(1_800_000_000_000), Duration::from_secs(1000)))))
    }

    pub fn forward(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        now.0 = now.0.plus(by);
        now.1 += by;
    }
}

impl Clock for HandClock {
    fn now(&self) -> Millis {
        self.0.lock().unwrap().0
    }

    fn boot(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

/// A clock that goes with tokio's, which tests pause: a day passes in milliseconds.
pub struct TimerClock(tokio::time::Instant);

impl TimerClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for TimerClock {
    fn now(&self) -> Millis {
        Millis(1_800_000_000_000).plus(self.0.elapsed())
    }

    fn boot(&self) -> Duration {
        Duration::from_secs(1000) + self.0.elapsed()
    }
}
