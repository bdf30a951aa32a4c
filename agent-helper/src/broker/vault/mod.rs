//! What was read from sources lately: per instance, in wiped memory, never longer than the lease it came with, and
//! dropped when the agent is locked. Who asks for what is being read waits for that one read. A value that has to be
//! replaced is used until the next one is there.

mod gate;
mod read;
mod shelf;

pub use gate::Limits;

use super::entrance::Entrances;
use super::values::Values;
use crate::leases::Leases;
use crate::leases::Taken;
use avouch_policy::{Caller, Permit, PolicyState};
use avouch_sources::{Entrant, Source, SourceFault, Wanted};
use avouch_words::{Clock, Millis, Name};
use gate::Gate;
use read::{Asked, Reader};
use shelf::{Kept, Key, Reading, Shelf};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a value is kept for which nothing is owed.
pub(crate) const VALUE_LIFE: Duration = Duration::from_secs(30);
/// A leased value that nobody used for so long is dropped, and the lease given back.
pub(crate) const IDLE: Duration = Duration::from_secs(300);
/// The most sets of values kept at once; with more, the oldest are read anew.
pub(crate) const VALUES_MAX: usize = 1024;
/// A value that was refused and was no other when it was read again is not read again for so long.
const FUTILE: Duration = Duration::from_secs(5);

/// What a vault is made of.
pub(crate) struct VaultParts {
    pub(crate) sources: Vec<Arc<dyn Source>>,
    pub(crate) limits: BTreeMap<Name, Limits>,
    pub(crate) entrances: Arc<dyn Entrances>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The sources by name, and what was read from them lately.
pub(crate) struct Vault {
    reader: Arc<Reader>,
    shelf: Arc<Mutex<Shelf>>,
    entrances: Arc<dyn Entrances>,
    clock: Arc<dyn Clock>,
}

impl Vault {
    pub(crate) fn new(parts: VaultParts) -> Self {
        let gated = |source: Arc<dyn Source>| {
            let limits = parts.limits.get(source.name()).copied().unwrap_or_default();
            (source.name().clone(), (source, Arc::new(Gate::new(limits, parts.clock.clone()))))
        };
        let sources: HashMap<_, _> = parts.sources.into_iter().map(gated).collect();
        let reader = Reader { sources, leases: parts.leases, clock: parts.clock.clone() };
        Self { reader: Arc::new(reader), shelf: Arc::default(), entrances: parts.entrances, clock: parts.clock }
    }

    /// The sources, and whether each is asked now.
    pub(crate) fn states(&self) -> Vec<(Name, bool)> {
        let mut all: Vec<_> =
            self.reader.sources.iter().map(|(name, (_, gate))| (name.clone(), gate.is_asked())).collect();
        all.sort();
        all
    }

    /// The values that a permit fills.
    pub(crate) async fn values(&self, permit: &Permit) -> Result<Arc<Values>, SourceFault> {
        let key = Key::of(permit);
        let now = self.clock.boot();
        let (reading, until_then) = {
            let mut shelf = self.shelf();
            match shelf.using(&key, now) {
                None => (self.begin(&mut shelf, key, self.asked(permit, false)), None),
                Some(kept) => {
                    let values = kept.values.clone();
                    let newer = kept.is_superseded(now);
                    if !newer && !kept.wants_another(now) {
                        return Ok(values);
                    }
                    kept.tried(now);
                    let reading = self.begin(&mut shelf, key, self.asked(permit, true));
                    // The next one is on its way; meanwhile this one is good.
                    if !newer {
                        return Ok(values);
                    }
                    (reading, Some(values))
                }
            }
        };
        match (reading.await, until_then) {
            (Err(_), Some(values)) if values.is_live(self.clock.boot()) => Ok(values),
            (read, _) => read,
        }
    }

    /// These values were refused where they were shown. Whether there are others now: then the call may be made once
    /// more.
    pub(crate) async fn refused(&self, permit: &Permit, refused: &Values) -> bool {
        let key = Key::of(permit);
        let now = self.clock.boot();
        let reading = {
            let mut shelf = self.shelf();
            match shelf.using(&key, now) {
                // Somebody has read it again since.
                Some(kept) if !kept.values.is_same(refused) => return true,
                Some(kept) if kept.is_futile(now) => return false,
                Some(_) | None => self.begin(&mut shelf, key.clone(), self.asked(permit, true)),
            }
        };
        let another = reading.await.is_ok_and(|values| !values.is_same(refused));
        if !another && let Some(kept) = self.shelf().using(&key, now) {
            kept.was_futile(now + FUTILE);
        }
        another
    }

    /// One issue for somebody alone: never kept, never shared.
    pub(crate) async fn take(&self, source: &Name, wanted: &Wanted) -> Result<Taken, SourceFault> {
        self.reader.one(source, wanted).await
    }

    /// Whoever enters sources for this caller.
    pub(crate) fn entrant(&self, caller: &Caller) -> Arc<dyn Entrant> {
        self.entrances.of(caller)
    }

    /// Drops what is kept for agents that a lock stops, and what is too old.
    pub(crate) fn forget(&self, state: &PolicyState, now: Millis) {
        self.shelf().retain(self.clock.boot(), |agent| state.lock_on(agent, now).is_none());
    }

    /// Drops what is too old, so that it does not lie in memory until somebody asks for it.
    pub(crate) fn sweep(&self) {
        self.shelf().retain(self.clock.boot(), |_| true);
    }

    /// What is kept of this credential is replaced at its next use. How much that is.
    pub(crate) fn rotate(&self, credential: &Name) -> usize {
        self.shelf().supersede(credential)
    }

    /// Drops everything that is kept, as when a value was put anew.
    pub(crate) fn forget_all(&self) {
        self.shelf().clear();
    }

    fn asked(&self, permit: &Permit, fresh: bool) -> Asked {
        Asked::of(permit, self.entrances.of(permit.caller()), fresh)
    }

    /// The read that goes on, or one that begins. It goes on whoever stops waiting for it.
    fn begin(&self, shelf: &mut Shelf, key: Key, asked: Asked) -> Reading {
        if let Some(reading) = shelf.reading(&key, asked.fresh) {
            return reading;
        }
        let flight = shelf.take_off();
        let (reader, landing, clock) = (self.reader.clone(), self.shelf.clone(), self.clock.clone());
        let (fresh, place) = (asked.fresh, key.clone());
        let read = tokio::spawn(async move {
            let read = reader.read(&asked).await;
            let mut shelf = landing.lock().unwrap_or_else(PoisonError::into_inner);
            if shelf.lands(&place, flight)
                && let Ok(values) = &read
            {
                shelf.keep(place, Kept::new(values.clone(), &asked, clock.boot()));
            }
            read
        });
        shelf.flies(key, flight, fresh, read)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
