//! Brokered SVIDs: what this node's broker shows to sources, and nobody else ever sees. Tokens are signed anew each
//! time; certificates are kept with their keys in wiped memory for half their life at most.

use super::IdentityKey;
use super::jwt::NoToken;
use super::key::NodeMadeKey;
use super::schedule;
use crate::ids;
use crate::issuer::AskFault;
use avouch_sources::Credentials509;
use avouch_words::svid::jwt::JwtSvid;
use avouch_words::svid::x509::X509Svid;
use avouch_words::{Bundle, Bundles, Clock, Millis, Name, Secret, SpiffeId};
use futures_util::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whose brokered identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bearer {
    /// An instance of an agent.
    Agent(IdentityKey),
    /// This node.
    Node,
    /// A name that is no agent's, another one each time.
    Probe,
}

/// Where brokered SVIDs are signed: the issuer, or in tests something that can be made to lie.
pub trait SignBrokered: Send + Sync + 'static {
    /// This instance has begun, and may enter sources before it asks for a document of its own.
    fn begin(&self, whose: IdentityKey) -> BoxFuture<'static, Result<(), AskFault>>;
    /// A JWT-SVID for one source's audience.
    fn sign_brokered(&self, bearer: Bearer, audience: String) -> BoxFuture<'static, Result<String, AskFault>>;
    /// An X.509-SVID for the key of this PKCS#10 request.
    fn sign_brokered_x509(
        &self,
        bearer: Bearer,
        csr: Vec<u8>,
    ) -> BoxFuture<'static, Result<Vec<CertificateDer<'static>>, AskFault>>;
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCertificate {
    /// The issuer.
    #[error(transparent)]
    Asked(#[from] AskFault),
    /// What it sent is not what was asked for.
    #[error("the issuer sent a certificate that is not the one asked for")]
    Inadmissible,
    /// The system gave no randomness.
    #[error("no key could be made")]
    NoKey,
}

/// Fetches brokered SVIDs.
pub struct BrokeredSvids {
    signer: Arc<dyn SignBrokered>,
    node: SpiffeId,
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<Bearer, Kept>>,
    /// Instances that the issuer knows of.
    begun: Mutex<HashSet<IdentityKey>>,
}

struct Kept {
    held: Credentials509,
    until: Millis,
}

impl BrokeredSvids {
    /// For this node.
    pub fn new(signer: Arc<dyn SignBrokered>, node: SpiffeId, clock: Arc<dyn Clock>) -> Self {
        Self { signer, node, clock, kept: Mutex::default(), begun: Mutex::default() }
    }

    /// A token for a source's audience, never kept.
    pub async fn jwt(&self, bearer: &Bearer, audience: &str, bundle: &Bundle) -> Result<Secret, NoToken> {
        self.begin(bearer).await?;
        let compact = self.signer.sign_brokered(bearer.clone(), audience.to_owned()).await?;
        let compact = Secret::new(compact.into_bytes());
        let text = std::str::from_utf8(compact.expose()).map_err(|_| NoToken::Inadmissible)?;
        let (bundles, now) = (Bundles::from(bundle.clone()), self.clock.now());
        let svid = JwtSvid::parse_and_verify_brokered(text, &[audience], &bundles, now, Duration::ZERO);
        let svid = svid.map_err(|error| {
            tracing::warn!(%error, "the issuer sent a brokered token that does not verify");
            NoToken::Inadmissible
        })?;
        let fits = self.is_of(svid.id(), bearer, bundle) && svid.audience() == [audience];
        if fits { Ok(compact) } else { Err(NoToken::Inadmissible) }
    }

    /// A certificate with its key, which is made here. That of a probe is never kept.
    pub async fn x509(&self, bearer: &Bearer, bundle: &Bundle) -> Result<Credentials509, NoCertificate> {
        let now = self.clock.now();
        if let Some(kept) = self.sweep(now).get(bearer) {
            return Ok(kept.held.clone());
        }
        self.begin(bearer).await?;
        let key = NodeMadeKey::generate().map_err(|_| NoCertificate::NoKey)?;
        let csr = key.csr().map_err(|_| NoCertificate::NoKey)?;
        let chain = self.signer.sign_brokered_x509(bearer.clone(), csr).await?;
        let svid = X509Svid::verify_brokered(&chain, &Bundles::from(bundle.clone()), now).map_err(|error| {
            tracing::warn!(%error, "the issuer sent a brokered certificate that does not verify");
            NoCertificate::Inadmissible
        })?;
        if !self.is_of(svid.id(), bearer, bundle) || svid.public_key() != key.public_key_info() {
            return Err(NoCertificate::Inadmissible);
        }
        let chain = chain.iter().map(|der| der.to_vec()).collect();
        let held = Credentials509 { chain, key: Arc::new(key.pkcs8()) };
        let mut kept = self.sweep(now);
        if *bearer != Bearer::Probe && kept.len() < MOST_KEPT {
            let until = schedule::renewal(now, svid.not_after(), ids::share());
            kept.insert(bearer.clone(), Kept { held: held.clone(), until });
        }
        Ok(held)
    }

    /// Forgets what agents have that may not have any more.
    pub fn forget_others(&self, entitled: impl Fn(&Name) -> bool) {
        self.sweep(self.clock.now()).retain(|bearer, _| match bearer {
            Bearer::Agent(whose) => entitled(&whose.agent),
            Bearer::Node | Bearer::Probe => true,
        });
        self.begun().retain(|whose| entitled(&whose.agent));
    }

    /// Forgets what an instance had that has ended.
    pub fn forget(&self, ended: &IdentityKey) {
        self.sweep(self.clock.now()).remove(&Bearer::Agent(ended.clone()));
        self.begun().remove(ended);
    }

    /// Whoever runs under `avouch run` and never asks who it is has to live at the issuer too.
    async fn begin(&self, bearer: &Bearer) -> Result<(), AskFault> {
        let Bearer::Agent(whose) = bearer else { return Ok(()) };
        if !self.begun().contains(whose) {
            self.signer.begin(whose.clone()).await?;
            self.begun().insert(whose.clone());
        }
        Ok(())
    }

    fn begun(&self) -> MutexGuard<'_, HashSet<IdentityKey>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is still kept; what is too old is wiped.
    fn sweep(&self, now: Millis) -> MutexGuard<'_, HashMap<Bearer, Kept>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| now < kept.until);
        kept
    }

    fn is_of(&self, id: &SpiffeId, bearer: &Bearer, bundle: &Bundle) -> bool {
        let domain = &bundle.trust_domain;
        match bearer {
            Bearer::Agent(whose) => *id == domain.brokered_agent(&whose.agent),
            Bearer::Node => {
                let name = self.node.path().rsplit('/').next().and_then(|name| Name::parse(name).ok());
                name.is_some_and(|name| *id == domain.brokered_node(&name))
            }
            Bearer::Probe => id.is_member_of(domain) && id.path().starts_with(PROBE_PATH),
        }
    }
}

/// How the paths of names begin that are no agent's.
const PROBE_PATH: &str = "/brokered/agent/avouch-probe-";
/// Certificates kept at most; one more is fetched each time it is asked for.
const MOST_KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HandClock, Mood, TestAuthority, name};
    use avouch_words::Ulid;
    use std::sync::atomic::Ordering;

    const VAULT: &str = "https://vault.example.test";

    struct Rig {
        svids: BrokeredSvids,
        authority: Arc<TestAuthority>,
        clock: Arc<HandClock>,
        agent: Bearer,
    }

    fn whose() -> IdentityKey {
        IdentityKey { agent: name("researcher"), instance: Ulid::new(Millis(1), [1; 10]) }
    }

    fn rig() -> Rig {
        let clock = HandClock::new();
        let authority = TestAuthority::new(clock.clone());
        let node = SpiffeId::parse("spiffe://example.test/node/join_token/laptop").unwrap();
        let svids = BrokeredSvids::new(authority.clone(), node, clock.clone());
        Rig { svids, authority, clock, agent: Bearer::Agent(whose()) }
    }

    impl Rig {
        fn asked(&self) -> usize {
            self.authority.asked.load(Ordering::SeqCst)
        }

        async fn x509(&self, bearer: &Bearer) -> Result<Credentials509, NoCertificate> {
            self.svids.x509(bearer, &self.authority.bundle()).await
        }
    }

    #[tokio::test]
    async fn brokered_documents_are_the_bearers_own_and_nothing_else() {
        let rig = rig();
        for bearer in [rig.agent.clone(), Bearer::Node, Bearer::Probe] {
            rig.svids.jwt(&bearer, VAULT, &rig.authority.bundle()).await.unwrap();
            rig.x509(&bearer).await.unwrap();
        }
        rig.svids.forget(&whose());
        rig.authority.set(Mood::OtherAgent);
        for bearer in [rig.agent.clone(), Bearer::Probe] {
            let plain = rig.svids.jwt(&bearer, VAULT, &rig.authority.bundle()).await.err();
            assert_eq!(plain, Some(NoToken::Inadmissible), "an agent's own identity opens no source");
            assert_eq!(rig.x509(&bearer).await.err(), Some(NoCertificate::Inadmissible));
        }
        rig.authority.set(Mood::OtherKey);
        assert_eq!(rig.x509(&rig.agent).await.err(), Some(NoCertificate::Inadmissible), "of a key that is not ours");
    }

    #[tokio::test]
    async fn a_certificate_is_kept_for_half_its_life_and_a_probes_not_at_all() {
        let rig = rig();
        *rig.authority.life.lock().unwrap() = Duration::from_secs(300);
        let first = rig.x509(&rig.agent).await.unwrap();
        rig.clock.forward(Duration::from_secs(100));
        assert!(Arc::ptr_eq(&first.key, &rig.x509(&rig.agent).await.unwrap().key));
        rig.clock.forward(Duration::from_secs(51));
        let key = Arc::downgrade(&first.key);
        drop(first);
        rig.x509(&Bearer::Node).await.unwrap();
        assert!(key.upgrade().is_none(), "what is too old is wiped when anything is asked for");
        let before = rig.asked();
        rig.x509(&Bearer::Probe).await.unwrap();
        rig.x509(&Bearer::Probe).await.unwrap();
        assert_eq!(rig.asked(), before + 2);
    }

    #[tokio::test]
    async fn what_is_withdrawn_or_ended_is_not_kept() {
        let rig = rig();
        rig.x509(&rig.agent).await.unwrap();
        rig.x509(&Bearer::Node).await.unwrap();
        rig.svids.forget_others(|_| false);
        rig.x509(&rig.agent).await.unwrap();
        rig.svids.forget(&whose());
        rig.x509(&rig.agent).await.unwrap();
        rig.x509(&Bearer::Node).await.unwrap();
        assert_eq!(rig.asked(), 4, "the node's own stays");
    }
}
