//! What is kept, and what is being read.

use super::read::Asked;
use super::{IDLE, VALUE_LIFE, VALUES_MAX};
use crate::broker::values::Values;
use avouch_policy::Permit;
use avouch_sources::SourceFault;
use avouch_words::{Digest, Name, Ulid};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A read that several may wait for.
pub(super) type Reading = Shared<BoxFuture<'static, Result<Arc<Values>, SourceFault>>>;

/// Whose values: never another instance's, as a lease ends with the instance it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    agent: Name,
    instance: Ulid,
    fills: Digest,
}

/// Values that are kept.
pub(super) struct Kept {
    pub(super) values: Arc<Values>,
    /// On the boot clock, so that a changed wall clock keeps nothing longer.
    read: Duration,
    used: Duration,
    /// For what is not leased.
    until: Duration,
    /// Not read again before this because it was refused.
    futile: Duration,
    /// When the next one was asked for last.
    tried: Option<Duration>,
    uses: u64,
    rotation: Rotation,
    credentials: Vec<Name>,
    /// An operator wants another one.
    superseded: bool,
}

/// When values are replaced although they are still good: the first of what their bindings say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) every: Option<Duration>,
    pub(super) after_uses: Option<u64>,
}

struct Flight {
    id: u64,
    fresh: bool,
    reading: Reading,
}

#[derive(Default)]
pub(super) struct Shelf {
    kept: HashMap<Key, Kept>,
    flights: HashMap<Key, Flight>,
    next: u64,
}

impl Key {
    pub(super) fn of(permit: &Permit) -> Self {
        let caller = permit.caller();
        Self { agent: caller.agent.clone(), instance: caller.instance, fills: permit.pool_key() }
    }
}

impl Kept {
    pub(super) fn new(values: Arc<Values>, asked: &Asked, now: Duration) -> Self {
        Self {
            values,
            read: now,
            used: now,
            until: now + VALUE_LIFE,
            futile: Duration::ZERO,
            tried: None,
            uses: 0,
            rotation: asked.rotation,
            credentials: asked.credentials(),
            superseded: false,
        }
    }

    fn is_good(&self, now: Duration) -> bool {
        if !self.values.is_current() {
            return false;
        }
        match self.values.leased_until() {
            Some(_) => self.values.is_live(now) && now < self.used + IDLE,
            None => now < self.until,
        }
    }

    /// Whether an operator wants another one, and that was not tried just now.
    pub(super) fn is_superseded(&self, now: Duration) -> bool {
        self.superseded && self.tried.is_none_or(|tried| now >= tried + AGAIN)
    }

    /// Whether it is time for the next one although this one is good: its lease runs out and is not renewed, or its
    /// binding says so.
    pub(super) fn wants_another(&self, now: Duration) -> bool {
        if self.tried.is_some_and(|tried| now < tried + AGAIN) {
            return false;
        }
        let runs_out = |until: Duration| now + (until.saturating_sub(self.read)) / LAST_SHARE >= until;
        self.values.leased_until().is_some_and(runs_out)
            || self.rotation.every.is_some_and(|every| now >= self.read + every)
            || self.rotation.after_uses.is_some_and(|most| self.uses > most)
    }

    pub(super) fn tried(&mut self, now: Duration) {
        self.tried = Some(now);
    }

    pub(super) fn is_futile(&self, now: Duration) -> bool {
        now < self.futile
    }

    pub(super) fn was_futile(&mut self, until: Duration) {
        self.futile = until;
    }
}

impl Shelf {
    /// What is kept and good, to be used now.
    pub(super) fn using(&mut self, key: &Key, now: Duration) -> Option<&mut Kept> {
        let kept = self.kept.get_mut(key).filter(|kept| kept.is_good(now))?;
        kept.used = now;
        kept.uses += 1;
        kept.values.touch();
        Some(kept)
    }

    /// A read of it that goes on; for who needs a fresh one, only one that asks for a fresh one.
    pub(super) fn reading(&self, key: &Key, fresh: bool) -> Option<Reading> {
        self.flights.get(key).filter(|flight| flight.fresh || !fresh).map(|flight| flight.reading.clone())
    }

    pub(super) fn take_off(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn flies(
        &mut self,
        key: Key,
        id: u64,
        fresh: bool,
        read: JoinHandle<Result<Arc<Values>, SourceFault>>,
    ) -> Reading {
        let reading = async move { read.await.unwrap_or(Err(SourceFault::Unavailable)) }.boxed().shared();
        self.flights.insert(key, Flight { id, fresh, reading: reading.clone() });
        reading
    }

    /// Whether what was read is still wanted: the agent was not locked, nor the value put anew meanwhile.
    pub(super) fn lands(&mut self, key: &Key, id: u64) -> bool {
        let wanted = self.flights.get(key).is_some_and(|flight| flight.id == id);
        if wanted {
            self.flights.remove(key);
        }
        wanted
    }

    pub(super) fn keep(&mut self, key: Key, kept: Kept) {
        let now = kept.read;
        if self.kept.len() >= VALUES_MAX && !self.kept.contains_key(&key) {
            self.kept.retain(|_, kept| kept.is_good(now));
        }
        if self.kept.len() < VALUES_MAX || self.kept.contains_key(&key) {
            self.kept.insert(key, kept);
        }
    }

    /// Marks what is kept of this credential, and lets no read that goes on be kept. How much was kept.
    pub(super) fn supersede(&mut self, credential: &Name) -> usize {
        let of_it = |kept: &&mut Kept| kept.credentials.contains(credential);
        self.flights.clear();
        self.kept.values_mut().filter(of_it).map(|kept| kept.superseded = true).count()
    }

    /// Drops what is too old, and all of agents that are not to keep anything.
    pub(super) fn retain(&mut self, now: Duration, keeps: impl Fn(&Name) -> bool) {
        self.kept.retain(|key, kept| kept.is_good(now) && keeps(&key.agent));
        self.flights.retain(|key, _| keeps(&key.agent));
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.flights.clear();
    }

    #[cfg(test)]
    pub(super) fn agents(&self) -> Vec<Name> {
        self.kept.keys().map(|key| key.agent.clone()).collect()
    }
}

/// The next one is fetched when so much of a lease's life is left: a quarter.
const LAST_SHARE: u32 = 4;
/// If it could not be had, it is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);
