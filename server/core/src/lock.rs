//! Locks: denial of something to everybody, with a reason, an author and, if wanted, an end.

use crate::refusal::Invalid;
use avouch_words::{Millis, Name, Ulid};
use std::time::Duration;

/// What is denied. Closed: what a reader does not know locks everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockTarget {
    /// One agent, in all its instances.
    Agent(Name),
}

impl LockTarget {
    /// Whether it denies this agent.
    pub fn covers_agent(&self, agent: &Name) -> bool {
        match self {
            Self::Agent(name) => name == agent,
        }
    }
}

/// A lock, in force or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its identifier.
    pub id: Ulid,
    /// What is denied.
    pub target: LockTarget,
    /// Why, in the author's words.
    pub reason: String,
    /// Who set it.
    pub author: String,
    /// Since when.
    pub created: Millis,
    /// When it ends by itself; none for never.
    pub expires: Option<Millis>,
    /// When it was released or ran out, once that is recorded.
    pub ended: Option<Millis>,
}

impl Lock {
    /// A new lock, checked. The identifier has to be fresh; a `ttl` of zero means no end.
    pub fn check(
        id: Ulid,
        target: LockTarget,
        reason: &str,
        author: &str,
        ttl: Duration,
        now: Millis,
    ) -> Result<Self, Invalid> {
        if reason.is_empty() || reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(Invalid::new(
                "reason",
                format!("a reason is 1 to {MAX_REASON} bytes without control characters"),
            ));
        }
        if !ttl.is_zero() && !(MIN_LOCK..=MAX_LOCK).contains(&ttl) {
            return Err(Invalid::new(
                "ttl_seconds",
                format!("0 for no end, or between {} and {} seconds", MIN_LOCK.as_secs(), MAX_LOCK.as_secs()),
            ));
        }
        Ok(Self {
            id,
            target,
            reason: reason.to_owned(),
            author: author.to_owned(),
            created: now,
            expires: (!ttl.is_zero()).then(|| now.plus(ttl)),
            ended: None,
        })
    }

    /// Whether it denies at this moment. One that has run out denies no more, even before that is recorded, so that a
    /// stand-still of the issuer does not lengthen it.
    pub fn in_force(&self, now: Millis) -> bool {
        self.ended.is_none() && self.expires.is_none_or(|end| now < end)
    }

    /// Whether its time is over and the end is still to be recorded.
    pub fn ran_out(&self, now: Millis) -> bool {
        self.ended.is_none() && self.expires.is_some_and(|end| now >= end)
    }
}

/// The lock that denies this agent now, if one does: the oldest.
pub fn on_agent<'a>(locks: &'a [Lock], agent: &Name, now: Millis) -> Option<&'a Lock> {
    locks.iter().filter(|lock| lock.in_force(now) && lock.target.covers_agent(agent)).min_by_key(|lock| lock.id)
}

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 256;
/// The shortest lock with an end.
pub const MIN_LOCK: Duration = Duration::from_secs(1);
/// The longest lock with an end.
pub const MAX_LOCK: Duration = Duration::from_secs(366 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(ttl: u64) -> Lock {
        let target = LockTarget::Agent(Name::parse("researcher").unwrap());
        Lock::check(Ulid::new(Millis(1), [0; 10]), target, "test", "uid:0", Duration::from_secs(ttl), Millis(1000))
            .unwrap()
    }

    #[test]
    fn a_lock_stands_until_it_runs_out_or_is_released() {
        let forever = lock(0);
        assert!(forever.in_force(Millis(i64::MAX)) && !forever.ran_out(Millis(i64::MAX)));
        let short = lock(10);
        assert!(short.in_force(Millis(10_999)) && !short.in_force(Millis(11_000)) && short.ran_out(Millis(11_000)));
        let released = Lock { ended: Some(Millis(2000)), ..lock(0) };
        assert!(!released.in_force(Millis(1500)) && !released.ran_out(Millis(1500)));
    }

    #[test]
    fn a_lock_covers_its_agent_and_no_other() {
        let locks = [lock(0)];
        assert!(on_agent(&locks, &Name::parse("researcher").unwrap(), Millis(1000)).is_some());
        assert!(on_agent(&locks, &Name::parse("researcher2").unwrap(), Millis(1000)).is_none());
    }

    #[test]
    fn a_reason_is_needed_and_is_one_line() {
        let target = || LockTarget::Agent(Name::parse("a").unwrap());
        let check =
            |reason: &str, ttl| Lock::check(Ulid::new(Millis(1), [0; 10]), target(), reason, "uid:0", ttl, Millis(1));
        for reason in ["", "a\nb", "\u{1b}[31m", &"x".repeat(MAX_REASON + 1)] {
            assert_eq!(check(reason, Duration::ZERO).map_err(|i| i.field), Err("reason"), "{reason:?}");
        }
        assert_eq!(check("x", MAX_LOCK + Duration::from_secs(1)).map_err(|i| i.field), Err("ttl_seconds"));
    }
}
