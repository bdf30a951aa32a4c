//! The join against an issuer that speaks real TLS and lies in what it says.

use super::*;
use crate::testing::TestAuthority;
use avouch_config::Paths;
use avouch_wire::issuer::enrolment_server::{Enrolment, EnrolmentServer};
use avouch_wire::tls::{Identity, PeerRule, ServerTls};
use avouch_words::{Bundles, SystemClock, TrustDomain};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::{Request, Response};

type Lie = fn(&TestAuthority, &mut NodeSvid, &EnrolRequest);

struct Fake {
    authority: Arc<TestAuthority>,
    lie: Lie,
    /// So many first answers get lost.
    lost: AtomicUsize,
    refuse: Option<&'static str>,
    keys: Arc<Mutex<Vec<Vec<u8>>>>,
}

#[tonic::async_trait]
impl Enrolment for Fake {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<NodeSvid>, Status> {
        let request = request.into_inner();
        self.keys.lock().unwrap().push(request.csr.clone());
        if let Some(code) = self.refuse {
            let refusal = Refusal { code: code.to_owned(), message: "No.".to_owned(), ..Default::default() };
            return Err(Status::with_details(Code::PermissionDenied, "No.", refusal.encode_to_vec().into()));
        }
        if self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Status::unavailable("lost"));
        }
        let id = "spiffe://example.test/node/join_token/laptop";
        let mut answer = NodeSvid {
            spiffe_id: id.to_owned(),
            chain: self.authority.leaf(id, &request.csr).iter().map(|der| der.to_vec()).collect(),
            bundle: self.authority.bundle().x509.iter().map(|authority| authority.0.to_vec()).collect(),
            issuer_time_ms: SystemClock.now().0,
        };
        (self.lie)(&self.authority, &mut answer, &request);
        Ok(Response::new(answer))
    }
}

struct Rig {
    config: HelperConfig,
    files: NodeFiles,
    keys: Arc<Mutex<Vec<Vec<u8>>>>,
    directory: tempfile::TempDir,
}

async fn rig(lie: Lie, lost: usize, refuse: Option<&'static str>) -> Rig {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let authority = TestAuthority::new(clock.clone());
    let domain = TrustDomain::parse("example.test").unwrap();
    let key = NodeMadeKey::generate().unwrap();
    let mut chain = authority.leaf("spiffe://example.test/issuer", &key.csr().unwrap());
    chain.push(authority.bundle().x509[0].0.clone());
    let shown = watch::Sender::new(Some(Identity::new(chain, key.pkcs8().expose()).unwrap()));
    let bundles = watch::Sender::new(Arc::new(Bundles::from((*authority.bundle()).clone())));
    let rule = PeerRule::nodes_of(domain.clone());
    let tls = ServerTls::new(shown.subscribe(), bundles.subscribe(), rule, clock).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pin = authority.bundle().x509[0].digest();
    let keys: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let fake = Fake { authority, lie, lost: AtomicUsize::new(lost), refuse, keys: keys.clone() };
    tokio::spawn(async move {
        let _kept = (shown, bundles);
        Server::builder()
            .add_service(EnrolmentServer::new(fake))
            .serve_with_incoming(tls::incoming(listener, tls))
            .await
    });
    let directory = tempfile::tempdir().unwrap();
    let mut config = HelperConfig::new(domain.clone(), address.to_string(), &Paths::below(directory.path()));
    let rig_files = NodeFiles::in_directory(directory.path());
    config.join_token = Some(write_token(directory.path(), &JoinToken::new([7; 32], pin, domain)));
    Rig { config, files: rig_files, keys, directory }
}

fn write_token(directory: &std::path::Path, token: &JoinToken) -> config::JoinToken {
    let file = directory.join("token");
    std::fs::write(&file, token.text().expose()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    config::JoinToken::File(file)
}

impl Rig {
    async fn join(&self) -> Result<Joined, &'static str> {
        join(&self.config, &self.files, &(Arc::new(SystemClock) as Arc<dyn Clock>)).await.map_err(|error| error.code())
    }

    fn asked(&self) -> usize {
        self.keys.lock().unwrap().len()
    }
}

fn honest(_: &TestAuthority, _: &mut NodeSvid, _: &EnrolRequest) {}

#[tokio::test]
async fn a_node_joins_once_and_later_starts_need_no_issuer() {
    let rig = rig(honest, 0, None).await;
    let joined = rig.join().await.unwrap();
    assert_eq!(joined.identity.svid.id().as_str(), "spiffe://example.test/node/join_token/laptop");
    let mut later = rig;
    later.config.join_token = None;
    later.config.issuers = vec!["127.0.0.1:1".to_owned()];
    assert_eq!(later.join().await.unwrap().identity.svid, joined.identity.svid);
    assert_eq!(later.asked(), 1);
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_same_key() {
    let rig = rig(honest, 2, None).await;
    rig.join().await.unwrap();
    let stored = rig.files.key(Turn::Current).unwrap().unwrap().public_key_info();
    let keys = rig.keys.lock().unwrap();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|csr| csr.windows(stored.len()).any(|part| part == stored)), "one key in all of them");
}

#[tokio::test]
async fn what_the_issuer_lies_about_is_never_stored() {
    let lies: [(Lie, &str); 5] = [
        (
            |authority, answer, asked| {
                answer.spiffe_id = "spiffe://example.test/agent/researcher".to_owned();
                answer.chain = authority.leaf(&answer.spiffe_id, &asked.csr).iter().map(|der| der.to_vec()).collect();
            },
            "wrong_trust_domain",
        ),
        (
            |authority, answer, asked| {
                let other = "spiffe://example.test/node/join_token/other";
                answer.chain = authority.leaf(other, &asked.csr).iter().map(|der| der.to_vec()).collect();
            },
            "internal",
        ),
        (
            |authority, answer, _| {
                let csr = NodeMadeKey::generate().unwrap().csr().unwrap();
                answer.chain = authority.leaf(&answer.spiffe_id, &csr).iter().map(|der| der.to_vec()).collect();
            },
            "internal",
        ),
        (
            |_, answer, _| {
                let other = TestAuthority::new(Arc::new(SystemClock)).bundle();
                answer.bundle = vec![other.x509[0].0.to_vec()];
            },
            "internal",
        ),
        (|_, answer, _| answer.issuer_time_ms -= 31_000, "clock_off"),
    ];
    for (at, (lie, expected)) in lies.into_iter().enumerate() {
        let rig = rig(lie, 0, None).await;
        assert_eq!(rig.join().await.err(), Some(expected), "{at}");
        assert!(!rig.files.has_svid() && rig.files.bundle(&rig.config.trust_domain).unwrap().is_none(), "{at}");
    }
}

#[tokio::test]
async fn each_refusal_of_a_token_fails_the_start_in_its_own_way() {
    for (code, expected) in [
        ("token_expired", "token_expired"),
        ("token_used", "token_refused"),
        ("denied", "token_refused"),
        ("wrong_trust_domain", "wrong_trust_domain"),
        ("clock_off", "clock_off"),
        ("something_new", "issuer_refused"),
    ] {
        let rig = rig(honest, 0, Some(code)).await;
        assert_eq!(rig.join().await.err(), Some(expected));
    }
}

#[tokio::test]
async fn the_token_goes_to_nobody_but_the_issuer_that_it_pins() {
    let mut rig = rig(honest, 0, None).await;
    let domain = TrustDomain::parse("example.test").unwrap();
    let foreign = JoinToken::new([7; 32], avouch_words::Digest::of(&[b"another authority"]), domain);
    rig.config.join_token = Some(write_token(rig.directory.path(), &foreign));
    assert_eq!(rig.join().await.err(), Some("issuer_not_pinned"));
    assert_eq!(rig.asked(), 0, "the secret part was not sent");
    let elsewhere = TrustDomain::parse("other.test").unwrap();
    let token = JoinToken::new([7; 32], avouch_words::Digest::of(&[b"x"]), elsewhere);
    rig.config.join_token = Some(write_token(rig.directory.path(), &token));
    assert_eq!(rig.join().await.err(), Some("wrong_trust_domain"));
    rig.config.join_token = None;
    assert_eq!(rig.join().await.err(), Some("not_joined"));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_not_there_is_waited_for_and_then_told() {
    let directory = tempfile::tempdir().unwrap();
    let domain = TrustDomain::parse("example.test").unwrap();
    let mut config = HelperConfig::new(domain.clone(), "127.0.0.1:1".to_owned(), &Paths::below(directory.path()));
    let token = JoinToken::new([7; 32], avouch_words::Digest::of(&[b"x"]), domain);
    config.join_token = Some(write_token(directory.path(), &token));
    let began = tokio::time::Instant::now();
    let files = NodeFiles::in_directory(directory.path());
    let failed = join(&config, &files, &(Arc::new(SystemClock) as Arc<dyn Clock>)).await.unwrap_err();
    assert_eq!(failed.code(), "issuer_unreachable");
    assert!(began.elapsed() >= PATIENCE);
}

/// Otherwise each start would show the issuer a used token, which tells it that two have it.
#[tokio::test]
async fn a_node_whose_svid_ran_out_waits_for_another_token_and_shows_no_used_one() {
    let rig = rig(honest, 0, None).await;
    rig.join().await.unwrap();
    assert_eq!(rig.asked(), 1);
    std::fs::write(rig.directory.path().join("node.svid.pem"), "").unwrap();
    assert_eq!(rig.join().await.err(), Some("node_svid_expired"));
    assert_eq!(rig.asked(), 1, "the used token is not shown again");
    let config::JoinToken::File(file) = rig.config.join_token.clone().unwrap() else { panic!("a file") };
    let old = read_token(&config::JoinToken::File(file.clone())).unwrap();
    let new = JoinToken::new([8; 32], old.pin(), old.trust_domain().clone());
    std::fs::write(file, new.text().expose()).unwrap();
    assert!(rig.join().await.is_ok(), "a new one is taken");
    assert_eq!(rig.asked(), 2);
}

#[tokio::test]
async fn a_token_that_was_refused_to_a_node_of_before_is_not_shown_again() {
    let rig = rig(honest, 0, Some("token_expired")).await;
    std::fs::write(rig.directory.path().join("node.svid.pem"), "").unwrap();
    assert_eq!(rig.join().await.err(), Some("token_expired"));
    for _ in 0..3 {
        assert_eq!(rig.join().await.err(), Some("node_svid_expired"));
    }
    assert_eq!(rig.asked(), 1);
}

/// All that runs here knows the node by its name.
#[tokio::test]
async fn a_running_node_does_not_become_another() {
    let rig = rig(honest, 0, None).await;
    let other = SpiffeId::parse("spiffe://example.test/node/join_token/other").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let joined = join_anew(&rig.config, &rig.files, &clock, Some(&other)).await;
    assert!(joined.is_err() && !rig.files.has_svid());
    assert!(!has_new_token(&rig.config, &rig.files), "and the token is not tried again");
}
