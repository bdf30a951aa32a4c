//! What every call shares, and the one way in which state is changed: a transaction with its event, then the next
//! version in memory, then everybody who waits for it.

use crate::connected::Connected;
use crate::error::Failure;
use crate::limiter::Limiter;
use crate::metrics::Metrics;
use crate::signers::Tokens;
use crate::state::{State, Unreadable};
use avouch_audit::entry::Body;
use avouch_audit::field::Commitment;
use avouch_audit::record::IssuerEvent;
use avouch_audit::spool::SpoolId;
use avouch_config::ServerConfig;
use avouch_config::crash_point;
use avouch_core::issue::ReservedAudiences;
use avouch_core::keys::KeyManager;
use avouch_store::{Fence, Pulse, Store, StoreError, Tx};
use avouch_words::{Clock, Millis, SpiffeId, TrustDomain, Ulid};
use ring::rand::SecureRandom;
use std::collections::HashSet;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

/// What every call shares.
pub(crate) struct App {
    pub(crate) config: ServerConfig,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn SecureRandom + Send + Sync>,
    pub(crate) store: Store,
    pub(crate) keys: Arc<dyn KeyManager>,
    pub(crate) reserved: ReservedAudiences,
    pub(crate) tokens: Tokens,
    pub(crate) metrics: Metrics,
    pub(crate) connected: Connected,
    /// For refusals of strangers.
    pub(crate) strangers: Limiter,
    /// Wakes whoever signs heads of the log.
    pub(crate) grown: Notify,
    pub(crate) started: Millis,
    pub(crate) shutdown: CancellationToken,
    /// The issuer's own ID: the writer of its events.
    pub(crate) own_id: SpiffeId,
    /// Alarms of spools that are in the log already: a helper that goes on sending the same is not recorded again.
    alarms: std::sync::Mutex<HashSet<(SpoolId, u64, &'static str)>>,
    /// Under which number this issuer leads, if it does.
    lead: std::sync::Mutex<Option<Fence>>,
    state: watch::Sender<Arc<State>>,
    beat: watch::Sender<Beat>,
    calls: Arc<Semaphore>,
    /// One change at a time, so that versions come into memory in their order.
    changing: Mutex<()>,
}

/// That the lock state was read, and is of this version still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) version: u64,
    /// The database's clock at that moment.
    pub(crate) database_time: Millis,
}

/// The parts of [`App`] that are made before it.
pub(crate) struct Parts {
    pub(crate) config: ServerConfig,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn SecureRandom + Send + Sync>,
    pub(crate) store: Store,
    pub(crate) keys: Arc<dyn KeyManager>,
    pub(crate) tokens: Tokens,
    pub(crate) state: State,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, address, clock, rng, store, keys, tokens, state } = parts;
        let beat = Beat { version: state.version, database_time: state.read_at };
        Self {
            reserved: ReservedAudiences::new(&config.trust_domain, config.reserved_audiences.iter().cloned()),
            strangers: Limiter::new(Arc::clone(&clock)),
            connected: Connected::new(),
            metrics: Metrics::default(),
            grown: Notify::new(),
            started: clock.now(),
            shutdown: CancellationToken::new(),
            own_id: config.trust_domain.issuer(),
            alarms: std::sync::Mutex::default(),
            lead: std::sync::Mutex::default(),
            state: watch::Sender::new(Arc::new(state)),
            beat: watch::Sender::new(beat),
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            changing: Mutex::new(()),
            config,
            address,
            clock,
            rng,
            store,
            keys,
            tokens,
        }
    }

    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.config.trust_domain
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The newest state.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// Wakes at each new version.
    pub(crate) fn watch_state(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    /// Wakes whenever the lock state was read.
    pub(crate) fn watch_beat(&self) -> watch::Receiver<Beat> {
        self.beat.subscribe()
    }

    /// Random bytes, of which none is ever used if the source fails (F39).
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes).map_err(|_| Failure::Broken("the random source failed".to_owned()))?;
        Ok(bytes)
    }

    /// A new identifier.
    pub(crate) fn ulid(&self) -> Result<Ulid, Failure> {
        Ok(Ulid::new(self.now(), self.random()?))
    }

    /// Runs a call to its end, even if the caller goes away in its middle, and turns its failure into what the caller
    /// may read.
    pub(crate) async fn answer<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let ended = match Arc::clone(&self.calls).try_acquire_owned() {
            Ok(place) => tokio::spawn(async move {
                let ended = call.await;
                drop(place);
                ended
            })
            .await
            .unwrap_or_else(|error| Err(Failure::Broken(error.to_string()))),
            Err(_) => Err(Failure::Busy("calls")),
        };
        ended.map(Response::new).map_err(|failure| self.refuse(&failure))
    }

    /// What the caller may read of a failure.
    pub(crate) fn refuse(&self, failure: &Failure) -> Status {
        // Without randomness the decision still gets an identifier: that of its moment.
        let decision = self.ulid().unwrap_or_else(|_| Ulid::new(self.now(), [0; 10]));
        failure.status(decision)
    }

    /// Begins a change of the state. Others that would change it wait, so do nothing slow before the commit.
    pub(crate) async fn change(&self) -> Result<Change<'_>, Failure> {
        let held = self.changing.lock().await;
        Ok(Change { tx: self.store.begin().await?, app: self, _held: held })
    }

    /// Begins a change that only the leader makes. Refused in the transaction itself once another leads.
    pub(crate) async fn change_as_leader(&self, fence: Fence) -> Result<Change<'_>, Failure> {
        let mut change = self.change().await?;
        change.check_lead(fence).await?;
        Ok(change)
    }

    /// Under which number this issuer leads, as far as it knows.
    pub(crate) fn lead(&self) -> Option<Fence> {
        *self.lead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this issuer leads, or not. The answer is what was noted before.
    pub(crate) fn set_lead(&self, lead: Option<Fence>) -> Option<Fence> {
        std::mem::replace(&mut *self.lead.lock().unwrap_or_else(PoisonError::into_inner), lead)
    }

    /// Appends an event of the issuer.
    pub(crate) async fn record(&self, tx: &mut Tx, event: IssuerEvent) -> Result<(), StoreError> {
        self.metrics.count(&event);
        tx.append(Body::Event(event), &self.own_id, self.now()).await.map(|_| ())
    }

    /// Commits what changes nothing that nodes know.
    pub(crate) async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        tx.commit().await?;
        self.grown.notify_one();
        Ok(())
    }

    /// Records an event that is a transaction of its own.
    pub(crate) async fn record_alone(&self, event: IssuerEvent) {
        let recorded = async {
            let mut tx = self.store.begin().await?;
            self.record(&mut tx, event).await?;
            self.commit(tx).await
        };
        if let Err(error) = recorded.await {
            tracing::error!(%error, "an event could not be recorded");
        }
    }

    /// Records what a stranger did, unless strangers did too much already.
    pub(crate) async fn record_stranger(&self, event: IssuerEvent) {
        if self.strangers.take() {
            self.record_alone(event).await;
        }
    }

    /// Whether this alarm about this record of this spool is news.
    pub(crate) fn is_news(&self, spool: SpoolId, seq: u64, code: &'static str) -> bool {
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        if alarms.len() >= MAX_ALARMS {
            alarms.clear();
        }
        alarms.insert((spool, seq, code))
    }

    /// Reads the version and the database's time; if another process changed the state, reads that too. An issuer whose
    /// clock is far from the database's reads nothing: what it signs would begin and end at the wrong time.
    pub(crate) async fn beat(&self) -> Result<(), Unreadable> {
        let Pulse { version, database_time } = self.store.pulse(self.address).await?;
        let apart = database_time.since(self.now()).max(self.now().since(database_time));
        if self.store.is_shared() && apart > CLOCKS_APART {
            return Err(Unreadable::Clock(apart));
        }
        if version != self.state.borrow().version {
            let _held = self.changing.lock().await;
            self.reload().await?;
            return Ok(());
        }
        self.beat.send_replace(Beat { version, database_time });
        Ok(())
    }

    async fn reload(&self) -> Result<(), Unreadable> {
        let before = self.state();
        // What nodes are sent is never younger than what the other issuers can see that this one has read.
        let read_at = self.store.pulse(self.address).await?.database_time;
        let (keys, tokens) = (&*self.keys, &self.tokens);
        let mut state =
            State::read(&self.store, self.trust_domain(), keys, tokens, Some(&before), self.now(), &*self.rng).await?;
        state.read_at = read_at;
        self.beat.send_replace(Beat { version: state.version, database_time: state.read_at });
        self.state.send_replace(Arc::new(state));
        Ok(())
    }
}

/// A change that is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    /// The version that it made.
    pub(crate) version: u64,
    /// When, on the boot clock.
    pub(crate) at: Duration,
}

/// A change of what nodes know. Dropped without [`Change::commit`], nothing has changed.
pub(crate) struct Change<'a> {
    tx: Tx,
    app: &'a App,
    _held: MutexGuard<'a, ()>,
}

impl Change<'_> {
    /// Appends an event of the issuer.
    pub(crate) async fn record(&mut self, event: IssuerEvent) -> Result<(), StoreError> {
        self.app.record(&mut self.tx, event).await
    }

    /// Commits to a value that could identify a person.
    pub(crate) async fn commit_to(&mut self, value: &str) -> Result<Commitment, Failure> {
        let salt = self.app.random()?;
        Ok(self.tx.commit_to(value, salt).await?)
    }

    /// Commits, and waits a moment for the nodes that are connected: what the operator does next finds it in force.
    pub(crate) async fn commit_and_settle(self) -> Result<(), Failure> {
        let connected = self.app.connected.clone();
        let committed = self.commit().await?;
        connected.settled(committed.version).await;
        Ok(())
    }

    /// Makes the change durable, and lets everybody see the version that it made.
    pub(crate) async fn commit(self) -> Result<Committed, Failure> {
        crash_point("issuer-before-commit");
        let version = self.tx.commit().await?;
        crash_point("issuer-after-commit");
        let at = self.app.clock.boot();
        self.app.grown.notify_one();
        // The change is durable. If it cannot be read now, the next beat reads it, and until then no beat says that
        // the version before is still the newest.
        if let Err(error) = self.app.reload().await {
            tracing::error!(%error, version, "the new version could not be read");
        }
        Ok(Committed { version, at })
    }
}

impl Deref for Change<'_> {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

/// Further apart the clocks of an issuer and of a database that others share may not be.
const CLOCKS_APART: Duration = Duration::from_secs(30);
/// Calls at a time, of all callers together.
const MAX_CALLS: usize = 1024;
/// Alarms that are remembered.
const MAX_ALARMS: usize = 4096;
