//! What operators see of leases, and the one thing they can do.

use super::book::{Owed, State};
use super::journal::Key;
use super::{Leases, Why};
use avouch_sources::{Obligation, SourceFault};
use avouch_words::{Digest, Millis};
use std::time::Duration;

/// One obligation.
#[derive(Debug, Clone)]
pub struct Told {
    /// What it is called here.
    pub id: String,
    /// What is owed.
    pub what: Obligation,
    /// When it was taken; when it was found, if an earlier helper took it.
    pub taken: Millis,
    /// Why it is being given back; none while it may be used.
    pub due: Option<Why>,
    /// How often that was tried.
    pub tries: u32,
    /// What the source said last.
    pub fault: Option<SourceFault>,
    /// How long until it is tried again.
    pub next: Option<Duration>,
}

/// There is no such lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such lease")]
pub struct NoLease;

impl Leases {
    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<Told> {
        let boot = self.clock.boot();
        let mut all: Vec<Told> = self.book().all().map(|(key, owed)| told(key, owed, boot)).collect();
        all.sort_by(|a, b| (a.taken, &a.id).cmp(&(b.taken, &b.id)));
        all
    }

    /// Gives one back, as an operator asks. It is dead when this returns, and given back behind.
    pub fn revoke(&self, wanted: &str) -> Result<(), NoLease> {
        let key = self.book().all().map(|(key, _)| key).find(|key| id(key) == wanted).cloned().ok_or(NoLease)?;
        self.end(&key, Why::Operator);
        self.wake(&key.0);
        Ok(())
    }
}

fn told(key: &Key, owed: &Owed, boot: Duration) -> Told {
    let due = match owed.state {
        State::Held => None,
        State::Due(due) => Some(due),
    };
    Told {
        id: id(key),
        what: owed.what.clone(),
        taken: owed.taken,
        due: due.map(|due| due.why),
        tries: due.map_or(0, |due| due.tries),
        fault: due.and_then(|due| due.fault),
        next: due.filter(|due| !due.busy && due.tries > 0).map(|due| due.next.saturating_sub(boot)),
    }
}

/// Short, the same after a restart, and nothing that a source would take.
pub(super) fn id((source, id): &Key) -> String {
    let mut text = Digest::of(&[source.as_str().as_bytes(), &[0], id.as_bytes()]).to_string();
    text.truncate(ID);
    text
}

/// Digits of an id.
const ID: usize = 16;
