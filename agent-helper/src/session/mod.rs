//! Sessions: the processes of one `avouch run`, with a proxy listener of their own. The listener *is* the session: it
//! came by descriptor over the attested session socket, and what is dialled there is that agent's (DESIGN §7).

mod door;
mod environment;
mod files;
mod intake;
mod list;
mod listener;
mod proxy;
mod refused;
mod tokens;
mod tree;
mod walls;

pub use door::{Door, Places, Serve, Served};
pub use files::SessionFiles;
pub use list::Open;
pub use listener::{Listener, NoListener};
pub use proxy::SessionProxy;
pub use refused::refusals;
pub use tree::{Killed, MOST_SEEN, ProcessId, Tree};

use avouch_wire::unix::Peer;
use avouch_wire::unix::roots::{Unreadable, descends};
use avouch_words::{Name, Ulid};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use walls::Walls;

/// That a process is inside a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub session: Ulid,
    /// Whose.
    pub agent: Name,
    /// The uid that opened it; of one inside another, the uid that opened the outermost.
    pub opener: u32,
    /// The profiles that the walls count as which it is behind; none if it is behind none.
    pub walls: Arc<[Name]>,
}

/// A session that is open.
#[derive(Debug)]
struct Session {
    /// Of whoever is inside, and behind the walls if there are some.
    member: Member,
    uid: u32,
    cookie: u64,
    tree: Mutex<Tree>,
    walls: Option<Walls>,
    ended: CancellationToken,
}

/// Where a process is.
#[derive(Debug)]
pub(crate) struct Place {
    session: Arc<Session>,
    /// Behind its walls, if it has any.
    inside: bool,
}

/// The sessions that are open on this node.
#[derive(Debug)]
pub struct Sessions {
    open: RwLock<HashMap<Ulid, Arc<Session>>>,
    changed: watch::Sender<u64>,
}

/// A session's place in the list; it leaves when dropped.
struct Entry {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
}

/// Too many sessions are open, or the listener is another session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoEntry {
    TooMany,
    Taken,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { open: RwLock::default(), changed: watch::Sender::new(0) }
    }
}

impl Sessions {
    /// The session that a process is inside of, the innermost: it descends from that session's root now, or was seen
    /// below it. An ancestry that cannot be followed is an error, and the caller refuses.
    pub(crate) fn place(&self, peer: &Peer) -> Result<Option<Place>, Unreadable> {
        let open: Vec<Arc<Session>> =
            self.open.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        if open.is_empty() {
            return Ok(None);
        }
        let roots: HashMap<ProcessId, &Arc<Session>> = open.iter().map(|session| (session.root(), session)).collect();
        let inits: HashMap<ProcessId, Ulid> = open.iter().filter_map(|session| session.init()).collect();
        let mut found = None;
        let mut passed = None;
        descends(peer, |pid, started| {
            let process = ProcessId { pid, started };
            // Behind the walls are those who descend from the session's own init, not all below its root.
            passed = inits.get(&process).copied().or(passed);
            found = roots.get(&process).copied();
            found.is_some()
        })?;
        let process = ProcessId { pid: peer.pid(), started: peer.start_time() };
        let remembered =
            || open.iter().filter(|session| session.remembers(process)).max_by_key(|one| one.member.session);
        let Some(session) = found.or_else(remembered) else { return Ok(None) };
        session.look();
        Ok(Some(Place { inside: passed == Some(session.member.session), session: session.clone() }))
    }

    /// Counts sessions that began or ended: what was found out about a process before may not hold any more.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a socket is the listener of a session already.
    fn has_listener(&self, cookie: u64) -> bool {
        self.open.read().unwrap_or_else(PoisonError::into_inner).values().any(|session| session.cookie == cookie)
    }

    fn enter(self: &Arc<Self>, session: Session) -> Result<Entry, NoEntry> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let of_uid = open.values().filter(|other| other.uid == session.uid).count();
        if open.len() >= MOST_SESSIONS || of_uid >= MOST_SESSIONS_OF_UID {
            return Err(NoEntry::TooMany);
        }
        // Asked again under the lock: two may have brought the same socket at once.
        if open.values().any(|other| other.cookie == session.cookie) {
            return Err(NoEntry::Taken);
        }
        let session = Arc::new(session);
        open.insert(session.member.session, session.clone());
        drop(open);
        self.changed.send_modify(|count| *count += 1);
        Ok(Entry { sessions: self.clone(), session })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let id = self.session.member.session;
        self.sessions.open.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.sessions.changed.send_modify(|count| *count += 1);
    }
}

impl Place {
    /// What is to be known of a process there.
    pub(crate) fn member(&self) -> Member {
        let member = self.session.member.clone();
        if self.inside { member } else { Member { walls: Arc::default(), ..member } }
    }
}

impl Place {
    fn agent(&self) -> &Name {
        &self.session.member.agent
    }

    fn session(&self) -> Ulid {
        self.session.member.session
    }

    /// Whether the session has walls, on whichever side of them the process is.
    fn is_contained(&self) -> bool {
        self.session.walls.is_some()
    }

    fn is_root(&self, peer: &Peer) -> bool {
        self.session.root() == ProcessId { pid: peer.pid(), started: peer.start_time() }
    }

    /// The end of a session inside this one: at its own, and at this one's.
    fn ending(&self) -> CancellationToken {
        self.session.ended.child_token()
    }
}

impl Session {
    fn init(&self) -> Option<(ProcessId, Ulid)> {
        let init = &self.walls.as_ref()?.init;
        Some((ProcessId { pid: init.pid(), started: init.start_time() }, self.member.session))
    }

    fn root(&self) -> ProcessId {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).root()
    }

    fn remembers(&self, process: ProcessId) -> bool {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).remembers(process)
    }

    fn look(&self) {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).look();
    }

    fn kill(&self) -> Killed {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).kill()
    }
}

/// Sessions at a time on one node.
pub const MOST_SESSIONS: usize = 1024;
/// Of these, sessions of one user.
pub const MOST_SESSIONS_OF_UID: usize = 128;

#[cfg(test)]
mod tests;
