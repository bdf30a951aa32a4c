//! With which identity a source is entered: the brokered one of the caller's instance, signed anew when a source asks.

use std::sync::Arc;

use avouch_policy::Caller;
use avouch_sources::{Doing, Entrant, SourceFault, Who};
use avouch_words::Secret;
use tokio::sync::watch;

use crate::identity::IdentityKey;
use crate::identity::jwt::JwtSvids;
use crate::state::NodeState;

/// Makes whoever enters a source.
pub trait Entrances: Send + Sync {
    /// On behalf of this caller.
    fn of(&self, caller: &Caller) -> Arc<dyn Entrant>;
}

/// Entrances with identities that the issuer signs.
pub struct Brokered {
    jwt: Arc<JwtSvids>,
    states: watch::Receiver<Option<Arc<NodeState>>>,
}

impl Brokered {
    /// Signed by way of these.
    pub fn new(jwt: Arc<JwtSvids>, states: watch::Receiver<Option<Arc<NodeState>>>) -> Self {
        Self { jwt, states }
    }
}

impl Entrances for Brokered {
    fn of(&self, caller: &Caller) -> Arc<dyn Entrant> {
        let whose = IdentityKey { agent: caller.agent.clone(), instance: caller.instance };
        let who = Who::Agent { agent: whose.agent.clone(), instance: whose.instance };
        Arc::new(OfAgent { jwt: Arc::clone(&self.jwt), states: self.states.clone(), whose, who })
    }
}

struct OfAgent {
    jwt: Arc<JwtSvids>,
    states: watch::Receiver<Option<Arc<NodeState>>>,
    whose: IdentityKey,
    who: Who,
}

impl Entrant for OfAgent {
    fn who(&self) -> &Who {
        &self.who
    }

    fn jwt<'a>(&'a self, audience: &'a str) -> Doing<'a, Secret> {
        Box::pin(async move {
            let state = self.states.borrow().clone().ok_or(SourceFault::NoIdentity)?;
            let token = self.jwt.fetch_brokered(&self.whose, audience, &state.bundle).await;
            token.map(|token| Secret::new(token.compact().expose().to_vec())).map_err(|fault| {
                tracing::warn!(agent = %self.whose.agent, %fault, "broker.entrance.jwt");
                SourceFault::NoIdentity
            })
        })
    }
}
