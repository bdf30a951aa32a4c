//! What an agent itself can get from the Workload API, as a source must refuse it.

use std::sync::Arc;
use std::time::Duration;

use avouch_sources::{Credentials509, Doing, Entrant, SourceFault, Who};
use avouch_words::{Bundle, Secret, SpiffeId};
use tokio::time::timeout;

use super::Desk;
use crate::identity::jwt::JwtSvids;
use crate::identity::{Identities, Identity, IdentityKey};
use crate::state::NodeState;

/// Enters with the agent's own documents: its X.509-SVID, and a JWT-SVID for the nearest audience that it is given any
/// for, as the source's own is reserved.
pub(super) struct Workload {
    who: Who,
    whose: IdentityKey,
    id: Option<SpiffeId>,
    bundle: Arc<Bundle>,
    jwt: Arc<JwtSvids>,
    identities: Identities,
}

impl Workload {
    pub(super) fn new(desk: &Desk, state: &NodeState, whose: &IdentityKey) -> Self {
        Self {
            who: Who::Agent { agent: whose.agent.clone(), instance: whose.instance },
            whose: whose.clone(),
            id: state.id_of(whose),
            bundle: Arc::clone(&state.bundle),
            jwt: Arc::clone(&desk.sources.jwt),
            identities: desk.sources.identities.clone(),
        }
    }
}

impl Entrant for Workload {
    fn who(&self) -> &Who {
        &self.who
    }

    fn jwt<'a>(&'a self, audience: &'a str) -> Doing<'a, Secret> {
        Box::pin(async move {
            let nearest = format!("{audience}/");
            let id = self.id.as_ref().ok_or(SourceFault::NoIdentity)?;
            let token = self.jwt.fetch(&self.whose, id, &[nearest], &self.bundle).await;
            let token = token.map_err(|_| SourceFault::NoIdentity)?;
            Ok(Secret::new(token.compact().expose().to_vec()))
        })
    }

    fn x509(&self) -> Doing<'_, Credentials509> {
        Box::pin(async move {
            let mut held = self.identities.follow(&self.whose).await.map_err(|_| SourceFault::NoIdentity)?;
            let there = timeout(PATIENCE, held.wait_for(|held| matches!(held, Identity::Ready(_)))).await;
            let there = there.ok().and_then(Result::ok).ok_or(SourceFault::NoIdentity)?;
            let Identity::Ready(svid) = &*there else { return Err(SourceFault::NoIdentity) };
            Ok(Credentials509 {
                chain: svid.svid().chain().iter().map(|der| der.to_vec()).collect(),
                key: Arc::new(Secret::new(svid.key().expose().to_vec())),
            })
        })
    }
}

/// For an SVID that is not held yet.
const PATIENCE: Duration = Duration::from_secs(5);
