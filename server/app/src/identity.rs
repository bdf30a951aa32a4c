//! The issuer's own TLS identity, `spiffe://<trust domain>/issuer`: signed by the active authority, replaced at half
//! its life and whenever another authority signs. The authority is the last element of the chain, so that a helper that
//! knows only its hash can check it.

use crate::app::App;
use crate::state::State;
use avouch_core::authority::{AuthorityError, own_key};
use avouch_core::issue;
use avouch_wire::tls::{BadIdentity, Identity};
use avouch_words::{Bundles, Millis, Ulid};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoIdentity {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Tls(#[from] BadIdentity),
}

/// What TLS handshakes read at each turn.
pub(crate) struct Shown {
    identity: watch::Sender<Option<Identity>>,
    bundles: watch::Sender<Arc<Bundles>>,
}

/// An identity, and when it has to be replaced.
struct Held {
    authority: Ulid,
    replace_at: Millis,
}

impl Shown {
    /// Nothing yet: every handshake is refused.
    pub(crate) fn new() -> Self {
        Self { identity: watch::Sender::new(None), bundles: watch::Sender::new(Arc::default()) }
    }

    pub(crate) fn identity(&self) -> watch::Receiver<Option<Identity>> {
        self.identity.subscribe()
    }

    pub(crate) fn bundles(&self) -> watch::Receiver<Arc<Bundles>> {
        self.bundles.subscribe()
    }

    /// Shows what the authorities of this state sign.
    fn renew(&self, app: &App, state: &State) -> Result<Held, NoIdentity> {
        let now = app.now();
        let signer = state.signers.x509(now)?;
        let (key, public) = own_key(&*app.rng).map_err(AuthorityError::from)?;
        let permit = issue::issuer_itself(app.trust_domain(), app.config.svid.node_ttl);
        let leaf = signer.sign(&permit, &public, now, &*app.rng)?;
        let chain = vec![leaf.certificate, signer.certificate().0.clone()];
        self.identity.send_replace(Some(Identity::new(chain, key.expose())?));
        app.metrics.own_expires(leaf.not_after.seconds());
        Ok(Held { authority: signer.id(), replace_at: now.plus(leaf.not_after.since(now) / 2) })
    }

    fn trust(&self, state: &State) {
        self.bundles.send_replace(Arc::new(Bundles::from(state.signers.bundle().clone())));
    }

    /// Makes the first identity.
    pub(crate) fn begin(&self, app: &App) -> Result<(), NoIdentity> {
        let state = app.state();
        self.trust(&state);
        self.renew(app, &state).map(|_| ())
    }

    /// Keeps bundle and identity current.
    pub(crate) async fn keep(&self, app: &App) {
        let mut states = app.watch_state();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut held: Option<Held> = None;
        loop {
            let state = app.state();
            self.trust(&state);
            let active = state.signers.x509(app.now()).map(|signer| signer.id()).ok();
            let stands = |held: &Held| Some(held.authority) == active && app.now() < held.replace_at;
            if !held.as_ref().is_some_and(stands) {
                match self.renew(app, &state) {
                    Ok(renewed) => held = Some(renewed),
                    // The one before is shown until it ends.
                    Err(error) => tracing::error!(%error, "the issuer's own identity could not be renewed"),
                }
            }
            tokio::select! {
                _ = looks.tick() => {}
                changed = states.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// How often it is looked whether half of its life is over.
const LOOK: Duration = Duration::from_secs(1);
