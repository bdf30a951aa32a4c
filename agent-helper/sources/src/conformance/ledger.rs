//! What is owed, in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use avouch_words::Name;

use crate::{Doing, Obligation, Obligations, SourceFault};

/// Records obligations until it is told to refuse.
#[derive(Debug, Default)]
pub struct Ledger {
    owed: Mutex<Vec<Obligation>>,
    refuses: AtomicBool,
}

impl Ledger {
    /// What is owed now, in the order in which it was recorded.
    pub fn owed(&self) -> Vec<Obligation> {
        self.lock().clone()
    }

    /// The one of this id.
    pub fn find(&self, id: &str) -> Option<Obligation> {
        self.lock().iter().find(|owed| owed.id == id).cloned()
    }

    /// Whether nothing more can be recorded.
    pub fn refuse(&self, refuse: bool) {
        self.refuses.store(refuse, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Obligation>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Obligations for Ledger {
    fn record(&self, owed: Obligation) -> Doing<'_, ()> {
        Box::pin(async move {
            if self.refuses.load(Ordering::SeqCst) {
                return Err(SourceFault::NotRecorded);
            }
            let mut all = self.lock();
            all.retain(|other| (&other.source, &other.id) != (&owed.source, &owed.id));
            all.push(owed);
            Ok(())
        })
    }

    fn settled<'a>(&'a self, source: &'a Name, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async move {
            self.lock().retain(|owed| (&owed.source, owed.id.as_str()) != (source, id));
            Ok(())
        })
    }
}
