//! One read from a source: what it owes for it is written down with what it was for, and if nobody takes the value in
//! the end, it is given back.

use super::held::Held;
use super::journal::Key;
use super::{Leases, Why};
use avouch_sources::{Doing, Entrant, Lease, Obligation, ObligationKind, Obligations, SourceFault, Wanted, Who};
use avouch_words::{Digest, Name, Reference};
use std::sync::{Arc, Mutex, PoisonError};

/// Which issue of which credential a lease is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue {
    pub(super) credential: Name,
    pub(super) reference: Reference,
    pub(super) binding: Digest,
}

/// A read that goes on.
pub(crate) struct Taking {
    leases: Arc<Leases>,
    source: Name,
    issue: Issue,
    entrant: Arc<dyn Entrant>,
    recorded: Mutex<Vec<Key>>,
}

/// A lease with what holds it.
pub(crate) struct Taken {
    /// What the source gave.
    pub(crate) lease: Lease,
    /// What has to be held as long as it is used.
    pub(crate) held: Vec<Held>,
}

impl Taking {
    /// Of this from this source.
    pub(crate) fn new(leases: &Arc<Leases>, source: &Name, wanted: &Wanted) -> Self {
        if let Who::Agent { agent, .. } = wanted.entrant.who() {
            leases.book().entered(source, agent);
        }
        let issue = Issue {
            credential: wanted.credential.clone(),
            reference: wanted.reference.clone(),
            binding: wanted.binding,
        };
        let (leases, source, entrant) = (leases.clone(), source.clone(), wanted.entrant.clone());
        Self { leases, source, issue, entrant, recorded: Mutex::default() }
    }

    pub(super) fn issue(&self) -> &Issue {
        &self.issue
    }

    pub(super) fn entrant(&self) -> Arc<dyn Entrant> {
        self.entrant.clone()
    }

    /// The value is taken. A lease that was not recorded is not used.
    pub(crate) fn take(self, lease: Lease) -> Result<Taken, SourceFault> {
        let mut keys = std::mem::take(&mut *self.recorded.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(id) = &lease.id {
            let key = (self.source.clone(), id.clone());
            if !keys.contains(&key) {
                // One of an earlier read would be ended by whoever holds it already.
                keys.iter().for_each(|key| self.leases.end(key, Why::Abandoned));
                return Err(SourceFault::NotRecorded);
            }
            keys.retain(|one| one != &key);
            keys.insert(0, key);
        }
        let mut held = Vec::with_capacity(keys.len());
        for key in keys {
            let marks = self.leases.marks(&key).ok_or(SourceFault::NotRecorded)?;
            held.push(Held::new(Arc::downgrade(&self.leases), key, marks));
        }
        Ok(Taken { lease, held })
    }
}

impl Obligations for Taking {
    fn record(&self, mut owed: Obligation) -> Doing<'_, ()> {
        Box::pin(async move {
            owed.source = self.source.clone();
            // Whose it is, the broker knows better than the source.
            if let Who::Agent { agent, instance } = self.entrant.who() {
                owed.agent = Some(agent.clone());
                owed.instance = owed.instance.or((owed.kind == ObligationKind::Lease).then_some(*instance));
            }
            if owed.kind == ObligationKind::Lease {
                owed.credential = Some(self.issue.credential.clone());
                let key = (owed.source.clone(), owed.id.clone());
                self.recorded.lock().unwrap_or_else(PoisonError::into_inner).push(key);
            }
            self.leases.record(owed, Some(self)).await
        })
    }

    fn settled<'a>(&'a self, source: &'a Name, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async move {
            self.leases.settle(&(source.clone(), id.to_owned())).await;
            Ok(())
        })
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let recorded = std::mem::take(&mut *self.recorded.lock().unwrap_or_else(PoisonError::into_inner));
        recorded.iter().for_each(|key| self.leases.end(key, Why::Abandoned));
    }
}
