//! What a new state means for what is served and what is open: done before the state counts as applied.

use crate::attest::Attestor;
use crate::broker::Broker;
use crate::identity::brokered::BrokeredSvids;
use crate::identity::instance::Instances;
use crate::identity::jwt::JwtSvids;
use crate::identity::{Identities, IdentityKey};
use crate::journal::Journal;
use crate::node_files::NodeFiles;
use crate::state::NodeState;
use crate::sync::Enforce;
use avouch_audit::record::HelperEvent;
use avouch_policy::{LockTarget, PolicyState};
use avouch_words::{Bundles, Name, Ulid};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// Everybody who has to know.
pub struct Enforcer {
    /// Knows what has to be found out about processes.
    pub attestor: Arc<Attestor>,
    /// Forgets X.509 identities.
    pub identities: Identities,
    /// Forgets tokens.
    pub jwt: Arc<JwtSvids>,
    /// Forgets what sources are entered with.
    pub brokered: Arc<BrokeredSvids>,
    /// Ends instances.
    pub instances: Arc<Instances>,
    /// Where ended instances go.
    pub ended: mpsc::Sender<IdentityKey>,
    /// Whom the issuer and peers are verified with.
    pub bundles: watch::Sender<Arc<Bundles>>,
    /// Where the authorities are kept for the next start.
    pub files: NodeFiles,
    /// What decisions read.
    pub policy: watch::Sender<Arc<PolicyState>>,
    /// Cuts calls.
    pub broker: Arc<Broker>,
    /// Where locks are recorded.
    pub journal: Journal,
    /// The locks that were in force before.
    pub locks: Mutex<BTreeMap<Ulid, Vec<Name>>>,
}

impl Enforce for Enforcer {
    fn withdraw<'a>(&'a self, now: &'a NodeState) -> BoxFuture<'a, ()> {
        async move {
            let bundles = Arc::new(Bundles::from((*now.bundle).clone()));
            if *self.bundles.borrow() != bundles {
                self.bundles.send_replace(bundles);
                if let Err(error) = self.files.put_bundle(&now.bundle) {
                    tracing::error!(%error, "node.bundle.not_stored");
                }
            }
            self.attestor.want_digests(now.wants_digests());
            let entitled = now.entitled();
            self.jwt.forget_others(|agent| entitled.contains_key(agent));
            self.brokered.forget_others(|agent| entitled.contains_key(agent));
            for whose in self.instances.end_others(|agent| entitled.contains_key(agent)) {
                if self.ended.try_send(whose).is_err() {
                    tracing::warn!("an ended instance could not be reported; it ends with this node");
                }
            }
            self.identities.entitle(entitled, now.bundle.clone()).await;
        }
        .boxed()
    }

    fn cut<'a>(&'a self, now: &'a NodeState) -> BoxFuture<'a, ()> {
        async move {
            self.policy.send_replace(now.policy.clone());
            let cut = u32::try_from(self.broker.apply(&now.policy)).unwrap_or(u32::MAX);
            self.record(now, cut);
        }
        .boxed()
    }
}

impl Enforcer {
    /// Locks that came and locks that went. Only agents of this node are spoken of.
    fn record(&self, now: &NodeState, cut: u32) {
        let stopped = |target: &LockTarget| match target {
            LockTarget::Agent(agent) => now.agents.keys().filter(|name| *name == agent).cloned().collect::<Vec<_>>(),
            LockTarget::Everything => now.agents.keys().cloned().collect(),
        };
        let held: BTreeMap<_, _> = now.policy.locks().iter().map(|lock| (lock.id, stopped(&lock.target))).collect();
        let before = std::mem::replace(&mut *self.locks.lock().unwrap_or_else(PoisonError::into_inner), held.clone());
        let version = now.version.into();
        for (lock, agents) in held.iter().filter(|(lock, _)| !before.contains_key(lock)) {
            for agent in agents {
                self.journal.note(HelperEvent::LockApplied { agent: agent.clone(), lock: *lock, version, cut });
            }
        }
        for (lock, agents) in before.iter().filter(|(lock, _)| !held.contains_key(lock)) {
            for agent in agents.iter().filter(|agent| now.agents.contains_key(*agent)) {
                self.journal.note(HelperEvent::LockLifted { agent: agent.clone(), lock: *lock, version });
            }
        }
    }
}
