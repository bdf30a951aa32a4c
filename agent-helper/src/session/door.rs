//! The session socket: who may open a session, and what happens until it ends.

use super::environment;
use super::files::SessionFiles;
use super::intake::{self, BadIntake, Opening};
use super::listener;
use super::tree::{ProcessId, Tree};
use super::{Entry, NoEntry, NoListener, Session, Sessions};
use crate::attest::{Attestor, NotAttested};
use crate::identity::IdentityKey;
use crate::identity::instance::{Holder, Instances};
use crate::ids;
use crate::journal::Journal;
use crate::limit::UidLimit;
use crate::state::NodeState;
use avouch_audit::field::{Code, Outside};
use avouch_audit::record::HelperEvent;
use avouch_policy::Caller;
use avouch_wire::local::{SessionAnswer, SessionOpened, SessionRefused, SessionTerms, session_answer::Kind};
use avouch_wire::unix::{self, Accepted, Peer, roots};
use avouch_words::{Clock, Name, Ulid};
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
    /// Begins to accept, until `ended`; then the listener and every connection end at once.
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

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// U21, invariant 11.
    #[error("a process inside a session may not open another")]
    Inside,
    /// Unknown agent, other selectors, locked: one text for all (U24).
    #[error("no session for this agent")]
    Denied,
    /// U23.
    #[error(transparent)]
    Listener(#[from] NoListener),
    /// Too many.
    #[error("too many sessions are open")]
    TooMany,
    /// What was said cannot be used.
    #[error(transparent)]
    Intake(#[from] BadIntake),
    /// No state yet, or something of ours failed.
    #[error("the helper is not ready for sessions")]
    NotReady,
}

impl Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::Inside => "inside_session",
            Self::Denied => "denied",
            Self::Listener(_) => "listener_refused",
            Self::TooMany => "too_many_sessions",
            Self::Intake(_) => "bad_request",
            Self::NotReady => "not_ready",
        }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Inside => "Run it from outside the session.",
            Self::Denied => "Ask an operator which agents this user may run on this node, and whether one is locked.",
            Self::Listener(_) => "Hand over a TCP socket that listens on a loopback address and is no other session's.",
            Self::TooMany => "End sessions that are not needed.",
            Self::Intake(_) => "Use an avouch of the same version as the helper.",
            Self::NotReady => "Try again in a moment; avouch status says what the helper waits for.",
        }
    }
}

impl Door {
    /// Serves the socket until the shutdown, and then ends every session.
    pub async fn run(self: Arc<Self>, listener: unix::Listener, shutdown: CancellationToken) {
        let live = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (door, shutdown) = (self.clone(), shutdown.clone());
            live.spawn(async move { door.attend(accepted, shutdown).await });
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
            Ok(open) => {
                let mut opened = open.opened();
                if let Some(state) = self.states.borrow().as_ref() {
                    environment::tell(&mut opened, &state.policy, &open.entry.session.member.agent);
                }
                let said = intake::answer(&mut stream, &SessionAnswer { kind: Some(Kind::Opened(opened)) }).await;
                if said.is_ok() {
                    self.attend_until_end(&open, &mut stream, &peer, &shutdown).await;
                }
                self.end(open).await;
            }
            Err(refused) => {
                let code = refused.code();
                tracing::warn!(pid = peer.pid(), uid = peer.uid(), code, reason = %refused, "session.open.refused");
                self.journal.note(HelperEvent::SessionRefused {
                    agent: Outside::of(&asked),
                    pid: peer.pid().unsigned_abs(),
                    uid: peer.uid(),
                    reason: Code::of(code),
                });
                let kind = Kind::Refused(SessionRefused {
                    code: code.to_owned(),
                    message: refused.to_string(),
                    action: refused.action().to_owned(),
                });
                let _ = intake::answer(&mut stream, &SessionAnswer { kind: Some(kind) }).await;
            }
        }
    }

    async fn open(&self, stream: &mut UnixStream, peer: &Peer, asked: &mut String) -> Result<Open, Refused> {
        // Each read whole before anything is refused: what is left unread at the close takes the answer with it.
        asked.clone_from(&intake::hello(stream, peer.pid()).await?.agent);
        let terms = SessionAnswer { kind: Some(Kind::Terms(self.terms())) };
        intake::answer(stream, &terms).await.map_err(BadIntake::Io)?;
        let Opening { said: request, listener: descriptor, .. } = intake::opening(stream, peer.pid()).await?;
        asked.clone_from(&request.agent);
        // Not from inside a session, whatever the uid; and if that cannot be told, not at all (U21).
        if self.attestor.is_inside(peer).await.unwrap_or(true) {
            return Err(Refused::Inside);
        }
        let listener = listener::check(descriptor, |cookie| self.sessions.has_listener(cookie))?;
        let agent = Name::parse(&request.agent).map_err(|_| Refused::Denied)?;
        self.allow(&agent, peer).await?;
        let session = ids::ulid(&*self.clock).map_err(|_| Refused::NotReady)?;
        let member = super::Member { session, agent: agent.clone() };
        let tree = Mutex::new(Tree::below(ProcessId { pid: peer.pid(), started: peer.start_time() }));
        let entry = self.sessions.enter(Session { member, uid: peer.uid(), cookie: listener.cookie, tree });
        let entry = entry.map_err(|error| match error {
            NoEntry::TooMany => Refused::TooMany,
            NoEntry::Taken => Refused::Listener(NoListener::Taken),
        })?;
        let instance = self.instances.of(&agent, Holder::Session(session), &*self.clock);
        let instance = instance.map_err(|_| Refused::NotReady)?;
        let ended = CancellationToken::new();
        let caller = Caller { agent: agent.clone(), instance: instance.instance, session, facts: Arc::default(), contained: false };
        let served = self.proxy.serve(listener.socket, caller, peer.uid(), ended.clone());
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
        tracing::info!(%session, %agent, uid = peer.uid(), pid = peer.pid(), listener_alone, "session.open.done");
        self.journal.note(HelperEvent::SessionOpened {
            agent,
            session,
            root_pid: peer.pid().unsigned_abs(),
            uid: peer.uid(),
            listener_alone,
        });
        let workload_socket = self.places.workload_socket.display().to_string();
        Ok(Open { entry, ended, files, listener_alone, workload_socket })
    }

    fn terms(&self) -> SessionTerms {
        SessionTerms {
            contain_required: self.contain_required,
            workload_socket: self.places.workload_socket.display().to_string(),
            hidden: self.places.hidden.iter().map(|path| path.display().to_string()).collect(),
        }
    }

    /// The name only narrows: every selector of the agent has to hold for the caller, in a session of that agent.
    async fn allow(&self, agent: &Name, peer: &Peer) -> Result<(), Refused> {
        let state = self.states.borrow().clone().ok_or(Refused::NotReady)?;
        let facts = self.attestor.facts_in_session(peer, agent).await.map_err(|error| match error {
            NotAttested::Gone | NotAttested::Refused => Refused::Denied,
        })?;
        let matches = state.agents.get(agent).is_some_and(|known| known.matches(&facts));
        if matches && state.is_entitled(agent) { Ok(()) } else { Err(Refused::Denied) }
    }

    async fn attend_until_end(&self, open: &Open, stream: &mut UnixStream, peer: &Peer, shutdown: &CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut byte = [0];
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = peer.exited() => return,
                // The end of the connection, or anything said on it, ends the session.
                _ = stream.read(&mut byte) => return,
                _ = looks.tick() => open.entry.session.look(),
            }
        }
    }

    /// Nothing is served any more, what is open is cut, who is left is killed; only then it is over.
    async fn end(&self, open: Open) {
        let Open { entry, ended, files, .. } = open;
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

/// A session that was opened.
struct Open {
    entry: Entry,
    ended: CancellationToken,
    files: SessionFiles,
    listener_alone: bool,
    workload_socket: String,
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
            contained: false,
        }
    }

    fn id(&self) -> Ulid {
        self.entry.session.member.session
    }
}

/// How often a session's processes are looked at.
const LOOK: Duration = Duration::from_millis(500);
