//! The issuer's word on what may be done here: one stream, read whole, judged against what is held, enforced, and
//! only then acknowledged. A lost wake-up costs delay and never truth: each message is the whole state.

use crate::cache::{Cache, Kind};
use crate::contact::{Contact, Need};
use crate::freshness::Doubt;
use crate::identity::schedule;
use crate::ids;
use crate::issuer::{Link, LinkFault};
use crate::journal::Journal;
use crate::stale::StaleWatch;
use crate::state::NodeState;
use avouch_audit::record::HelperEvent;
use avouch_wire::Message;
use avouch_wire::issuer::{Applied, Heartbeat, Hello, State, SyncUp, sync_down, sync_up};
use avouch_words::{Clock, TrustDomain};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// What has to be done before a state counts as applied.
pub trait Enforce: Send + Sync + 'static {
    /// Withdraws what the new state no longer allows, before readers see it: nothing is handed out any more.
    fn withdraw<'a>(&'a self, now: &'a NodeState) -> BoxFuture<'a, ()>;
    /// Ends what is still going on although the new state, which readers have by now, no longer allows it.
    fn cut<'a>(&'a self, now: &'a NodeState) -> BoxFuture<'a, ()>;
}

/// The task that follows the issuer.
pub struct Follower {
    /// To the issuer.
    pub link: Link,
    /// Whose word counts.
    pub trust_domain: TrustDomain,
    /// The state in force; readers hold the other end.
    pub states: watch::Sender<Option<Arc<NodeState>>>,
    /// How old it is, and who is told when it is too old.
    pub stale: Arc<StaleWatch>,
    /// Where it is told how it stands with the issuer.
    pub contact: Arc<Contact>,
    /// Who enforces it.
    pub enforcer: Arc<dyn Enforce>,
    /// Where it is kept over restarts.
    pub cache: Arc<Cache>,
    /// Where doubts are recorded.
    pub journal: Journal,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no connection: {0}")]
    Link(#[from] LinkFault),
    #[error("the stream failed: {0}")]
    Stream(#[from] tonic::Status),
    #[error("the issuer closed the stream")]
    Closed,
    #[error("the issuer was silent")]
    Silent,
    #[error("the issuer is not believed: {0}")]
    Doubted(#[from] Doubt),
    #[error("the node's SVID was renewed")]
    Renewed,
}

impl Ended {
    /// Stable code.
    fn code(&self) -> &'static str {
        match self {
            Self::Link(fault) => fault.code(),
            Self::Stream(_) | Self::Closed => "issuer_gone",
            Self::Silent => "issuer_silent",
            Self::Doubted(doubt) => doubt.code(),
            Self::Renewed => "renewed",
        }
    }
}

impl Follower {
    /// Follows until the shutdown, connecting again with growing patience.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut failures = 0;
        loop {
            let mut believed = false;
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.follow(&mut believed) => ended,
            };
            self.link.hang_up();
            if matches!(ended, Ended::Renewed) {
                failures = 0;
                continue;
            }
            failures = if believed { 1 } else { u32::saturating_add(failures, 1) };
            self.contact.lost(ended.code(), ended.to_string());
            tracing::warn!(reason = %ended, issuer = self.link.address(), failures, "not in sync with the issuer");
            self.link.move_over();
            // Each of the others is tried at once before any is waited for.
            let all_tried = usize::try_from(failures).is_ok_and(|failures| failures >= self.link.issuers());
            let pause = match all_tried {
                true => schedule::backoff(failures, ids::share()).min(LONGEST_PAUSE),
                false => MOVING.mul_f64(ids::share()),
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn follow(&mut self, believed: &mut bool) -> Ended {
        match self.follow_until_it_fails(believed).await {
            Ok(()) => Ended::Closed,
            Err(ended) => ended,
        }
    }

    /// `believed` becomes true with the first message that is.
    async fn follow_until_it_fails(&mut self, believed: &mut bool) -> Result<(), Ended> {
        let silence = if self.link.issuers() > 1 { SILENCE_OF_MANY } else { SILENCE };
        self.contact.dials(self.link.address());
        let dialled = match self.link.issuers() {
            1 => self.link.dial().await,
            // The next may be there already while this one does not answer.
            _ => tokio::time::timeout(DIAL_OF_MANY, self.link.dial()).await.map_err(|_| Ended::Silent)?,
        };
        let mut client = dialled?;
        let (up, receiver) = mpsc::channel(UP);
        let held = self.states.borrow().clone();
        let hello = held.map(|state| Hello { version: state.version, epoch: state.epoch.clone() }).unwrap_or_default();
        // There is room: nothing was sent yet.
        let _ = up.try_send(SyncUp { kind: Some(sync_up::Kind::Hello(hello)) });
        let opening = client.sync(ReceiverStream::new(receiver));
        let mut down = tokio::time::timeout(silence, opening).await.map_err(|_| Ended::Silent)??.into_inner();
        self.link.confirm();
        loop {
            let message = tokio::select! {
                message = tokio::time::timeout(silence, down.message()) => message.map_err(|_| Ended::Silent)??,
                () = self.link.renewed() => return Err(Ended::Renewed),
            };
            let Some(message) = message else { return Ok(()) };
            let boot = self.clock.boot();
            match message.kind {
                Some(sync_down::Kind::State(state)) => {
                    self.contact.heard(avouch_words::Millis(state.database_time_ms), self.clock.now());
                    let banned = state.banned;
                    let applied = self.take(state, boot).await.map_err(|doubt| self.doubt(doubt))?;
                    if banned {
                        tracing::error!("this node is banned: nothing is served and nothing is injected here");
                        self.contact.needs(Need::Eviction);
                    }
                    *believed = true;
                    let sent = up.send(SyncUp { kind: Some(sync_up::Kind::Applied(applied)) }).await;
                    sent.map_err(|_| Ended::Closed)?;
                }
                Some(sync_down::Kind::Heartbeat(beat)) => {
                    self.contact.heard(avouch_words::Millis(beat.database_time_ms), self.clock.now());
                    self.hear(&beat, boot).map_err(|doubt| self.doubt(doubt))?;
                    *believed = true;
                }
                // A kind that this helper does not know may be anything, so it is not ignored.
                None => return Err(self.doubt(Doubt::Unreadable).into()),
            }
        }
    }

    /// Judges, withdraws, publishes, cuts, keeps; then, and only then, it is applied.
    async fn take(&self, state: State, boot: Duration) -> Result<Applied, Doubt> {
        let sent = self.cache.is_on().then(|| state.encode_to_vec());
        let state = Arc::new(NodeState::read(state)?);
        let held = self.states.borrow().clone();
        state.may_follow(held.as_deref(), &self.trust_domain)?;
        if let Some(held) = held.filter(|held| held.epoch != state.epoch) {
            let (from_version, to_version) = (held.version.into(), state.version.into());
            self.journal.note(HelperEvent::EpochChanged { from_version, to_version });
        }
        let applied = Applied { version: state.version, epoch: state.epoch.clone() };
        self.enforcer.withdraw(&state).await;
        self.states.send_replace(Some(state.clone()));
        self.enforcer.cut(&state).await;
        self.stale.freshness().set_bound(state.staleness_bound);
        self.stale.confirm(&state.epoch, state.database_time, boot);
        // Before it is acknowledged: a lock that is in force here is in force after a restart.
        sent.inspect(|sent| self.cache.write(Kind::State, sent));
        self.keep_age();
        tracing::info!(
            version = state.version,
            agents = state.agents.len(),
            locks = state.locks.len(),
            "state applied"
        );
        Ok(applied)
    }

    /// A heartbeat says that what is held is still the newest; one that says anything else confirms nothing.
    fn hear(&self, beat: &Heartbeat, boot: Duration) -> Result<(), Doubt> {
        if beat.trust_domain != self.trust_domain.as_str() {
            return Err(Doubt::OtherTrustDomain);
        }
        let Some(held) = self.states.borrow().clone() else { return Ok(()) };
        if beat.epoch != held.epoch {
            return Ok(());
        }
        if beat.version < held.version {
            return Err(Doubt::VersionWentBack);
        }
        if beat.version == held.version {
            self.stale.confirm(&held.epoch, avouch_words::Millis(beat.database_time_ms), boot);
            self.keep_age();
        }
        Ok(())
    }

    fn keep_age(&self) {
        if let Some(age) = self.stale.freshness().kept() {
            self.cache.write(Kind::Age, &age.bytes());
        }
    }

    fn doubt(&self, doubt: Doubt) -> Doubt {
        self.stale.doubt(doubt);
        doubt
    }
}

/// Messages to the issuer that may wait.
const UP: usize = 8;
/// Heartbeats come every 2 s: an issuer that is silent for longer is looked for anew.
const SILENCE: Duration = Duration::from_secs(7);
/// Where there are other issuers, one that misses a beat is left sooner, so that the next is found within 5 s.
const SILENCE_OF_MANY: Duration = Duration::from_secs(4);
/// And as long may a connection take there.
const DIAL_OF_MANY: Duration = Duration::from_secs(2);
/// What nodes that lose one issuer together wait at most before they go to the next.
const MOVING: Duration = Duration::from_millis(200);
/// Locks have to arrive: even after many failures the next try is not far.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
