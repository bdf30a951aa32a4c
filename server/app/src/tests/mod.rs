//! The issuer from outside: over real TLS and real sockets, in a directory of its own.

mod apply;
mod audit;
mod enrol;
mod input;
mod nodes;
mod operator;
mod public;
mod sign;
mod start;
mod sync;
mod why;

use crate::Issuer;
use crate::testing::TestClock;
use avouch_attest_node::join_token::JoinToken;
use avouch_config::{Paths, ServerConfig};
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::issuer::enrolment_client::EnrolmentClient;
use avouch_wire::issuer::node_client::NodeClient;
use avouch_wire::tls::{Identity, client_config, dial, first_contact_config};
use avouch_wire::{Message as _, admin, issuer, unix};
use avouch_words::{Bundle, Bundles, Clock, Secret, SpiffeId, TrustDomain, Ulid, X509Authority};
use rcgen::{CertificateParams, KeyPair};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

/// A running issuer.
struct Running {
    dir: TempDir,
    clock: Arc<TestClock>,
    address: SocketAddr,
    admin_socket: PathBuf,
    public: Option<SocketAddr>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), crate::RunError>>,
}

/// A node that joined.
struct TestNode {
    key: KeyPair,
    svid: issuer::NodeSvid,
}

fn trust_domain() -> TrustDomain {
    TrustDomain::parse("example.test").unwrap()
}

fn config(dir: &TempDir) -> ServerConfig {
    let mut config = ServerConfig::new(trust_domain(), &Paths::below(dir.path()));
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.reserved_audiences = vec!["https://vault.test".to_owned()];
    config
}

impl Running {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), Arc::default(), change).await
    }

    async fn start_in(dir: TempDir, clock: Arc<TestClock>, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = config(&dir);
        change(&mut config);
        let issuer = Issuer::build(config, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        let (address, admin_socket) = (issuer.address(), issuer.admin_socket().to_owned());
        let public = issuer.public_address();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(issuer.run(shutdown.clone()));
        Self { dir, clock, address, admin_socket, public, shutdown, task }
    }

    /// Ends it in order; the directory stays.
    async fn stop(self) -> (TempDir, Arc<TestClock>) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        (self.dir, self.clock)
    }

    async fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(unix::dial(&self.admin_socket).await.unwrap())
    }

    async fn token(&self, node: &str, ttl_seconds: u32) -> JoinToken {
        let request = admin::CreateTokenRequest { node: node.to_owned(), ttl_seconds };
        let reply = self.admin().await.create_token(request).await.unwrap().into_inner();
        JoinToken::parse(&Secret::new(reply.token.into_bytes())).unwrap()
    }

    async fn enrolment(&self, token: &JoinToken) -> EnrolmentClient<Channel> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let (config, _) = first_contact_config(token.pin(), token.trust_domain().clone(), clock).unwrap();
        EnrolmentClient::new(dial(&self.address.to_string(), config).await.unwrap())
    }

    fn enrol_request(&self, token: &JoinToken, key: &KeyPair) -> issuer::EnrolRequest {
        issuer::EnrolRequest {
            attestor: "join_token".to_owned(),
            evidence: token.evidence().expose().to_vec(),
            csr: csr(key),
            trust_domain: "example.test".to_owned(),
            helper_time_ms: self.clock.now().0,
        }
    }

    async fn enrol(&self, token: &JoinToken, key: &KeyPair) -> Result<issuer::NodeSvid, Status> {
        let request = self.enrol_request(token, key);
        self.enrolment(token).await.enrol(request).await.map(tonic::Response::into_inner)
    }

    async fn join(&self, name: &str) -> TestNode {
        let token = self.token(name, 0).await;
        let key = KeyPair::generate().unwrap();
        let svid = self.enrol(&token, &key).await.unwrap();
        TestNode { key, svid }
    }

    async fn node(&self, node: &TestNode) -> NodeClient<Channel> {
        self.node_as(Some((&node.svid.chain, &node.key)), &node.svid.bundle).await.unwrap()
    }

    /// A node client that shows any identity, or none.
    async fn node_as(
        &self,
        identity: Option<(&[Vec<u8>], &KeyPair)>,
        bundle: &[Vec<u8>],
    ) -> Result<NodeClient<Channel>, avouch_wire::tls::DialError> {
        let identity = identity.map(|(chain, key)| {
            let chain = chain.iter().map(|der| der.clone().into()).collect();
            Identity::new(chain, &key.serialize_der()).unwrap()
        });
        let x509 = bundle.iter().map(|der| X509Authority(der.clone().into())).collect();
        let bundle = Bundle { trust_domain: trust_domain(), x509, jwt: Vec::new() };
        let (_identity, identity) = watch::channel(identity);
        let (_bundles, bundles) = watch::channel(Arc::new(Bundles::from(bundle)));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let config = client_config(identity, bundles, trust_domain().issuer(), clock).unwrap();
        dial(&self.address.to_string(), config).await.map(NodeClient::new)
    }

    async fn agent(&self, name: &str, node: &str) -> admin::Agent {
        let request = admin::CreateAgentRequest {
            name: name.to_owned(),
            owner: "me@example.test".to_owned(),
            nodes: vec![format!("node:name:{node}")],
            selectors: vec!["unix:uid:1000".to_owned()],
            ..Default::default()
        };
        self.admin().await.create_agent(request).await.unwrap().into_inner()
    }

    /// Sets a lock and returns its progress, all of it.
    async fn lock(&self, agent: &str) -> Vec<admin::lock_progress::Kind> {
        let request = admin::CreateLockRequest { agent: agent.to_owned(), reason: "test".to_owned(), ttl_seconds: 0 };
        let mut progress = self.admin().await.create_lock(request).await.unwrap().into_inner();
        let mut told = Vec::new();
        while let Some(step) = progress.message().await.unwrap() {
            told.push(step.kind.unwrap());
        }
        told
    }
}

fn csr(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

fn instance(n: u8) -> String {
    Ulid::new(avouch_words::Millis(1_700_000_000_000), [n; 10]).to_string()
}

fn order(agent: &str, n: u8, key: &KeyPair) -> issuer::X509Order {
    issuer::X509Order { agent: agent.to_owned(), instance: instance(n), csr: csr(key) }
}

async fn sign_one(
    node: &mut NodeClient<Channel>,
    order: issuer::X509Order,
) -> Result<issuer::IssuedX509, issuer::Refusal> {
    use issuer::x509_answer::Kind;
    let reply = node.sign_x509(issuer::SignX509Request { orders: vec![order] }).await.unwrap().into_inner();
    match reply.answers.into_iter().next().unwrap().kind.unwrap() {
        Kind::Issued(issued) => Ok(issued),
        Kind::Refusal(refusal) => Err(refusal),
    }
}

/// The stable code of a refusal.
#[track_caller]
fn word<T: std::fmt::Debug>(reply: Result<T, Status>) -> String {
    let status = reply.unwrap_err();
    let refusal = issuer::Refusal::decode(status.details()).unwrap();
    assert!(!refusal.message.is_empty() && !refusal.action.is_empty() && Ulid::parse(&refusal.decision_id).is_ok());
    refusal.code
}

/// The codes of all events in the log, in order.
async fn events(running: &Running) -> Vec<&'static str> {
    audit::export(running).await.iter().filter_map(audit::code).collect()
}

fn uri_of(der: &[u8]) -> SpiffeId {
    use x509_names::uri_names;
    let names = uri_names(der);
    assert_eq!(names.len(), 1, "{names:?}");
    SpiffeId::parse(&names[0]).unwrap()
}

/// URI and DNS names of a certificate, read by the reader that rcgen brings.
mod x509_names {
    use avouch_words::svid::x509::X509Svid;
    use avouch_words::{Bundles, Millis};

    /// The one identity of a chain that verifies.
    pub(super) fn verified(chain: &[Vec<u8>], bundles: &Bundles, now: Millis) -> X509Svid {
        let chain: Vec<_> = chain.iter().map(|der| der.as_slice().into()).collect();
        X509Svid::verify(&chain, bundles, now).unwrap()
    }

    /// Every `spiffe://` text in the DER that is a whole URI name.
    pub(super) fn uri_names(der: &[u8]) -> Vec<String> {
        const URI: u8 = 0x86;
        let starts = der.windows(9).enumerate().filter(|(_, bytes)| *bytes == b"spiffe://").map(|(at, _)| at);
        starts
            .filter(|at| *at >= 2 && der[at - 2] == URI)
            .map(|at| String::from_utf8(der[at..at + usize::from(der[at - 1])].to_vec()).unwrap())
            .collect()
    }
}
