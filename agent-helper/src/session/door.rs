//! The session socket: who may open a session, and what happens until it ends.

use super::environment;
use super::files::SessionFiles;
use super::intake::{self, BadIntake, Opening};
use super::listener;
use super::refused::Refused;
use super::tokens::{SessionTokens, TokenDirectory};
use super::tree::{ProcessId, Tree};
use super::walls::{self, Walls};
use super::{Entry, Member, NoEntry, NoListener, Place, Session, Sessions};
use crate::attest::{Attestor, NotAttested};
use crate::identity::IdentityKey;
use crate::identity::instance::{Holder, Instances};
use crate::identity::jwt::JwtSvids;
use crate::ids;
use crate::journal::Journal;
use crate::limit::UidLimit;
use crate::state::NodeState;
use avouch_audit::field::{Code, Outside};
use avouch_audit::record::HelperEvent;
use avouch_policy::Caller;
use avouch_wire::local::{SessionAnswer, SessionOpened, SessionTerms, session_answer::Kind};
use avouch_wire::unix::{self, Accepted, Peer, Stranger, roots};
use avouch_words::{Clock, Name, Selector, Ulid};
use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Serves what is dialled on a session's listener.
pub trait Serve: Send + Sync + 'static {
    /// Begins to accept, until `ended`; then the listener and every connection end at once. `uid` is the one that the
    /// kernel has to show for each connection, where the listener is not behind walls.
    fn serve(&self, listener: TcpListener, caller: Caller, uid: u32, ended: CancellationToken) -> io::Result<Served>;
}

/// What a session's programs have to know about its proxy.
#[derive(Debug)]
pub struct Served {
    /// The certificate of the session's own authority, PEM.
    pub anchor: String,
    /// The roots of the system, PEM.
    pub system_roots: String,
    /// The kernel cannot tell this session's connections from others' by uid.
    pub listener_alone: bool,
}

/// Opens and ends sessions.
pub struct Door {
    /// The open ones.
    pub sessions: Arc<Sessions>,
    /// Who the callers are.
    pub attestor: Arc<Attestor>,
    /// The state in force.
    pub states: watch::Receiver<Option<Arc<NodeState>>>,
    /// Where identity tokens come from.
    pub jwt: Arc<JwtSvids>,
    /// Which instance a session is.
    pub instances: Arc<Instances>,
    /// Where instances go that have ended.
    pub ended: mpsc::Sender<IdentityKey>,
    /// How often a user may ask.
    pub limit: UidLimit,
    /// The proxy.
    pub proxy: Arc<dyn Serve>,
    /// Where it is recorded.
    pub journal: Journal,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where things are.
    pub places: Places,
    /// Whether sessions are contained unless the caller says otherwise.
    pub contain_required: bool,
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The Workload API's socket.
    pub workload_socket: PathBuf,
    /// The directory of session roots.
    pub roots: PathBuf,
    /// The directory of sessions' files.
    pub sessions: PathBuf,
    /// Directories that no contained session may see.
    pub hidden: Vec<PathBuf>,
}

impl Door {
    /// Serves the socket until the shutdown, and then ends every session.
    pub async fn run(self: Arc<Self>, listener: unix::Listener, shutdown: CancellationToken) {
        let live = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept_any() => accepted,
            };
            let (door, shutdown) = (self.clone(), shutdown.clone());
            match accepted {
                Ok(accepted) => live.spawn(async move { door.attend(accepted, shutdown).await }),
                Err(stranger) => live.spawn(async move { door.turn_away(stranger, shutdown).await }),
            };
        }
        live.close();
        live.wait().await;
    }

    async fn attend(&self, accepted: Accepted, shutdown: CancellationToken) {
        let Accepted { mut stream, peer, slot: _slot } = accepted;
        // Not answered and not recorded: a flood shall fill neither the log nor the disk.
        if !self.limit.take(peer.uid()) {
            return;
        }
        let mut asked = String::new();
        let opened = tokio::select! {
            () = shutdown.cancelled() => return,
            opened = self.open(&mut stream, &peer, &mut asked) => opened,
        };
        match opened {
            Ok(mut open) => {
                let mut opened = open.opened();
                if let Some(state) = self.states.borrow().as_ref() {
                    environment::tell(&mut opened, &state.policy, &open.entry.session.member.agent);
                }
                let granted = tokio::select! {
                    () = shutdown.cancelled() => None,
                    granted = self.grant_tokens(&mut open, &mut opened) => granted,
                };
                let keeping = granted.map(|tokens| tokio::spawn(tokens.keep(open.ended.clone())));
                let said = intake::answer(&mut stream, &SessionAnswer { kind: Some(Kind::Opened(opened)) }).await;
                if said.is_ok() {
                    self.attend_until_end(&open, &mut stream, &peer, &shutdown).await;
                }
                self.end(open).await;
                if let Some(keeping) = keeping {
                    // It ends with the session, and its files with it.
                    let _ = keeping.await;
                }
            }
            // It has heard the terms, and left.
            Err(Refused::Intake(BadIntake::Io(error))) => {
                tracing::debug!(pid = peer.pid(), uid = peer.uid(), %error, "session.open.left");
            }
            Err(refused) => self.refuse(&mut stream, &refused, &asked, peer.pid(), peer.uid()).await,
        }
    }

    /// Says to somebody who cannot be known why that is so, and listens to nothing.
    async fn turn_away(&self, stranger: Stranger, shutdown: CancellationToken) {
        let Stranger { mut stream, uid, why, slot: _slot } = stranger;
        let uid = uid.unwrap_or(u32::MAX);
        if !self.limit.take(uid) {
            return;
        }
        let refused = Refused::from(&why);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.refuse(&mut stream, &refused, "", 0, uid) => {
                // What it says is not read, and shall not take our answer with it.
                let _ = tokio::time::timeout(LOOK, stream.read(&mut [0; 1024])).await;
            }
        }
    }

    async fn refuse(&self, stream: &mut UnixStream, refused: &Refused, asked: &str, pid: i32, uid: u32) {
        let code = refused.code();
        tracing::warn!(pid, uid, code, reason = %refused, "session.open.refused");
        self.journal.note(HelperEvent::SessionRefused {
            agent: Outside::of(asked),
            pid: pid.unsigned_abs(),
            uid,
            reason: Code::of(code),
        });
        let _ = intake::answer(stream, &SessionAnswer { kind: Some(Kind::Refused(refused.told())) }).await;
    }

    async fn open(&self, stream: &mut UnixStream, peer: &Peer, asked: &mut String) -> Result<Open, Refused> {
        // Each read whole before anything is refused: what is left unread at the close takes the answer with it.
        asked.clone_from(&intake::hello(stream, peer.pid()).await?.agent);
        let outer = self.outer(peer, asked).await?;
        let session = ids::ulid(&*self.clock).map_err(|_| Refused::NotReady)?;
        let tokens = self.tokens(session, asked, outer.as_ref());
        let terms = SessionAnswer { kind: Some(Kind::Terms(self.terms(outer.as_ref(), tokens.as_ref()))) };
        intake::answer(stream, &terms).await.map_err(BadIntake::Io)?;
        let Opening { said, listener, init } = intake::opening(stream, peer.pid()).await?;
        asked.clone_from(&said.agent);
        // Asked again: it was a while.
        let outer = self.outer(peer, asked).await?;
        let listener = listener::check(listener, |cookie| self.sessions.has_listener(cookie))?;
        let agent = Name::parse(asked).map_err(|_| Refused::Denied)?;
        let (walls, listener) = match (said.contained, init) {
            (Some(contained), Some(init)) => {
                let peer = peer.clone();
                let verified = tokio::task::spawn_blocking(move || {
                    walls::verify(init, &contained.profile, &listener, &peer).map(|walls| (Some(walls), listener))
                });
                verified.await.map_err(|_| Refused::NotReady)??
            }
            _ => (None, listener),
        };
        if walls.is_none() && outer.as_ref().is_some_and(Place::is_contained) {
            return Err(Refused::Uncontained);
        }
        let member = member(session, &agent, peer, walls.as_ref(), outer.as_ref());
        // In a contained session the programs have the user that its init has.
        let shown = walls.as_ref().map_or(peer, |walls| &walls.init);
        let (contained, uid) = (walls.is_some(), shown.uid());
        let facts = self.allow(&agent, shown, member.clone()).await?;
        let profile = walls.as_ref().map(|walls| walls.profile.clone());
        let ended = outer.as_ref().map_or_else(CancellationToken::new, Place::ending);
        let tree = Mutex::new(Tree::below(ProcessId { pid: peer.pid(), started: peer.start_time() }));
        let (cookie, socket) = (listener.cookie, listener.socket);
        let opened = Session { member, uid: peer.uid(), cookie, tree, walls, ended: ended.clone() };
        let entry = self.sessions.enter(opened).map_err(|error| match error {
            NoEntry::TooMany => Refused::TooMany,
            NoEntry::Taken => Refused::Listener(NoListener::Taken),
        })?;
        let instance = self.instances.of(&agent, Holder::Session(session), &*self.clock);
        let whose = instance.map_err(|_| Refused::NotReady)?;
        let caller =
            Caller { agent: agent.clone(), instance: whose.instance, session, facts: Arc::new(facts), contained };
        let served = self.proxy.serve(socket, caller, uid, ended.clone());
        let ready = served.and_then(|served| {
            let files = SessionFiles::write(&self.places.sessions, session, &served.system_roots, &served.anchor)?;
            roots::write(&self.places.roots, session, peer)?;
            Ok((files, served.listener_alone))
        });
        let (files, listener_alone) = ready.map_err(|error| {
            tracing::error!(%error, %session, "session.open.failed");
            ended.cancel();
            Refused::NotReady
        })?;
        // It may have exited, or become another user's, while it was looked at.
        peer.recheck().map_err(|_| {
            ended.cancel();
            let _ = roots::remove(&self.places.roots, session);
            Refused::Denied
        })?;
        tracing::info!(%session, %agent, uid, pid = peer.pid(), contained, listener_alone, "session.open.done");
        self.journal.note(HelperEvent::SessionOpened {
            agent,
            session,
            root_pid: peer.pid().unsigned_abs(),
            uid: peer.uid(),
            listener_alone,
            contained: profile,
            within: outer.map(|outer| outer.session()),
        });
        let workload_socket = self.places.workload_socket.display().to_string();
        Ok(Open { entry, ended, files, listener_alone, workload_socket, whose, uid, tokens })
    }

    /// The session that the caller is inside of: there it may run that session's agent, and no other (U21). If it cannot
    /// be told, it may run none.
    async fn outer(&self, peer: &Peer, agent: &str) -> Result<Option<Place>, Refused> {
        let outer = self.attestor.place(peer).await.map_err(|_| Refused::Inside)?;
        match &outer {
            Some(outer) if outer.agent().as_str() != agent || outer.is_root(peer) => Err(Refused::Inside),
            _ => Ok(outer),
        }
    }

    /// Where a new session's identity tokens will be, if its agent may go anywhere with one. There are none inside a
    /// contained session, from where no other place of the host is seen.
    fn tokens(&self, session: Ulid, agent: &str, outer: Option<&Place>) -> Option<TokenDirectory> {
        let (state, agent) = (self.states.borrow().clone()?, Name::parse(agent).ok()?);
        state.targets_of(&agent).next()?;
        if outer.is_some_and(Place::is_contained) {
            return None;
        }
        match TokenDirectory::make(&self.places.sessions, session) {
            Ok(directory) => Some(directory),
            Err(error) => {
                tracing::error!(%error, %session, "session.tokens.failed");
                None
            }
        }
    }

    /// Writes the session's identity tokens, and tells where they are or why there are none.
    async fn grant_tokens(&self, open: &mut Open, opened: &mut SessionOpened) -> Option<SessionTokens> {
        let directory = open.tokens.take()?;
        let seen = match opened.contained {
            true => TOKENS_INSIDE.to_owned(),
            false => directory.path().display().to_string(),
        };
        let state = self.states.borrow().clone()?;
        let targets = state.targets_of(&open.whose.agent).cloned().collect();
        let mut tokens = SessionTokens {
            jwt: self.jwt.clone(),
            clock: self.clock.clone(),
            states: self.states.clone(),
            whose: open.whose.clone(),
            uid: open.uid,
            directory,
            held: Vec::new(),
        };
        if let Err(error) = tokens.begin(targets, &seen).await {
            tracing::warn!(agent = %open.whose.agent, %error, "session.tokens.none");
            opened.no_tokens = error.to_string();
            return None;
        }
        opened.environment.extend(tokens.environment(&seen));
        Some(tokens)
    }

    fn terms(&self, outer: Option<&Place>, tokens: Option<&TokenDirectory>) -> SessionTerms {
        SessionTerms {
            contain_required: self.contain_required || outer.is_some_and(Place::is_contained),
            workload_socket: self.places.workload_socket.display().to_string(),
            tokens_directory: tokens.map(|tokens| tokens.path().display().to_string()).unwrap_or_default(),
            hidden: self.places.hidden.iter().map(|path| path.display().to_string()).collect(),
        }
    }

    /// The name only narrows: every selector of the agent has to hold for the session's processes. Gives what is known
    /// of them.
    async fn allow(&self, agent: &Name, shown: &Peer, member: Member) -> Result<BTreeSet<Selector>, Refused> {
        let state = self.states.borrow().clone().ok_or(Refused::NotReady)?;
        let facts = self.attestor.facts_as(shown, member).await.map_err(|error| match error {
            NotAttested::Gone | NotAttested::Refused => Refused::Denied,
        })?;
        let matches = state.agents.get(agent).is_some_and(|known| known.matches(&facts));
        if matches && state.is_entitled(agent) { Ok(facts) } else { Err(Refused::Denied) }
    }

    async fn attend_until_end(&self, open: &Open, stream: &mut UnixStream, peer: &Peer, shutdown: &CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut byte = [0];
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = peer.exited() => return,
                // The session that it is inside of has ended.
                () = open.ended.cancelled() => return,
                // The end of the connection, or anything said on it, ends the session.
                _ = stream.read(&mut byte) => return,
                _ = looks.tick() => open.entry.session.look(),
            }
        }
    }

    /// Nothing is served any more, what is open is cut, who is left is killed; only then it is over.
    async fn end(&self, open: Open) {
        let Open { entry, ended, files, tokens, .. } = open;
        drop(tokens);
        let session = entry.session.clone();
        let id = session.member.session;
        ended.cancel();
        drop(entry);
        let below = session.clone();
        let killed = tokio::task::spawn_blocking(move || below.kill()).await.unwrap_or_default();
        for whose in self.instances.end_session(id) {
            if self.ended.try_send(whose).is_err() {
                tracing::warn!("an ended instance could not be reported; it ends with this node");
            }
        }
        drop(files);
        if let Err(error) = roots::remove(&self.places.roots, id) {
            tracing::error!(%error, session = %id, "a session's root could not be removed");
        }
        tracing::info!(session = %id, killed = killed.killed, spared = killed.spared, "session.close.done");
        let agent = session.member.agent.clone();
        let killed = u32::try_from(killed.killed).unwrap_or(u32::MAX);
        self.journal.note(HelperEvent::SessionClosed { agent, session: id, killed });
    }
}

/// What is to be known of a new session's processes. One inside another has no fact that the outer has not.
fn member(session: Ulid, agent: &Name, peer: &Peer, walls: Option<&Walls>, outer: Option<&Place>) -> Member {
    let outer = outer.map(Place::member);
    let opener = outer.as_ref().map_or(peer.uid(), |outer| outer.opener);
    let mut profiles = walls.map(|walls| avouch_words::counts_as(&walls.profile)).unwrap_or_default();
    profiles.retain(|profile| outer.as_ref().is_none_or(|outer| outer.walls.contains(profile)));
    Member { session, agent: agent.clone(), opener, walls: profiles.into() }
}

/// A session that was opened.
struct Open {
    entry: Entry,
    ended: CancellationToken,
    files: SessionFiles,
    listener_alone: bool,
    workload_socket: String,
    whose: IdentityKey,
    /// The user of the session's programs.
    uid: u32,
    /// Where identity tokens will be.
    tokens: Option<TokenDirectory>,
}

impl Open {
    fn opened(&self) -> SessionOpened {
        SessionOpened {
            session: self.id().to_string(),
            workload_socket: self.workload_socket.clone(),
            bundle_file: self.files.bundle().display().to_string(),
            extra_file: self.files.extra().display().to_string(),
            listener_alone: self.listener_alone,
            environment: Vec::new(),
            ambiguous: Vec::new(),
            contained: self.entry.session.walls.is_some(),
            no_tokens: String::new(),
        }
    }

    fn id(&self) -> Ulid {
        self.entry.session.member.session
    }
}

/// Where a contained session sees its identity tokens.
const TOKENS_INSIDE: &str = "/run/avouch/tokens";
/// How often a session's processes are looked at.
const LOOK: Duration = Duration::from_millis(500);
