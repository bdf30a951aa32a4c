//! The node's SVID is renewed at half its life, each time for a new key. Key and SVID are on disk before they are
//! used, and those before stay until the issuer has taken the new ones on a connection.

use crate::contact::{Contact, Need};
use crate::identity::key::NodeMadeKey;
use crate::identity::{schedule, validate};
use crate::ids;
use crate::issuer::{AskFault, Issuer};
use crate::node_files::{FileFault, NodeFiles, NodeIdentity, Turn};
use crate::rejoin::{self, Rejoin};
use avouch_wire::tls::{Identity, LiveBundles};
use avouch_words::{Clock, Millis};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The task that renews.
pub struct Renewal {
    /// Where key and SVID are.
    pub files: NodeFiles,
    /// Who renews.
    pub issuer: Issuer,
    /// What is in use.
    pub node: NodeIdentity,
    /// Where it is shown.
    pub shown: watch::Sender<Option<Identity>>,
    /// What it has to verify under.
    pub bundles: LiveBundles,
    /// Counts connections on which the issuer took what is shown.
    pub confirmations: watch::Receiver<u64>,
    /// Where its end is told.
    pub contact: Arc<Contact>,
    /// How it joins anew, if it has to.
    pub rejoin: Rejoin,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Issuer(#[from] AskFault),
    #[error(transparent)]
    Files(#[from] FileFault),
    #[error("the key could not be made")]
    Key,
    #[error("what the issuer sent is not used: {0}")]
    Inadmissible(String),
}

impl Renewal {
    /// Renews until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        // What an earlier run has renewed and not yet used takes its place with the first connection, too.
        let mut unconfirmed = true;
        let mut failures = 0;
        let mut due = self.due();
        loop {
            // Without the issuer's ear it may be that only a new token helps.
            let cut_off = self.is_cut_off();
            let wait = due.since(self.clock.now()).min(if cut_off { rejoin::LOOK } else { LOOK });
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.confirmations.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if unconfirmed {
                        unconfirmed = !self.confirm();
                    }
                    continue;
                }
                () = tokio::time::sleep(wait) => {}
            }
            if cut_off && self.join_anew().await {
                (failures, unconfirmed) = (0, false);
                due = self.due();
                continue;
            }
            if self.clock.now() < due {
                continue;
            }
            // One that is not confirmed is not overwritten by the next.
            if unconfirmed {
                due = self.clock.now().plus(schedule::backoff(1, ids::share()));
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    (failures, unconfirmed) = (0, true);
                    due = self.due();
                    tracing::info!(until = ?self.node.svid.not_after(), "node.renew.done");
                }
                Err(failed) => {
                    failures = u32::saturating_add(failures, 1);
                    due = self.clock.now().plus(schedule::backoff(failures, ids::share()));
                    tracing::warn!(reason = %failed, failures, until = ?self.node.svid.not_after(), "node.renew.failed");
                }
            }
        }
    }

    /// Whether nothing is heard of the issuer; an SVID that ran out meanwhile is told.
    fn is_cut_off(&self) -> bool {
        if self.node.svid.not_after() <= self.clock.now() && self.contact.standing().need.is_none() {
            tracing::error!("node.svid.expired: a new join token is needed");
            self.contact.needs(Need::Token);
        }
        self.contact.standing().fault.is_some()
    }

    /// Takes a new token, if there is one.
    async fn join_anew(&mut self) -> bool {
        let Some(joined) = self.rejoin.attempt(self.node.svid.id()).await else { return false };
        let shown = match shown(&joined.identity.svid, &joined.identity.key) {
            Ok(shown) => shown,
            Err(error) => {
                tracing::error!(%error, "node.rejoin.failed");
                return false;
            }
        };
        self.contact.renewed(joined.identity.svid.not_after());
        self.node = joined.identity;
        self.shown.send_replace(Some(shown));
        true
    }

    fn due(&self) -> Millis {
        schedule::renewal(self.clock.now(), self.node.svid.not_after(), ids::share())
    }

    fn confirm(&self) -> bool {
        match self.files.confirm_next() {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "node.renew.not_stored");
                false
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Failed> {
        // A key that is there already was sent before, and the reply was lost: the same one is asked with again.
        let key = match self.files.key(Turn::Next)? {
            Some(key) => key,
            None => {
                let key = NodeMadeKey::generate().map_err(|_| Failed::Key)?;
                self.files.put_key(Turn::Next, &key)?;
                key
            }
        };
        let answer = self.issuer.renew(key.csr().map_err(|_| Failed::Key)?).await?;
        let chain: Vec<_> = answer.chain.into_iter().map(CertificateDer::from).collect();
        let id = self.node.svid.id();
        let bundles = self.bundles.borrow().clone();
        let bundle =
            bundles.of(&id.trust_domain()).ok_or_else(|| Failed::Inadmissible("there is no bundle".to_owned()))?;
        let svid = validate::check(id, &chain, &key, bundle, self.clock.now());
        let svid = svid.map_err(|error| Failed::Inadmissible(error.to_string()))?;
        let shown = shown(&svid, &key)?;
        self.files.put_svid(Turn::Next, &svid)?;
        self.contact.renewed(svid.not_after());
        self.node = NodeIdentity { key: Arc::new(key), svid };
        self.shown.send_replace(Some(shown));
        Ok(())
    }
}

fn shown(svid: &avouch_words::svid::x509::X509Svid, key: &NodeMadeKey) -> Result<Identity, Failed> {
    Identity::new(svid.chain().to_vec(), key.pkcs8().expose()).map_err(|error| Failed::Inadmissible(error.to_string()))
}

/// Clocks may be turned and machines suspended: look at the time again at least this often.
const LOOK: Duration = Duration::from_secs(10);
