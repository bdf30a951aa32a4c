use super::config::LiveBundles;
use super::listen::{LIMITS, Limits, incoming_within};
use super::*;
use avouch_words::{Bundle, Bundles, Clock, Digest, Millis, SpiffeId, TrustDomain, X509Authority};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;

const NOW: i64 = 1_800_000_000;
const NODE: &str = "spiffe://tester.test/node/join_token/laptop";
const ISSUER: &str = "spiffe://tester.test/issuer";

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed) * 1000)
    }

    fn boot(&self) -> Duration {
        Duration::ZERO
    }
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicI64::new(NOW)))
}

fn domain() -> TrustDomain {
    TrustDomain::parse("tester.test").unwrap()
}

struct Ca {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
}

impl Ca {
    fn new() -> Self {
        let (mut params, key) = (params("spiffe://tester.test", 24), KeyPair::generate().unwrap());
        params.distinguished_name.push(DnType::CommonName, "root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages.clear();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    /// An identity of an hour, with the root last in its chain.
    fn identity(&self, id: &str) -> Identity {
        let (leaf, key) = self.leaf(id);
        Identity::new(vec![leaf, self.der.clone()], &key.serialize_der()).unwrap()
    }

    fn leaf(&self, id: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        (params(id, 1).signed_by(&key, &issuer).unwrap().der().clone(), key)
    }

    fn bundles(&self) -> Arc<Bundles> {
        let x509 = vec![X509Authority(self.der.clone())];
        Arc::new(Bundle { trust_domain: domain(), x509, jwt: Vec::new() }.into())
    }
}

fn params(id: &str, hours: i64) -> CertificateParams {
    let at = |hours: i64| OffsetDateTime::from_unix_timestamp(NOW + hours * 3600).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (at(-hours), at(hours));
    params
}

/// A server that greets; who connected comes out of the channel.
struct Server {
    address: SocketAddr,
    peers: mpsc::UnboundedReceiver<TlsPeer>,
    identity: watch::Sender<Option<Identity>>,
    bundles: watch::Sender<Arc<Bundles>>,
    clock: Arc<TestClock>,
}

impl Server {
    async fn new(ca: &Ca) -> Self {
        Self::within(ca, LIMITS).await
    }

    async fn within(ca: &Ca, limits: Limits) -> Self {
        let (identity, live_identity) = watch::channel(Some(ca.identity(ISSUER)));
        let (bundles, live_bundles) = watch::channel(ca.bundles());
        let clock = clock();
        let rule = PeerRule::nodes_of(domain());
        let tls = ServerTls::new(live_identity, live_bundles, rule, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, peers) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut incoming = std::pin::pin!(incoming_within(listener, tls, limits));
            while let Some(Ok(mut stream)) = incoming.next().await {
                let _ = seen.send(tonic::transport::server::Connected::connect_info(&stream));
                tokio::spawn(async move {
                    let _ = stream.write_all(b"hi").await;
                    let _ = stream.read(&mut [0; 1]).await;
                });
            }
        });
        Self { address, peers, identity, bundles, clock }
    }

    /// Connects and reads the greeting: with TLS 1.3 a client learns only then that it was refused.
    async fn greet(&self, config: &Arc<ClientConfig>) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("issuer.invalid").unwrap();
        let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
        stream.read_exact(&mut [0; 2]).await?;
        Ok(stream)
    }
}

fn fixed<T: Send + Sync + 'static>(value: T) -> watch::Receiver<T> {
    watch::channel(value).1
}

fn client(identity: Option<Identity>, bundles: Arc<Bundles>, server: &str) -> Arc<ClientConfig> {
    client_config(fixed(identity), fixed(bundles), SpiffeId::parse(server).unwrap(), clock()).unwrap()
}

#[tokio::test]
async fn a_node_and_the_issuer_know_each_other() {
    let ca = Ca::new();
    let mut server = Server::new(&ca).await;
    server.greet(&client(Some(ca.identity(NODE)), ca.bundles(), ISSUER)).await.unwrap();
    let peer = server.peers.recv().await.unwrap();
    let svid = peer.svid(server.clock.now()).unwrap();
    assert_eq!(svid.id().as_str(), NODE);
    assert!(!svid.serial().is_empty());
    assert!(peer.svid(Millis((NOW + 3600) * 1000)).is_some());
    assert!(peer.svid(Millis((NOW + 3601) * 1000)).is_none(), "a connection outlives its certificate");
}

#[tokio::test]
async fn without_a_certificate_there_is_no_identity() {
    let ca = Ca::new();
    let mut server = Server::new(&ca).await;
    server.greet(&client(None, ca.bundles(), ISSUER)).await.unwrap();
    assert!(server.peers.recv().await.unwrap().svid(server.clock.now()).is_none());
}

#[tokio::test]
async fn clients_that_are_no_node_of_this_trust_domain_are_refused() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = Server::new(&ca).await;
    let refused = [
        ("an agent", ca.identity("spiffe://tester.test/agent/a")),
        ("the issuer", ca.identity(ISSUER)),
        ("brokered", ca.identity("spiffe://tester.test/brokered/node/x")),
        ("a path that only begins so", ca.identity("spiffe://tester.test/nodes/x")),
        ("another trust domain", ca.identity("spiffe://other.test/node/join_token/laptop")),
        ("another authority", other.identity(NODE)),
        ("the authority itself", Identity::new(vec![ca.der.clone()], &ca.key.serialize_der()).unwrap()),
    ];
    for (name, identity) in refused {
        let result = server.greet(&client(Some(identity), ca.bundles(), ISSUER)).await;
        assert!(result.is_err(), "{name}");
    }
    server.greet(&client(Some(ca.identity(NODE)), ca.bundles(), ISSUER)).await.unwrap();
    server.clock.0.store(NOW + 3601, Ordering::Relaxed);
    let late = client(Some(ca.identity(NODE)), ca.bundles(), ISSUER);
    assert!(server.greet(&late).await.is_err(), "expired");
}

#[tokio::test]
async fn a_server_that_is_not_the_expected_one_is_refused() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = Server::new(&ca).await;
    let error = server.greet(&client(None, ca.bundles(), "spiffe://tester.test/issuer2")).await.unwrap_err();
    assert!(error.to_string().contains(ISSUER), "{error}");
    assert!(server.greet(&client(None, other.bundles(), ISSUER)).await.is_err());
    assert!(server.greet(&client(None, Arc::default(), ISSUER)).await.is_err());
    assert!(server.greet(&client(None, ca.bundles(), ISSUER)).await.is_ok());
    server.identity.send_replace(None);
    assert!(server.greet(&client(None, ca.bundles(), ISSUER)).await.is_err(), "no identity, no handshake");
}

#[tokio::test]
async fn rotation_is_followed_without_a_new_configuration() {
    let (old, new) = (Ca::new(), Ca::new());
    let server = Server::new(&old).await;
    let (bundle, live): (_, LiveBundles) = watch::channel(old.bundles());
    let (identity, live_identity) = watch::channel(Some(old.identity(NODE)));
    let config = client_config(live_identity, live, SpiffeId::parse(ISSUER).unwrap(), clock()).unwrap();
    server.greet(&config).await.unwrap();
    server.identity.send_replace(Some(new.identity(ISSUER)));
    assert!(server.greet(&config).await.is_err());
    bundle.send_replace(new.bundles());
    server.greet(&config).await.unwrap();
    identity.send_replace(Some(new.identity(NODE)));
    assert!(server.greet(&config).await.is_err());
    server.bundles.send_replace(new.bundles());
    server.greet(&config).await.unwrap();
}

/// N13.
#[tokio::test]
async fn first_contact_is_pinned() {
    let (ca, evil) = (Ca::new(), Ca::new());
    let server = Server::new(&ca).await;
    let first = |pin: &Ca, td: &str| {
        first_contact_config(Digest::of(&[&pin.der]), TrustDomain::parse(td).unwrap(), clock()).unwrap()
    };
    let (config, pinned) = first(&ca, "tester.test");
    assert_eq!(pinned.authority(), None);
    server.greet(&config).await.unwrap();
    server.greet(&config).await.unwrap();
    assert_eq!(pinned.authority(), Some(&X509Authority(ca.der.clone())));
    for (pin, td) in [(&evil, "tester.test"), (&ca, "other.test")] {
        let (config, pinned) = first(pin, td);
        assert!(server.greet(&config).await.is_err());
        assert_eq!(pinned.authority(), None);
    }
    // The pinned root is public: sending it along proves nothing.
    let (leaf, key) = evil.leaf(ISSUER);
    server.identity.send_replace(Some(Identity::new(vec![leaf, ca.der.clone()], &key.serialize_der()).unwrap()));
    let (config, pinned) = first(&ca, "tester.test");
    assert!(server.greet(&config).await.is_err(), "another's leaf before the pinned root");
    let (leaf, key) = ca.leaf(ISSUER);
    server.identity.send_replace(Some(Identity::new(vec![leaf], &key.serialize_der()).unwrap()));
    assert!(server.greet(&config).await.is_err(), "no root");
    server.identity.send_replace(Some(ca.identity(NODE)));
    assert!(server.greet(&config).await.is_err(), "a node under the right root");
    let itself = Identity::new(vec![ca.der.clone()], &ca.key.serialize_der()).unwrap();
    server.identity.send_replace(Some(itself));
    assert!(server.greet(&config).await.is_err(), "the root itself");
    assert_eq!(pinned.authority(), None);
}

/// S06: a client that wants to resume gets no ticket and has to show everything again.
#[tokio::test]
async fn nothing_is_resumed() {
    let ca = Ca::new();
    let server = Server::new(&ca).await;
    let mut config = (*client(Some(ca.identity(NODE)), ca.bundles(), ISSUER)).clone();
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..3 {
        let stream = server.greet(&config).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
        assert!(!session.is_early_data_accepted());
    }
}

/// N18.
#[tokio::test]
async fn an_older_protocol_is_refused() {
    let ca = Ca::new();
    let server = Server::new(&ca).await;
    let roots = {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der.clone()).unwrap();
        roots
    };
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let error = server.greet(&Arc::new(config)).await.err().unwrap();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

/// N01, and that the many who do not finish leave the others alone.
#[tokio::test]
async fn handshakes_that_do_not_finish_are_ended() {
    let ca = Ca::new();
    let limits = Limits { handshake: Duration::from_millis(200), anonymous: 2, ..LIMITS };
    let server = Server::within(&ca, limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let second = TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let node = client(Some(ca.identity(NODE)), ca.bundles(), ISSUER);
    assert!(server.greet(&node).await.is_err(), "full");
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed at the deadline");
    drop(second);
    server.greet(&node).await.unwrap();
}

#[tokio::test]
async fn connections_without_a_certificate_have_a_cap_and_an_end_of_their_own() {
    let ca = Ca::new();
    let limits = Limits { anonymous: 1, anonymous_life: Duration::from_millis(300), ..LIMITS };
    let server = Server::within(&ca, limits).await;
    let (anonymous, node) = (client(None, ca.bundles(), ISSUER), client(Some(ca.identity(NODE)), ca.bundles(), ISSUER));
    let kept = server.greet(&node).await.unwrap();
    let mut first = server.greet(&anonymous).await.unwrap();
    assert!(server.greet(&anonymous).await.is_err(), "one over the cap");
    let end = tokio::time::timeout(Duration::from_secs(5), first.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "ended");
    server.greet(&anonymous).await.unwrap();
    drop(kept);
}

#[tokio::test]
async fn a_refused_server_is_told_by_its_reason() {
    let ca = Ca::new();
    let server = Server::new(&ca).await;
    let pin = Digest::of(&[b"another"]);
    let (config, _) = first_contact_config(pin, domain(), clock()).unwrap();
    let error = dial(&server.address.to_string(), config).await.unwrap_err();
    assert!(matches!(&error, DialError::NotExpected { reason, .. } if reason.contains("join token pins")), "{error}");
    let error = dial("127.0.0.1:1", client(None, ca.bundles(), ISSUER)).await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");
}

#[test]
fn a_key_that_is_not_the_leafs_makes_no_identity() {
    let ca = Ca::new();
    let (leaf, key) = ca.leaf(NODE);
    let other = KeyPair::generate().unwrap();
    assert!(Identity::new(vec![leaf.clone()], &key.serialize_der()).is_ok());
    assert!(matches!(Identity::new(vec![leaf.clone()], &other.serialize_der()), Err(BadIdentity::Key(_))));
    assert!(matches!(Identity::new(vec![leaf], b"nonsense"), Err(BadIdentity::Key(_))));
    assert_eq!(Identity::new(Vec::new(), &key.serialize_der()).err(), Some(BadIdentity::Empty));
    assert_eq!(format!("{:?}", ca.identity(NODE)), "Identity");
}

#[test]
fn no_rule_allows_a_brokered_identity_or_another_trust_domain() {
    let anybody = PeerRule::new(TrustDomain::parse("example.test").unwrap(), |_| true);
    let allows = |text: &str| anybody.allows(&SpiffeId::parse(text).unwrap());
    assert!(allows("spiffe://example.test/agent/researcher"));
    assert!(!allows("spiffe://example.test/brokered/agent/researcher"));
    assert!(!allows("spiffe://other.test/agent/researcher"));
}
