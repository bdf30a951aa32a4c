//! With which identity a source is entered: the brokered one of the caller's instance or of the node, signed by the
//! issuer.

use std::sync::Arc;

use avouch_policy::Caller;
use avouch_sources::{Credentials509, Doing, Entrant, SourceFault, Who};
use avouch_words::{Bundle, Secret};
use tokio::sync::watch;

use crate::identity::IdentityKey;
use crate::identity::brokered::{Bearer, BrokeredSvids};
use crate::state::NodeState;

/// Makes whoever enters a source.
pub trait Entrances: Send + Sync {
    /// On behalf of this caller.
    fn of(&self, caller: &Caller) -> Arc<dyn Entrant>;
    /// As the node itself, to give back what is owed.
    fn node(&self) -> Arc<dyn Entrant>;
}

/// Entrances with identities that the issuer signs.
pub struct Brokered {
    svids: Arc<BrokeredSvids>,
    states: watch::Receiver<Option<Arc<NodeState>>>,
}

impl Brokered {
    /// Signed by way of these.
    pub fn new(svids: Arc<BrokeredSvids>, states: watch::Receiver<Option<Arc<NodeState>>>) -> Self {
        Self { svids, states }
    }

    /// On behalf of this instance.
    pub fn instance(&self, whose: &IdentityKey) -> Arc<dyn Entrant> {
        let who = Who::Agent { agent: whose.agent.clone(), instance: whose.instance };
        self.as_bearer(Bearer::Agent(whose.clone()), who)
    }

    /// With an identity that nothing was granted to, by the role of this instance: to try a source with.
    pub fn probe(&self, whose: &IdentityKey) -> Arc<dyn Entrant> {
        let who = Who::Agent { agent: whose.agent.clone(), instance: whose.instance };
        self.as_bearer(Bearer::Probe, who)
    }

    fn as_bearer(&self, bearer: Bearer, who: Who) -> Arc<dyn Entrant> {
        Arc::new(AsBearer { svids: Arc::clone(&self.svids), states: self.states.clone(), bearer, who })
    }
}

impl Entrances for Brokered {
    fn of(&self, caller: &Caller) -> Arc<dyn Entrant> {
        self.instance(&IdentityKey { agent: caller.agent.clone(), instance: caller.instance })
    }

    fn node(&self) -> Arc<dyn Entrant> {
        self.as_bearer(Bearer::Node, Who::Node)
    }
}

struct AsBearer {
    svids: Arc<BrokeredSvids>,
    states: watch::Receiver<Option<Arc<NodeState>>>,
    bearer: Bearer,
    who: Who,
}

impl AsBearer {
    fn bundle(&self) -> Result<Arc<Bundle>, SourceFault> {
        let state = self.states.borrow();
        state.as_ref().map(|state| Arc::clone(&state.bundle)).ok_or(SourceFault::NoIdentity)
    }
}

impl Entrant for AsBearer {
    fn who(&self) -> &Who {
        &self.who
    }

    fn jwt<'a>(&'a self, audience: &'a str) -> Doing<'a, Secret> {
        Box::pin(async move {
            let bundle = self.bundle()?;
            self.svids.jwt(&self.bearer, audience, &bundle).await.map_err(|fault| {
                tracing::warn!(bearer = ?self.bearer, %fault, "broker.entrance.jwt");
                SourceFault::NoIdentity
            })
        })
    }

    fn x509(&self) -> Doing<'_, Credentials509> {
        Box::pin(async move {
            let bundle = self.bundle()?;
            self.svids.x509(&self.bearer, &bundle).await.map_err(|fault| {
                tracing::warn!(bearer = ?self.bearer, %fault, "broker.entrance.x509");
                SourceFault::NoIdentity
            })
        })
    }
}
