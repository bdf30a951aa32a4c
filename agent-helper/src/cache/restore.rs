//! What a helper that was started again may go on with.

use super::codec::{self, KeptIdentity};
use super::{Cache, KeptAge, Kind};
use crate::attest::Attestor;
use crate::freshness::Freshness;
use crate::identity::instance::{Instances, Running};
use crate::identity::key::NodeMadeKey;
use crate::identity::{Desk, HeldSvid, validate};
use crate::state::NodeState;
use avouch_wire::Message;
use avouch_wire::issuer as wire;
use avouch_words::{Clock, TrustDomain};
use std::sync::Arc;

/// All or nothing: identities without the state that they were entitled by, or a state without its age, are not used.
pub struct Restored {
    /// The state applied last.
    pub state: Arc<NodeState>,
    /// How old it is.
    pub age: KeptAge,
    /// Identities that are good still, of processes that live still.
    pub identities: Vec<(Running, HeldSvid)>,
}

impl Restored {
    /// Reads it, if there is anything to go on with in this trust domain. What there is no use for is wiped.
    pub fn load(cache: &Cache, trust_domain: &TrustDomain, clock: &dyn Clock) -> Option<Self> {
        let restored = Self::read(cache, trust_domain, clock);
        if restored.is_none() {
            cache.forget();
        }
        restored
    }

    /// Goes on with it. Nothing is injected before the issuer has confirmed the state, or sent a newer one.
    pub fn begin(self, freshness: &Freshness, attestor: &Attestor, instances: &Instances, desk: &mut Desk) {
        freshness.set_bound(self.state.staleness_bound);
        freshness.restore(self.age);
        attestor.want_digests(self.state.wants_digests());
        let mut held = Vec::with_capacity(self.identities.len());
        for (running, svid) in self.identities {
            held.push((running.whose.clone(), svid));
            instances.restore(running);
        }
        desk.restore(self.state.entitled(), self.state.bundle.clone(), held);
    }

    fn read(cache: &Cache, trust_domain: &TrustDomain, clock: &dyn Clock) -> Option<Self> {
        let (state, age) = (cache.read(Kind::State)?, cache.read(Kind::Age)?);
        let state = wire::State::decode(state.expose()).ok()?;
        let state = Arc::new(NodeState::read(state).ok()?);
        let age = KeptAge::read(age.expose())?;
        if &state.bundle.trust_domain != trust_domain || state.epoch != age.epoch {
            return None;
        }
        let kept =
            cache.read(Kind::Identities).map_or(Some(Vec::new()), |kept| codec::read_identities(kept.expose()))?;
        let all = kept.len();
        let identities: Vec<_> = kept.into_iter().filter_map(|one| admit(one, &state, clock)).collect();
        tracing::info!(
            version = state.version,
            identities = identities.len(),
            dropped = all - identities.len(),
            "cache.load"
        );
        Some(Self { state, age, identities })
    }
}

/// The agent may still be served, one of its processes is there still, and the SVID is what was checked when it came.
fn admit(kept: KeptIdentity, state: &NodeState, clock: &dyn Clock) -> Option<(Running, HeldSvid)> {
    let KeptIdentity { mut running, chain, key } = kept;
    running.processes.retain(|process| process.lives(running.uid));
    if running.processes.is_empty() || !state.is_entitled(&running.whose.agent) {
        return None;
    }
    let key = NodeMadeKey::from_pkcs8(&key).ok()?;
    let id = state.id_of(&running.whose)?;
    let held = validate::admit(&id, &chain, &key, &state.bundle, clock.now()).ok()?;
    Some((running, held))
}
