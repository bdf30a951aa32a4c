//! From a process on a connection to what is known about it: its users and program, and the session it is inside of.

use crate::peer::Caller;
use crate::session::{Member, Place, Sessions};
use avouch_attest_workload::{self as workload, Membership, Session, Subject, Unix, WorkloadAttestor};
use avouch_wire::unix::roots::{Roots, Unreadable};
use avouch_wire::unix::{Peer, users};
use avouch_words::Selector;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Attests processes on this node.
pub struct Attestor {
    unix: Arc<Unix>,
    sessions: Arc<Sessions>,
    changed: watch::Receiver<u64>,
    roots: PathBuf,
    digests: AtomicBool,
}

/// What was found about a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Attested {
    /// Selectors.
    pub facts: BTreeSet<Selector>,
    /// The session it is inside of.
    pub member: Option<Member>,
    /// How many sessions had begun or ended when it was looked at.
    generation: u64,
    /// Its program was hashed.
    digested: bool,
}

/// Why nothing is known; whoever asks is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAttested {
    /// It has ended.
    #[error("the process has ended")]
    Gone,
    /// It is another process or user than the one that connected, or cannot be examined.
    #[error("the process could not be attested")]
    Refused,
}

impl Attestor {
    /// Over these sessions, whose roots are also listed in this directory.
    pub fn new(sessions: Arc<Sessions>, roots: PathBuf) -> Self {
        let changed = sessions.changed();
        Self { unix: Arc::new(Unix::new("/proc")), sessions, changed, roots, digests: AtomicBool::new(false) }
    }

    /// Who calls. What was found on the same connection before is checked to be of the same process and user still,
    /// and found again when sessions have changed.
    pub async fn attest(&self, caller: &Caller) -> Result<Arc<Attested>, NotAttested> {
        // Read before looking: a session that changes meanwhile makes what is found old at once.
        let generation = *self.changed.borrow();
        let digested = self.digests.load(Ordering::Acquire);
        let holds = |found: &Arc<Attested>| found.generation == generation && (found.digested || !digested);
        if let Some(found) = caller.found().filter(holds) {
            caller.recheck().map_err(|_| NotAttested::Gone)?;
            return Ok(found);
        }
        let (peer, sessions, unix) = (caller.peer().clone(), self.sessions.clone(), self.unix.clone());
        let roots = self.roots.clone();
        let found = blocking(move || {
            let member = place(&sessions, &roots, &peer)?.map(|place| place.member());
            let facts = examine(&unix, &peer, member.as_ref(), digested)?;
            Ok(Attested { facts, member, generation, digested })
        });
        let found = Arc::new(found.await?);
        caller.keep(found.clone());
        Ok(found)
    }

    /// What would be known about a process if it were this member of a session.
    pub async fn facts_as(&self, peer: &Peer, member: Member) -> Result<BTreeSet<Selector>, NotAttested> {
        let (peer, unix) = (peer.clone(), self.unix.clone());
        let digested = self.digests.load(Ordering::Acquire);
        blocking(move || examine(&unix, &peer, Some(&member), digested)).await
    }

    /// The session that a process is inside of. An answer that cannot be had is an error, and the caller refuses (U21);
    /// so is a session of an earlier helper.
    pub(crate) async fn place(&self, peer: &Peer) -> Result<Option<Place>, NotAttested> {
        let (peer, sessions, roots) = (peer.clone(), self.sessions.clone(), self.roots.clone());
        blocking(move || place(&sessions, &roots, &peer)).await
    }

    /// Whether a process is inside a session, by what this helper knows and by the list that the issuer reads. An
    /// answer that cannot be had is an error, and the caller refuses (U21).
    pub async fn is_inside(&self, peer: &Peer) -> Result<bool, NotAttested> {
        let (peer, sessions, roots) = (peer.clone(), self.sessions.clone(), self.roots.clone());
        blocking(move || {
            let known = sessions.place(&peer).map_err(refuse)?.is_some();
            Ok(known || is_listed(&roots, &peer)?)
        })
        .await
    }

    /// Whether programs have to be hashed: only if an agent asks for it, as a large program takes its time (U18).
    pub fn want_digests(&self, wanted: bool) {
        self.digests.store(wanted, Ordering::Release);
    }

    /// The sessions of this node.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Counts sessions that began or ended.
    pub fn sessions_changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

/// Where the process was found to be: looked up before, with the process held.
struct Placed(Option<Membership>);

impl workload::Sessions for Placed {
    fn of(&self, _: &Subject<'_>) -> Result<Option<Membership>, io::Error> {
        Ok(self.0.clone())
    }
}

fn examine(unix: &Unix, peer: &Peer, inside: Option<&Member>, digest: bool) -> Result<BTreeSet<Selector>, NotAttested> {
    let is_same = || peer.recheck().is_ok();
    let subject = Subject { pid: peer.pid(), uid: peer.uid(), gid: peer.gid(), is_same: &is_same };
    let membership = inside.map(|member| Membership {
        agent: member.agent.clone(),
        session: member.session,
        opener: member.opener,
        walls: member.walls.to_vec(),
    });
    let found = unix.facts(&subject, digest).and_then(|mut facts| {
        facts.extend(Session::new(Placed(membership)).attest(&subject)?);
        Ok(facts)
    });
    match found {
        Ok(facts) => Ok(facts.into_iter().filter(|fact| !is_nobodys(fact)).collect()),
        Err(workload::Refused::Gone) => Err(NotAttested::Gone),
        Err(refused) => {
            tracing::info!(pid = peer.pid(), uid = peer.uid(), reason = %refused, "attest.process.refused");
            Err(NotAttested::Refused)
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NotAttested> + Send + 'static,
) -> Result<T, NotAttested> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(NotAttested::Refused))
}

/// A group that our user namespace does not map is no fact. (Such a user is not even attested.)
fn is_nobodys(fact: &Selector) -> bool {
    let group = |kind: &str| fact.as_str().strip_prefix(kind).and_then(|group| group.parse().ok());
    group("unix:gid:").or_else(|| group("unix:supplementary_gid:")).is_some_and(users::is_unmapped_group)
}

/// Where a process is. In a session of an earlier helper nobody is anybody: whose it was is not known any more, and
/// its uid alone may be more.
fn place(sessions: &Sessions, roots: &Path, peer: &Peer) -> Result<Option<Place>, NotAttested> {
    let place = sessions.place(peer).map_err(refuse)?;
    if place.is_none() && is_listed(roots, peer)? {
        return Err(NotAttested::Refused);
    }
    Ok(place)
}

/// Whether the process is inside a session by the list that the issuer reads.
fn is_listed(roots: &Path, peer: &Peer) -> Result<bool, NotAttested> {
    Roots::read(roots).and_then(|roots| roots.holds(peer)).map_err(refuse)
}

fn refuse(error: Unreadable) -> NotAttested {
    tracing::warn!(%error, "attest.session.unknown");
    NotAttested::Refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::Ulid;
    use std::os::unix::net::UnixStream;

    /// Otherwise a helper that starts again would serve it whatever the uid alone is entitled to.
    #[tokio::test]
    async fn a_process_in_a_session_of_an_earlier_helper_is_nobody() {
        let roots = tempfile::tempdir().unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let us = Peer::of(&ours).unwrap();
        let session = Ulid::new(avouch_words::Millis(1), [7; 10]);
        avouch_wire::unix::roots::write(roots.path(), session, &us).unwrap();
        let attestor = Attestor::new(Arc::default(), roots.path().to_owned());
        let caller = Caller::new(us);
        assert_eq!(attestor.attest(&caller).await.err(), Some(NotAttested::Refused));
        avouch_wire::unix::roots::remove(roots.path(), session).unwrap();
        assert!(attestor.attest(&caller).await.is_ok());
        drop(roots);
        let later = Caller::new(Peer::of(&ours).unwrap());
        assert_eq!(attestor.attest(&later).await.err(), Some(NotAttested::Refused), "no list is no answer");
    }

    #[tokio::test]
    async fn a_program_is_hashed_only_once_an_agent_asks_for_it() {
        let roots = tempfile::tempdir().unwrap();
        let attestor = Attestor::new(Arc::default(), roots.path().to_owned());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let caller = Caller::new(Peer::of(&ours).unwrap());
        let hashed = |found: &Attested| found.facts.iter().any(|fact| fact.as_str().starts_with("unix:sha256:"));
        let first = attestor.attest(&caller).await.unwrap();
        assert!(!hashed(&first) && first.facts.iter().any(|fact| fact.as_str().starts_with("unix:uid:")));
        assert!(Arc::ptr_eq(&first, &attestor.attest(&caller).await.unwrap()), "found once for a connection");
        attestor.want_digests(true);
        assert!(hashed(&attestor.attest(&caller).await.unwrap()), "what was found before is not enough any more");
    }
}
