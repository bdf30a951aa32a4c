//! How old the lock state is. Age is counted on the boot clock from the moment at which the issuer last read its
//! database, so neither a turned wall clock nor a suspended machine makes it look younger (DESIGN §10, H08).

use crate::cache::KeptAge;
use avouch_words::Millis;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Whether what we know of locks is good enough to inject by.
#[derive(Debug, Default)]
pub struct Freshness(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    epoch: Vec<u8>,
    /// Least difference seen between boot time at receipt and database time, in this epoch.
    anchor_ms: Option<i64>,
    /// Boot time of the newest reading of the database that we know of.
    confirmed_ms: Option<i64>,
    bound: Duration,
    doubt: Option<Doubt>,
    /// What is known is of before a restart: it only tells how old the state is.
    unheard: bool,
}

/// Why a state from the issuer was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// A lower version in the same epoch.
    #[error("the issuer's state went back to an older version")]
    VersionWentBack,
    /// It speaks for another trust domain.
    #[error("the issuer's state is of another trust domain")]
    OtherTrustDomain,
    /// A lock that was held is neither there nor ended.
    #[error("a lock vanished from the issuer's state without having ended")]
    LocksVanished,
    /// It cannot be read whole.
    #[error("the issuer's state cannot be read")]
    Unreadable,
}

impl Doubt {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::VersionWentBack => "version_went_back",
            Self::OtherTrustDomain => "other_trust_domain",
            Self::LocksVanished => "locks_vanished",
            Self::Unreadable => "state_unreadable",
        }
    }
}

/// Why nothing may be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// No state has been received.
    #[error("the lock state is not known yet")]
    Unknown,
    /// Older than the bound.
    #[error("the lock state is too old")]
    Old,
    /// The issuer has confirmed nothing since this helper was started.
    #[error("the lock state is of before a restart, and not confirmed since")]
    Unheard,
    /// The issuer said something that cannot be.
    #[error(transparent)]
    Doubted(Doubt),
}

impl Stale {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "state_unknown",
            Self::Old => "state_old",
            Self::Unheard => "state_unheard",
            Self::Doubted(doubt) => doubt.code(),
        }
    }
}

impl Freshness {
    /// The issuer confirmed, by a state that was believed or a heartbeat that agrees with it, what it read from its
    /// database at `database`; the word of it arrived at `boot`. Ends a doubt.
    pub fn confirm(&self, epoch: &[u8], database: Millis, boot: Duration) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.epoch != epoch {
            inner.epoch = epoch.to_vec();
            inner.anchor_ms = None;
            inner.confirmed_ms = None;
        }
        let offset = millis(boot).saturating_sub(database.0);
        let anchor = inner.anchor_ms.map_or(offset, |least| least.min(offset));
        inner.anchor_ms = Some(anchor);
        // A heartbeat that comes late, or a database whose clock was turned back, makes nothing younger.
        let confirmed = database.0.saturating_add(anchor);
        inner.confirmed_ms = Some(inner.confirmed_ms.map_or(confirmed, |newest| newest.max(confirmed)));
        inner.doubt = None;
        inner.unheard = false;
    }

    /// What was known before this helper was started again. The age goes on from there, on the same clock, and what
    /// comes from an issuer that lost its database looks as old as it did (F16). By itself it permits nothing: a doubt
    /// there was is not known any more.
    pub fn restore(&self, age: KeptAge) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.epoch = age.epoch;
        inner.anchor_ms = Some(age.anchor_ms);
        inner.confirmed_ms = Some(age.confirmed_ms);
        inner.unheard = true;
    }

    /// What a restart has to know.
    pub fn kept(&self) -> Option<KeptAge> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (anchor_ms, confirmed_ms) = inner.anchor_ms.zip(inner.confirmed_ms)?;
        Some(KeptAge { epoch: inner.epoch.clone(), anchor_ms, confirmed_ms })
    }

    /// How old it may be.
    pub fn set_bound(&self, bound: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bound = bound.clamp(LEAST_BOUND, MOST_BOUND);
    }

    /// Something was said that cannot be: nothing is injected until it is confirmed again.
    pub fn doubt(&self, doubt: Doubt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).doubt = Some(doubt);
    }

    /// May be injected by, at this boot time?
    pub fn check(&self, boot: Duration) -> Result<(), Stale> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(doubt) = inner.doubt {
            return Err(Stale::Doubted(doubt));
        }
        let age = inner.age(boot).ok_or(Stale::Unknown)?;
        match age {
            age if age > inner.bound => Err(Stale::Old),
            _ if inner.unheard => Err(Stale::Unheard),
            _ => Ok(()),
        }
    }

    /// Its age, if any was ever received.
    pub fn age(&self, boot: Duration) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).age(boot)
    }
}

impl crate::broker::Fresh for Freshness {
    fn is_fresh(&self, boot: Duration) -> bool {
        self.check(boot).is_ok()
    }
}

impl Inner {
    fn age(&self, boot: Duration) -> Option<Duration> {
        let age = millis(boot).saturating_sub(self.confirmed_ms?);
        Some(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The staleness bound is at least this, whatever the issuer says (DESIGN §10).
const LEAST_BOUND: Duration = Duration::from_secs(5);
/// And at most this.
const MOST_BOUND: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh_at(boot: u64) -> Freshness {
        let freshness = Freshness::default();
        freshness.set_bound(Duration::from_secs(30));
        freshness.confirm(b"epoch", Millis(1_000_000), Duration::from_secs(boot));
        freshness
    }

    #[test]
    fn nothing_known_is_stale_and_age_makes_stale() {
        assert_eq!(Freshness::default().check(Duration::ZERO), Err(Stale::Unknown));
        let freshness = fresh_at(100);
        assert_eq!(freshness.check(Duration::from_secs(130)), Ok(()));
        assert_eq!(freshness.check(Duration::from_millis(130_001)), Err(Stale::Old));
    }

    #[test]
    fn a_late_or_repeated_heartbeat_makes_nothing_younger() {
        let freshness = fresh_at(100);
        // The same database time, delivered 29 s later: held up on the way, or read by an issuer without database.
        freshness.confirm(b"epoch", Millis(1_000_000), Duration::from_secs(129));
        assert_eq!(freshness.check(Duration::from_secs(131)), Err(Stale::Old));
        // The database's clock turned back.
        freshness.confirm(b"epoch", Millis(0), Duration::from_secs(131));
        assert_eq!(freshness.check(Duration::from_secs(131)), Err(Stale::Old));
        // A real reading.
        freshness.confirm(b"epoch", Millis(1_031_000), Duration::from_secs(131));
        assert_eq!(freshness.age(Duration::from_secs(131)), Some(Duration::ZERO));
    }

    #[test]
    fn a_doubt_holds_until_it_is_answered() {
        let freshness = fresh_at(100);
        freshness.doubt(Doubt::LocksVanished);
        assert_eq!(freshness.check(Duration::from_secs(100)), Err(Stale::Doubted(Doubt::LocksVanished)));
        freshness.confirm(b"epoch", Millis(1_001_000), Duration::from_secs(101));
        assert_eq!(freshness.check(Duration::from_secs(101)), Ok(()));
    }

    fn restarted(before: &Freshness) -> Freshness {
        let after = Freshness::default();
        after.set_bound(Duration::from_secs(30));
        after.restore(before.kept().unwrap());
        after
    }

    /// An issuer that lost its database goes on saying what it read last. To a helper that knows nothing of before,
    /// that is the youngest word there ever was.
    #[test]
    fn a_restart_makes_nothing_younger() {
        let before = fresh_at(100);
        let later = Duration::from_secs(160);
        assert_eq!(before.check(later), Err(Stale::Old));
        let after = restarted(&before);
        assert_eq!((after.check(later), after.age(later)), (Err(Stale::Old), Some(Duration::from_secs(60))));
        after.confirm(b"epoch", Millis(1_000_000), later);
        assert_eq!(after.check(later), Err(Stale::Old), "what was read 60 s ago is 60 s old");
        after.confirm(b"epoch", Millis(1_060_000), later);
        assert_eq!(after.check(later), Ok(()));
    }

    /// Whatever its age: what the issuer said meanwhile, and whether it was believed before, is not known.
    #[test]
    fn nothing_is_done_by_what_was_known_before_a_restart() {
        let before = fresh_at(100);
        before.doubt(Doubt::LocksVanished);
        let (after, now) = (restarted(&before), Duration::from_secs(101));
        assert_eq!(after.check(now), Err(Stale::Unheard));
        after.confirm(b"epoch", Millis(1_001_000), now);
        assert_eq!(after.check(now), Ok(()));
    }

    #[test]
    fn a_machine_that_slept_wakes_stale_and_a_turned_clock_changes_nothing() {
        let freshness = fresh_at(100);
        let slept = Duration::from_secs(100 + 8 * 3600);
        assert_eq!(freshness.check(slept), Err(Stale::Old));
        // A heartbeat that was on its way when the lid was shut: read 8 h ago.
        freshness.confirm(b"epoch", Millis(1_002_000), slept);
        assert_eq!(freshness.check(slept), Err(Stale::Old));
    }

    #[test]
    fn a_bound_outside_the_range_is_brought_into_it() {
        let freshness = fresh_at(0);
        freshness.set_bound(Duration::from_secs(86_400));
        assert_eq!(freshness.check(Duration::from_secs(301)), Err(Stale::Old));
    }
}
