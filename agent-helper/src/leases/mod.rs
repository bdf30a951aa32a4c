//! What sources are owed for what was taken from them: recorded before it is used, renewed while it is used, and given
//! back at the source when its reason ends: the caller lets it go, its instance ends, the agent is locked, the grant or
//! the credential changes, an operator says so, or the helper ends. What an earlier helper left is given back by the
//! next one. Injection never waits for any of it: a lease that has to go is dead at once, and given back behind.
//!
//! `journal` is the disk, `book` the memory, `held` what a user of a lease holds, `taking` one read from a source,
//! `keeper` the task of one source that renews and gives back; `tell` is what operators see.

mod book;
mod held;
mod journal;
mod keeper;
mod taking;
mod tell;
#[cfg(test)]
mod tests;

pub use book::Why;
pub(crate) use held::Held;
pub use journal::JournalFault;
pub(crate) use taking::{Taken, Taking};
pub use tell::{NoLease, Told};

use crate::journal::Journal as Records;
use avouch_audit::field::Outside;
use avouch_audit::record::HelperEvent;
use avouch_policy::PolicyState;
use avouch_sources::{Entrant, Obligation, ObligationKind, Source, SourceFault};
use avouch_words::{Clock, Name, Ulid};
use book::Book;
use held::Marks;
use journal::{Journal, Key};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How long the helper's end waits for what can still be given back.
pub const LAST_TRY: Duration = Duration::from_secs(3);
/// How often everything is looked at, whatever woke nobody.
const LOOK: Duration = Duration::from_secs(1);

/// Says whether an instance still runs.
pub type IsLive = Box<dyn Fn(Ulid) -> bool + Send + Sync>;

/// What leases are kept with.
pub struct Parts {
    /// The sources that can be owed something.
    pub sources: Vec<Arc<dyn Source>>,
    /// Who gives back.
    pub node: Arc<dyn Entrant>,
    /// What agents may use.
    pub policy: watch::Receiver<Arc<PolicyState>>,
    /// Which instances run.
    pub is_live: IsLive,
    /// Where it is recorded what was taken and what was given back.
    pub records: Records,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// All that is owed.
pub struct Leases {
    book: Mutex<Book>,
    journal: Journal,
    sources: HashMap<Name, Arc<dyn Source>>,
    wakes: HashMap<Name, Arc<Notify>>,
    node: Arc<dyn Entrant>,
    policy: watch::Receiver<Arc<PolicyState>>,
    is_live: IsLive,
    records: Records,
    clock: Arc<dyn Clock>,
}

impl Leases {
    /// Opens the journal in this file. Blocks. What it holds was taken by an earlier helper, of whose sessions none is
    /// left: all of it is given back.
    pub fn open(file: &Path, parts: Parts) -> Result<Arc<Self>, JournalFault> {
        let (journal, before) = Journal::open(file)?;
        if before.unreadable > 0 {
            tracing::error!(
                lines = before.unreadable,
                "leases.journal.damaged: what they said cannot be given back and ends by itself"
            );
        }
        let mut book = Book::default();
        for owed in before.owed {
            book.inherit(owed, parts.clock.as_ref());
        }
        let wakes = parts.sources.iter().map(|source| (source.name().clone(), Arc::default())).collect();
        Ok(Arc::new(Self {
            book: Mutex::new(book),
            journal,
            sources: parts.sources.into_iter().map(|source| (source.name().clone(), source)).collect(),
            wakes,
            node: parts.node,
            policy: parts.policy,
            is_live: parts.is_live,
            records: parts.records,
            clock: parts.clock,
        }))
    }

    /// Renews and gives back until the shutdown; then gives back what it can within [`LAST_TRY`]. The rest is done by
    /// the next start. `instances` changes whenever an instance ends.
    pub async fn run(self: Arc<Self>, instances: watch::Receiver<()>, shutdown: CancellationToken) {
        let stop = CancellationToken::new();
        let mut keepers = tokio::task::JoinSet::new();
        for source in self.sources.values() {
            let keeper = keeper::Keeper::new(self.clone(), source.clone());
            keepers.spawn(keeper.run(stop.clone()));
        }
        self.look_again_and_again(instances, &shutdown).await;
        self.book().end_all(Why::Stopped, self.clock.as_ref());
        self.wake_all();
        stop.cancel();
        let rest = async { while keepers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_TRY, rest).await.is_err() {
            tracing::warn!(owed = self.book().len(), "leases.stop.still_owed");
        }
        keepers.shutdown().await;
    }

    /// Looks whenever something changed, and every second: who was not woken is late, and never forgotten.
    async fn look_again_and_again(&self, mut instances: watch::Receiver<()>, shutdown: &CancellationToken) {
        let mut policy = self.policy.clone();
        loop {
            self.look();
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = policy.changed() => {}
                Ok(()) = instances.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Ends what has no reason any more.
    pub(crate) fn look(&self) {
        let state = Arc::clone(&self.policy.borrow());
        let ended = self.book().judge(&state, &self.is_live, self.clock.as_ref());
        if ended > 0 {
            tracing::info!(ended, version = state.version(), "leases.look.ended");
            self.wake_all();
        }
    }

    /// How much is owed.
    pub fn len(&self) -> usize {
        self.book().len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes an obligation down. If that fails it is given back at once: it exists at the source all the same.
    async fn record(&self, owed: Obligation, of: Option<&Taking>) -> Result<(), SourceFault> {
        let key = (owed.source.clone(), owed.id.clone());
        let event = taken(&owed);
        self.book().enter(owed.clone(), of, self.clock.as_ref());
        let recorded = self.journal.record(&owed).await;
        match recorded {
            Ok(()) => {
                avouch_config::crash_point("after-lease-recorded");
                self.records.note(event);
            }
            Err(fault) => {
                tracing::error!(source = %owed.source, %fault, "leases.record");
                self.end(&key, Why::NotRecorded);
            }
        }
        recorded
    }

    /// It is owed no more.
    async fn settle(&self, key: &Key) {
        if self.book().remove(key) {
            // A line that could not be written only has it given back once more.
            let _ = self.journal.settle(key).await;
        }
    }

    /// Nobody may use it from now on, and it is given back.
    pub(crate) fn end(&self, key: &Key, why: Why) {
        if self.book().end(key, why, self.clock.as_ref()) {
            self.wake(&key.0);
        }
    }

    fn marks(&self, key: &Key) -> Option<Arc<Marks>> {
        self.book().marks(key)
    }

    fn wake(&self, source: &Name) {
        if let Some(wake) = self.wakes.get(source) {
            wake.notify_one();
        }
    }

    fn wake_all(&self) {
        self.wakes.values().for_each(|wake| wake.notify_one());
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leases({})", self.len())
    }
}

fn taken(owed: &Obligation) -> HelperEvent {
    HelperEvent::LeaseTaken {
        lease: name_of(&(owed.source.clone(), owed.id.clone())),
        source: owed.source.clone(),
        of: match owed.kind {
            ObligationKind::Token => avouch_audit::record::LeaseOf::Login,
            ObligationKind::Lease => avouch_audit::record::LeaseOf::Credential,
        },
        agent: owed.agent.clone(),
        instance: owed.instance,
        credential: owed.credential.clone(),
        expires: owed.expires.into(),
    }
}

/// The lease's name in records: the hash that operators see as its id, as the source's own may be long and odd.
fn name_of(key: &Key) -> Outside<32> {
    Outside::of(tell::id(key))
}
