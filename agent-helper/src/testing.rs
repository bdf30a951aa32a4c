//! What the tests of this crate share.

use crate::broker::{Entrances, Ledger, Recording};
use crate::identity::brokered::{Bearer, SignBrokered};
use crate::identity::jwt::SignJwt;
use crate::identity::{Answer, IdentityKey, Order, SignX509, Unreachable};
use crate::issuer::AskFault;
use crate::journal::Journal;
use crate::leases::{self, Leases};
use avouch_audit::record::HelperEvent;
use avouch_policy::Caller;
use avouch_sources::{Credentials509, Doing, Entrant, Source, SourceFault, Who};
use avouch_wire::issuer as wire;
use avouch_words::{Bundle, Clock, JwtAuthority, Millis, Name, Secret, TrustDomain, X509Authority};
use futures_util::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A clock that is turned by hand.
pub struct HandClock(Mutex<(Millis, Duration)>);

impl HandClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Millis(1_800_000_000_000), Duration::from_secs(1000)))))
    }

    pub fn forward(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        now.0 = now.0.plus(by);
        now.1 += by;
    }
}

impl Clock for HandClock {
    fn now(&self) -> Millis {
        self.0.lock().unwrap().0
    }

    fn boot(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

/// A clock that goes with tokio's, which tests pause: a day passes in milliseconds.
pub struct TimerClock(tokio::time::Instant);

impl TimerClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for TimerClock {
    fn now(&self) -> Millis {
        Millis(1_800_000_000_000).plus(self.0.elapsed())
    }

    fn boot(&self) -> Duration {
        Duration::from_secs(1000) + self.0.elapsed()
    }
}

/// An issuer's keys without the issuer, with a say in what goes wrong.
pub struct TestAuthority {
    authority: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: CertificateDer<'static>,
    jwt_key: ring::signature::EcdsaKeyPair,
    clock: Arc<dyn Clock>,
    pub life: Mutex<Duration>,
    pub mood: Mutex<Mood>,
    pub asked: AtomicUsize,
}

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Honest,
    Silent,
    Refusing,
    /// Signs for `intruder`, whoever asks.
    OtherAgent,
    /// Signs for a key of its own.
    OtherKey,
    /// Answers for one order less than was asked.
    Short,
}

impl TestAuthority {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose, SanType};
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        params.subject_alt_names = vec![SanType::URI("spiffe://example.test".try_into().unwrap())];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = moment(&*clock, -3600);
        params.not_after = moment(&*clock, 365 * 86_400);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let random = ring::rand::SystemRandom::new();
        let algorithm = &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let jwt = ring::signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Arc::new(Self {
            authority: rcgen::Issuer::new(params, key),
            certificate,
            jwt_key: ring::signature::EcdsaKeyPair::from_pkcs8(algorithm, jwt.as_ref(), &random).unwrap(),
            clock,
            life: Mutex::new(Duration::from_secs(900)),
            mood: Mutex::new(Mood::Honest),
            asked: AtomicUsize::new(0),
        })
    }

    pub fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn bundle(&self) -> Arc<Bundle> {
        let domain = TrustDomain::parse("example.test").unwrap();
        let jwt = vec![JwtAuthority { kid: "k1".to_owned(), public_key: self.jwt_spki() }];
        Arc::new(Bundle { trust_domain: domain, x509: vec![X509Authority(self.certificate.clone())], jwt })
    }

    /// A readable state in which `researcher` is any process of this user.
    pub fn state(&self, version: u64) -> wire::State {
        let uid = rustix::process::geteuid().as_raw();
        let mut state = crate::state::tests::plain(version);
        state.agents[0].selectors = vec![format!("unix:uid:{uid}")];
        state.x509_authorities = vec![self.certificate.to_vec()];
        state.jwt_authorities = vec![wire::JwtAuthority { kid: "k1".to_owned(), public_key: self.jwt_spki() }];
        state.reserved_audiences = vec!["https://vault.example.test".to_owned()];
        state
    }

    pub fn leaf(&self, id: &str, csr: &[u8]) -> Vec<CertificateDer<'static>> {
        use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
        let csr = rustls_pki_types::CertificateSigningRequestDer::from(csr);
        let mut request = CertificateSigningRequestParams::from_der(&csr).unwrap();
        let params = &mut request.params;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !id.contains("/brokered/") {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.not_before = moment(&*self.clock, -600);
        params.not_after = moment(&*self.clock, i64::try_from(self.life.lock().unwrap().as_secs()).unwrap());
        vec![request.signed_by(&self.authority).unwrap().der().clone()]
    }

    pub fn token(&self, id: &str, audience: &[String], life: i64) -> String {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD as B64, Engine};
        let now = self.clock.now().seconds();
        let claims = serde_json::json!({"sub": id, "aud": audience, "exp": now + life, "iat": now});
        let head = serde_json::json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
        let signed = format!("{}.{}", B64.encode(head.to_string()), B64.encode(claims.to_string()));
        let signature = self.jwt_key.sign(&ring::rand::SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", B64.encode(signature))
    }

    fn jwt_spki(&self) -> Vec<u8> {
        use ring::signature::KeyPair;
        let head = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        [&head[..], self.jwt_key.public_key().as_ref()].concat()
    }
}

impl SignX509 for TestAuthority {
    fn sign_x509(&self, orders: Vec<Order>) -> BoxFuture<'static, Result<Vec<Answer>, Unreachable>> {
        self.asked.fetch_add(orders.len(), Ordering::SeqCst);
        let mood = self.mood();
        let mut answers: Vec<_> = orders
            .iter()
            .map(|order| match mood {
                Mood::Refusing => Answer::Refused("denied".to_owned()),
                Mood::OtherAgent => Answer::Issued(self.leaf("spiffe://example.test/agent/intruder", &order.csr)),
                Mood::OtherKey => {
                    let csr = crate::identity::key::NodeMadeKey::generate().unwrap().csr().unwrap();
                    Answer::Issued(self.leaf(&format!("spiffe://example.test/agent/{}", order.whose.agent), &csr))
                }
                Mood::Honest | Mood::Silent | Mood::Short => {
                    Answer::Issued(self.leaf(&format!("spiffe://example.test/agent/{}", order.whose.agent), &order.csr))
                }
            })
            .collect();
        if mood == Mood::Short {
            answers.pop();
        }
        Box::pin(async move { if mood == Mood::Silent { Err(Unreachable) } else { Ok(answers) } })
    }
}

impl SignJwt for TestAuthority {
    fn sign_jwt(&self, whose: IdentityKey, audience: Vec<String>) -> BoxFuture<'static, Result<String, AskFault>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let agent = if self.mood() == Mood::OtherAgent { "intruder".to_owned() } else { whose.agent.to_string() };
        let token = self.token(&format!("spiffe://example.test/agent/{agent}"), &audience, 300);
        let answer = match self.mood() {
            Mood::Silent => Err(AskFault::Unreachable),
            Mood::Refusing => Err(AskFault::Refused),
            _ => Ok(token),
        };
        Box::pin(async move { answer })
    }
}

impl TestAuthority {
    fn brokered_id(&self, bearer: &Bearer) -> String {
        let path = match bearer {
            _ if self.mood() == Mood::OtherAgent => "agent/researcher".to_owned(),
            Bearer::Agent(whose) => format!("brokered/agent/{}", whose.agent),
            Bearer::Node => "brokered/node/laptop".to_owned(),
            Bearer::Probe => "brokered/agent/avouch-probe-1".to_owned(),
        };
        format!("spiffe://example.test/{path}")
    }
}

impl SignBrokered for TestAuthority {
    fn begin(&self, _: IdentityKey) -> BoxFuture<'static, Result<(), AskFault>> {
        Box::pin(async { Ok(()) })
    }

    fn sign_brokered(&self, bearer: Bearer, audience: String) -> BoxFuture<'static, Result<String, AskFault>> {
        let token = self.token(&self.brokered_id(&bearer), &[audience], 300);
        Box::pin(async move { Ok(token) })
    }

    fn sign_brokered_x509(
        &self,
        bearer: Bearer,
        csr: Vec<u8>,
    ) -> BoxFuture<'static, Result<Vec<CertificateDer<'static>>, AskFault>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let own = crate::identity::key::NodeMadeKey::generate().unwrap().csr().unwrap();
        let chain = self.leaf(&self.brokered_id(&bearer), if self.mood() == Mood::OtherKey { &own } else { &csr });
        Box::pin(async move { Ok(chain) })
    }
}

/// For sources that nobody has to enter.
pub struct NoEntrance;

impl Entrances for NoEntrance {
    fn of(&self, _: &Caller) -> Arc<dyn Entrant> {
        Arc::new(Self)
    }

    fn node(&self) -> Arc<dyn Entrant> {
        Arc::new(Self)
    }
}

impl Entrant for NoEntrance {
    fn who(&self) -> &Who {
        &Who::Node
    }

    fn jwt<'a>(&'a self, _: &'a str) -> Doing<'a, Secret> {
        Box::pin(async { Err(SourceFault::NoIdentity) })
    }

    fn x509(&self) -> Doing<'_, Credentials509> {
        Box::pin(async { Err(SourceFault::NoIdentity) })
    }
}

/// Leases of these sources in this file, for agents that may do anything.
pub fn leases(file: &Path, sources: Vec<Arc<dyn Source>>) -> Arc<Leases> {
    let parts = leases::Parts {
        sources,
        node: Arc::new(NoEntrance),
        policy: tokio::sync::watch::channel(Arc::default()).1,
        is_live: Box::new(|_| true),
        records: Notes::new().1,
        clock: Arc::new(avouch_words::SystemClock),
    };
    Leases::open(file, parts).unwrap()
}

/// Keeps records in memory.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<HelperEvent>>);

impl Notes {
    pub fn new() -> (Arc<Self>, Journal) {
        let notes = Arc::new(Self::default());
        (notes.clone(), Journal::new(notes))
    }

    pub fn codes(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(HelperEvent::code).collect()
    }
}

impl Ledger for Notes {
    fn durable(&self, event: HelperEvent) -> Recording<'_> {
        self.behind(event);
        Box::pin(async { Ok(()) })
    }

    fn behind(&self, event: HelperEvent) {
        self.0.lock().unwrap().push(event);
    }
}

fn moment(clock: &dyn Clock, later: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(clock.now().seconds() + later).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}
