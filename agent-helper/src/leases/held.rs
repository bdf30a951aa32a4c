//! A lease in use. Whoever uses what was leased holds this; when nobody holds it any more, it is given back.

use super::{Key, Leases, Why};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What is known of a lease without asking the book.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Milliseconds of the boot clock at which it ends at the source.
    until: AtomicU64,
    dead: AtomicBool,
    used: AtomicBool,
}

impl Marks {
    pub(super) fn new(until: Duration) -> Self {
        let marks = Self { until: AtomicU64::new(0), dead: AtomicBool::new(false), used: AtomicBool::new(true) };
        marks.last_until(until);
        marks
    }

    pub(super) fn last_until(&self, until: Duration) {
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn until(&self) -> Duration {
        Duration::from_millis(self.until.load(Ordering::Relaxed))
    }

    pub(super) fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// Whether it was used since this was asked last.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

/// A lease that is held.
pub(crate) struct Held {
    leases: Weak<Leases>,
    key: Key,
    marks: Arc<Marks>,
}

impl Held {
    pub(super) fn new(leases: Weak<Leases>, key: Key, marks: Arc<Marks>) -> Self {
        Self { leases, key, marks }
    }

    /// Whether what was leased may be used now, a moment before its end not counted.
    pub(crate) fn is_live(&self, boot: Duration) -> bool {
        !self.marks.dead.load(Ordering::Relaxed) && boot + MARGIN < self.marks.until()
    }

    /// When it ends.
    pub(crate) fn until(&self) -> Duration {
        self.marks.until()
    }

    /// It is being used: a lease that is used is renewed.
    pub(crate) fn touch(&self) {
        self.marks.used.store(true, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(leases) = self.leases.upgrade() {
            leases.end(&self.key, Why::Released);
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({})", self.key.0)
    }
}

/// So long before its end a lease is not used any more: a request is still on its way then.
const MARGIN: Duration = Duration::from_secs(1);
