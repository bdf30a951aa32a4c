//! What stands before one source: how many ask it at once, how many wait for that, how long it may take, and a breaker
//! that stops asking a source which does not answer. Each source has its own and shares none of it, so that one that
//! hangs, is sealed or asks for patience slows nobody down who asks another.

use avouch_sources::SourceFault;
use avouch_words::Clock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What one source is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a value may take, waiting included.
    pub deadline: Duration,
    /// How many values are read at once.
    pub at_once: usize,
    /// How many may wait for that.
    pub waiting: usize,
    /// After so many failures in a row it is not asked for a while.
    pub failures: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), at_once: 16, waiting: 256, failures: 5 }
    }
}

/// One source's gate.
pub(super) struct Gate {
    limits: Limits,
    room: Arc<Semaphore>,
    waiting: AtomicUsize,
    breaker: Mutex<Breaker>,
    clock: Arc<dyn Clock>,
}

/// Whether a source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaker {
    /// It is; so many failures in a row.
    Closed(u32),
    /// Not before this moment.
    Open { until: Duration, pause: Duration },
    /// By one, to see whether it answers again.
    Probing { pause: Duration },
}

impl Gate {
    pub(super) fn new(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let room = Arc::new(Semaphore::new(limits.at_once));
        Self { limits, room, waiting: AtomicUsize::new(0), breaker: Mutex::new(Breaker::Closed(0)), clock }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.limits.deadline
    }

    /// Leave to ask. Whoever has it says with [`Self::report`] what came of it.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, SourceFault> {
        self.breaker().peek(self.clock.boot())?;
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limits.waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(SourceFault::Busy(FIRST_PAUSE));
        }
        let room = timeout(self.limits.deadline, self.room.clone().acquire_owned()).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let room = room.ok().and_then(Result::ok).ok_or(SourceFault::Unavailable)?;
        self.breaker().ask(self.clock.boot())?;
        Ok(room)
    }

    /// What came of asking.
    pub(super) fn report<T>(&self, came: &Result<T, SourceFault>) {
        let fault = came.as_ref().err().copied();
        self.breaker().report(fault, self.limits.failures, self.clock.boot());
    }

    /// Whether it is asked now.
    pub(super) fn is_asked(&self) -> bool {
        self.breaker().peek(self.clock.boot()).is_ok()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Breaker {
    fn peek(&self, boot: Duration) -> Result<(), SourceFault> {
        match *self {
            Self::Open { until, .. } if boot < until => Err(SourceFault::Busy(until - boot)),
            Self::Probing { pause } => Err(SourceFault::Busy(pause)),
            Self::Open { .. } | Self::Closed(_) => Ok(()),
        }
    }

    fn ask(&mut self, boot: Duration) -> Result<(), SourceFault> {
        self.peek(boot)?;
        if let Self::Open { pause, .. } = *self {
            *self = Self::Probing { pause };
        }
        Ok(())
    }

    fn report(&mut self, fault: Option<SourceFault>, most: u32, boot: Duration) {
        let open = |pause: Duration| Self::Open { until: boot + pause, pause };
        *self = match (*self, fault) {
            (_, Some(SourceFault::Busy(patience))) => open(patience.clamp(FIRST_PAUSE, LONGEST_PAUSE)),
            (Self::Probing { pause }, Some(fault)) if is_of_the_source(fault) => open((pause * 2).min(LONGEST_PAUSE)),
            (Self::Closed(failures), Some(fault)) if is_of_the_source(fault) => match failures + 1 {
                failures if failures < most => Self::Closed(failures),
                _ => open(FIRST_PAUSE),
            },
            // Read before it opened; what is known since is newer.
            (held @ Self::Open { .. }, _) => held,
            (Self::Probing { .. } | Self::Closed(_), _) => Self::Closed(0),
        };
    }
}

/// Whether the fault says something of the source, and not of what was asked.
fn is_of_the_source(fault: SourceFault) -> bool {
    match fault {
        SourceFault::Unavailable | SourceFault::Sealed | SourceFault::Busy(_) => true,
        SourceFault::Missing
        | SourceFault::OtherBinding
        | SourceFault::Reference
        | SourceFault::Denied
        | SourceFault::Garbage
        | SourceFault::NotRecorded
        | SourceFault::NotReserved
        | SourceFault::NoIdentity => false,
    }
}

/// How long a source is not asked when it begins to fail; doubled each time it fails again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// However long it has failed, it is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY: Option<SourceFault> = Some(SourceFault::Unavailable);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_source_that_fails_is_let_be_and_then_probed_by_one() {
        let mut breaker = Breaker::Closed(0);
        for _ in 0..2 {
            breaker.report(AWAY, 3, at(0));
            assert_eq!(breaker.ask(at(0)), Ok(()));
        }
        breaker.report(AWAY, 3, at(0));
        assert_eq!(breaker.ask(at(0)), Err(SourceFault::Busy(FIRST_PAUSE)), "and for how long is said");
        assert_eq!(breaker.ask(at(1)), Ok(()));
        assert!(breaker.ask(at(1)).is_err(), "one probes");
        breaker.report(AWAY, 3, at(1));
        assert!(breaker.ask(at(2)).is_err(), "twice as long");
        assert_eq!(breaker.ask(at(3)), Ok(()));
        breaker.report(None, 3, at(3));
        assert_eq!((breaker, breaker.clone().ask(at(3))), (Breaker::Closed(0), Ok(())));
        for _ in 0..20 {
            breaker.report(Some(SourceFault::Missing), 3, at(4));
        }
        assert_eq!(breaker.ask(at(4)), Ok(()), "what is not there says nothing of the source");
    }

    #[test]
    fn patience_that_is_asked_for_is_had_up_to_a_limit() {
        let mut breaker = Breaker::Closed(0);
        breaker.report(Some(SourceFault::Busy(at(7))), 3, at(0));
        assert_eq!(breaker.ask(at(6)), Err(SourceFault::Busy(at(1))));
        assert_eq!(breaker.ask(at(7)), Ok(()));
        breaker.report(Some(SourceFault::Busy(at(86_400))), 3, at(7));
        assert_eq!(breaker.ask(at(7) + LONGEST_PAUSE), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_the_queue_full_is_told_at_once() {
        let limits = Limits { at_once: 1, waiting: 1, ..Limits::default() };
        let gate = Arc::new(Gate::new(limits, crate::testing::TimerClock::new()));
        let first = gate.enter().await.unwrap();
        let second = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(matches!(gate.enter().await, Err(SourceFault::Busy(_))));
        drop(first);
        assert!(second.await.unwrap());
        let _held = gate.enter().await.unwrap();
        assert!(matches!(gate.enter().await, Err(SourceFault::Unavailable)), "who waits too long is told as well");
    }
}
