use super::*;
use crate::attest::Attestor;
use crate::identity::Identities;
use crate::identity::instance::Instances;
use crate::identity::jwt::JwtSvids;
use crate::limit::UidLimit;
use crate::peer::connections;
use crate::session::Sessions;
use crate::state::NodeState;
use crate::testing::{Mood, Notes, TestAuthority};
use avouch_wire::issuer::State;
use avouch_wire::unix;
use avouch_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use avouch_wire::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use avouch_words::svid::x509::X509Svid;
use avouch_words::{Bundles, Clock, SystemClock};
use rustls_pki_types::CertificateDer;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Server};
use tower::ServiceExt;

/// Streams that one user may have here.
const OPEN: usize = 6;

struct Rig {
    authority: Arc<TestAuthority>,
    identities: Identities,
    states: watch::Sender<Option<Arc<NodeState>>>,
    notes: Arc<Notes>,
    channel: Channel,
    _directory: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

async fn rig_with(limit: UidLimit) -> Rig {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let authority = TestAuthority::new(clock.clone());
    let (ended, _) = mpsc::channel(16);
    let (identities, desk) = Identities::new(authority.clone(), clock.clone(), ended);
    let stop = CancellationToken::new();
    tokio::spawn(desk.run(stop.clone()));
    let states = watch::Sender::new(None);
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots");
    unix::roots::create(&roots).unwrap();
    let (notes, journal) = Notes::new();
    let desk = Desk {
        states: states.subscribe(),
        identities: identities.clone(),
        jwt: Arc::new(JwtSvids::new(authority.clone(), clock.clone())),
        instances: Arc::new(Instances::default()),
        attestor: Arc::new(Attestor::new(Arc::new(Sessions::default()), roots)),
        journal,
        clock,
    };
    let path = directory.path().join("workload.sock");
    let listener = unix::listen(&path, 0o666).unwrap();
    let service = SpiffeWorkloadApiServer::new(Workload::new(Arc::new(desk), Slots::new(2 * OPEN, OPEN)));
    let server = Server::builder().layer(Gate::new(Arc::new(limit))).add_service(service);
    tokio::spawn(server.serve_with_incoming(connections(listener)));
    let channel = unix::dial(&path).await.unwrap();
    Rig { authority, identities, states, notes, channel, _directory: directory, _stop: stop.drop_guard() }
}

async fn rig() -> Rig {
    rig_with(UidLimit::new(CALLS_PER_SECOND, CALLS_AT_ONCE, Arc::new(SystemClock))).await
}

impl Rig {
    /// As `sync` does it: who may have what first, then what is seen.
    async fn apply(&self, state: State) {
        let state = Arc::new(NodeState::read(state).unwrap());
        self.identities.entitle(state.entitled(), state.bundle.clone()).await;
        self.states.send_replace(Some(state));
    }

    async fn honest() -> Self {
        let rig = rig().await;
        rig.apply(rig.authority.state(1)).await;
        rig
    }

    fn client(&self) -> SpiffeWorkloadApiClient<Channel> {
        SpiffeWorkloadApiClient::new(self.channel.clone())
    }

    async fn x509(&self) -> Result<tonic::Streaming<api::X509svidResponse>, Code> {
        let answer = self.client().fetch_x509svid(with_header(api::X509svidRequest {})).await;
        answer.map(Response::into_inner).map_err(|status| status.code())
    }

    async fn jwt(&self, audience: &[&str], spiffe_id: &str) -> Result<api::JwtsvidResponse, Code> {
        let audience = audience.iter().map(|text| (*text).to_owned()).collect();
        let request = api::JwtsvidRequest { audience, spiffe_id: spiffe_id.to_owned() };
        let answer = self.client().fetch_jwtsvid(with_header(request)).await;
        answer.map(Response::into_inner).map_err(|status| status.code())
    }

    async fn validate(&self, audience: &str, svid: &str) -> Result<api::ValidateJwtsvidResponse, Code> {
        let request = api::ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() };
        let answer = self.client().validate_jwtsvid(with_header(request)).await;
        answer.map(Response::into_inner).map_err(|status| status.code())
    }

    /// The status of a bare call with these headers.
    async fn status_of(&self, method: &str, headers: &[&str]) -> i32 {
        use tonic::codegen::http::Request;
        let mut request = Request::post(format!("http://localhost/SpiffeWorkloadAPI/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for value in headers {
            request = request.header("workload.spiffe.io", *value);
        }
        let response = self.channel.clone().oneshot(request.body(tonic::body::Body::empty()).unwrap()).await.unwrap();
        response.headers().get("grpc-status").map_or(-1, |status| status.to_str().unwrap().parse().unwrap())
    }
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

fn nobody(authority: &TestAuthority, version: u64) -> State {
    let mut state = authority.state(version);
    state.agents[0].selectors = vec!["unix:uid:4294967294".to_owned()];
    state
}

#[tokio::test]
async fn every_call_needs_the_header_before_anything_else() {
    let rig = rig().await;
    let methods = ["FetchX509SVID", "FetchX509Bundles", "FetchJWTSVID", "FetchJWTBundles", "ValidateJWTSVID", "Nope"];
    for method in methods {
        for headers in [&[][..], &["false"], &["True"], &["TRUE"], &["1"], &[""], &["true", "true"], &["true,true"]] {
            assert_eq!(rig.status_of(method, headers).await, 3, "{method} {headers:?}");
        }
    }
    assert_eq!(rig.status_of("Nope", &["true"]).await, 12);
    // Without a state it is not ready, and that comes after the header.
    assert_eq!(rig.x509().await.err(), Some(Code::Unavailable));
}

#[tokio::test]
async fn not_ready_is_unavailable_and_not_entitled_is_denied() {
    let rig = rig().await;
    assert_eq!(rig.x509().await.err(), Some(Code::Unavailable));
    assert_eq!(rig.jwt(&["a"], "").await.err(), Some(Code::Unavailable));
    rig.apply(nobody(&rig.authority, 1)).await;
    assert_eq!(rig.x509().await.err(), Some(Code::PermissionDenied));
    assert_eq!(rig.jwt(&["a"], "").await.err(), Some(Code::PermissionDenied));
    let bundles = rig.client().fetch_x509_bundles(with_header(api::X509BundlesRequest {})).await;
    assert_eq!(bundles.err().map(|status| status.code()), Some(Code::PermissionDenied));
    let bundles = rig.client().fetch_jwt_bundles(with_header(api::JwtBundlesRequest {})).await;
    assert_eq!(bundles.err().map(|status| status.code()), Some(Code::PermissionDenied));
    rig.authority.set(Mood::Silent);
    rig.apply(rig.authority.state(2)).await;
    assert_eq!(rig.x509().await.err(), Some(Code::Unavailable), "entitled, and the issuer is away");
}

#[tokio::test]
async fn an_x509_svid_is_whole_and_verifies_with_its_own_bundle() {
    let rig = Rig::honest().await;
    let message = rig.x509().await.unwrap().message().await.unwrap().unwrap();
    let [svid] = &message.svids[..] else { panic!("one identity") };
    assert_eq!(svid.spiffe_id, "spiffe://example.test/agent/researcher");
    let chain = [CertificateDer::from(svid.x509_svid.clone())];
    let verified =
        X509Svid::verify(&chain, &Bundles::from((*rig.authority.bundle()).clone()), SystemClock.now()).unwrap();
    let key = crate::identity::key::NodeMadeKey::from_pkcs8(&avouch_words::Secret::new(svid.x509_svid_key.clone()));
    assert_eq!(verified.public_key(), key.unwrap().public_key_info());
    assert_eq!(svid.bundle, rig.authority.bundle().x509[0].0.to_vec());
    assert!(message.federated_bundles.is_empty() && message.crl.is_empty());
}

#[tokio::test]
async fn a_stream_tells_each_change_once_and_ends_when_entitlement_does() {
    let rig = Rig::honest().await;
    let mut stream = rig.x509().await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().svids.len(), 1);
    // A version without anything new for this caller.
    rig.apply(rig.authority.state(2)).await;
    let silent = tokio::time::timeout(Duration::from_millis(200), stream.message()).await;
    assert!(silent.is_err(), "no change, no message");
    let mut both = rig.authority.state(3);
    both.agents.push(avouch_wire::issuer::Agent { name: "second".to_owned(), ..both.agents[0].clone() });
    rig.apply(both).await;
    let ids = |message: api::X509svidResponse| message.svids.into_iter().map(|s| s.spiffe_id).collect::<Vec<_>>();
    let expected = ["spiffe://example.test/agent/researcher", "spiffe://example.test/agent/second"];
    assert_eq!(ids(stream.message().await.unwrap().unwrap()), expected, "the whole, in stable order");
    let mut locked = crate::state::tests::locked(4);
    locked.agents.clone_from(&rig.authority.state(4).agents);
    locked.x509_authorities.clone_from(&rig.authority.state(4).x509_authorities);
    rig.apply(locked).await;
    let cut = tokio::time::timeout(Duration::from_secs(4), stream.message()).await.expect("cut in time");
    assert_eq!(cut.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(rig.x509().await.err(), Some(Code::PermissionDenied));
}

#[tokio::test]
async fn bundles_are_streamed_and_follow_their_changes() {
    let rig = Rig::honest().await;
    let mut x509 = rig.client().fetch_x509_bundles(with_header(api::X509BundlesRequest {})).await.unwrap().into_inner();
    let mut jwt = rig.client().fetch_jwt_bundles(with_header(api::JwtBundlesRequest {})).await.unwrap().into_inner();
    let first = x509.message().await.unwrap().unwrap();
    assert_eq!(first.bundles["spiffe://example.test"], rig.authority.bundle().x509[0].0.to_vec());
    let jwks = jwt.message().await.unwrap().unwrap();
    let jwks: serde_json::Value = serde_json::from_slice(&jwks.bundles["spiffe://example.test"]).unwrap();
    assert_eq!(jwks["keys"][0]["use"], "jwt-svid");
    let mut two = rig.authority.state(2);
    let other = TestAuthority::new(Arc::new(SystemClock));
    two.x509_authorities.push(other.bundle().x509[0].0.to_vec());
    rig.apply(two).await;
    let both = x509.message().await.unwrap().unwrap();
    assert!(both.bundles["spiffe://example.test"].len() > first.bundles["spiffe://example.test"].len());
    let silent = tokio::time::timeout(Duration::from_millis(200), jwt.message()).await;
    assert!(silent.is_err(), "the JWT authorities are the same");
}

#[tokio::test]
async fn a_jwt_svid_is_for_the_audiences_asked_and_validates() {
    let rig = Rig::honest().await;
    let answer = rig.jwt(&["me", "you"], "").await.unwrap();
    let [svid] = &answer.svids[..] else { panic!("one identity") };
    assert_eq!(svid.spiffe_id, "spiffe://example.test/agent/researcher");
    let valid = rig.validate("you", &svid.svid).await.unwrap();
    assert_eq!(valid.spiffe_id, svid.spiffe_id);
    let claims = valid.claims.unwrap().fields;
    assert!(["sub", "aud", "exp"].iter().all(|claim| claims.contains_key(*claim)));
    assert_eq!(rig.validate("other", &svid.svid).await.err(), Some(Code::InvalidArgument));
    let named = rig.jwt(&["me"], "spiffe://example.test/agent/researcher").await.unwrap();
    assert_eq!(named.svids.len(), 1);
}

#[tokio::test]
async fn bad_jwt_requests_are_told_apart_from_forbidden_ones() {
    let rig = Rig::honest().await;
    let long = "x".repeat(fetch_jwt_svid::LONGEST_AUDIENCE + 1);
    let many = vec!["a"; fetch_jwt_svid::MOST_AUDIENCES + 1];
    for audience in [&[][..], &[""], &["a", ""], &[long.as_str()], &many] {
        assert_eq!(rig.jwt(audience, "").await.err(), Some(Code::InvalidArgument), "{audience:?}");
    }
    assert_eq!(rig.jwt(&["a"], "spiffe://example.test/a?x").await.err(), Some(Code::InvalidArgument));
    for id in ["spiffe://example.test/agent/intruder", "spiffe://other.test/agent/researcher"] {
        assert_eq!(rig.jwt(&["a"], id).await.err(), Some(Code::PermissionDenied), "{id}");
    }
    for (audience, svid) in [("", "x"), ("x", "")] {
        assert_eq!(rig.validate(audience, svid).await.err(), Some(Code::InvalidArgument));
    }
}

#[tokio::test]
async fn a_reserved_audience_is_refused_alone_and_among_others_and_recorded() {
    let rig = Rig::honest().await;
    let reserved = "https://vault.example.test";
    for audience in [&[reserved][..], &["a", reserved], &[reserved, "a"]] {
        assert_eq!(rig.jwt(audience, "").await.err(), Some(Code::PermissionDenied), "{audience:?}");
    }
    assert_eq!(rig.notes.codes(), ["svid.reserved_audience_refused"; 3]);
    assert_eq!(rig.authority.asked.load(std::sync::atomic::Ordering::SeqCst), 0, "the issuer was not asked");
    for other in ["https://vault.example.test/", "https://VAULT.example.test", "vault.example.test"] {
        assert!(rig.jwt(&[other], "").await.is_ok(), "exact match only: {other}");
    }
}

#[tokio::test]
async fn a_brokered_token_is_nobody_as_a_peer() {
    let rig = Rig::honest().await;
    let audience = ["me".to_owned()];
    let plain = rig.authority.token("spiffe://example.test/agent/researcher", &audience, 300);
    assert!(rig.validate("me", &plain).await.is_ok());
    let brokered = rig.authority.token("spiffe://example.test/brokered/agent/researcher", &audience, 300);
    assert_eq!(rig.validate("me", &brokered).await.err(), Some(Code::InvalidArgument));
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_slow_down() {
    let rig = rig_with(UidLimit::new(1, 3, Arc::new(SystemClock))).await;
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(rig.status_of("Nope", &["true"]).await);
    }
    assert_eq!((codes[..3].to_vec(), codes[4]), (vec![12, 12, 12], 8));
    assert_eq!(rig.status_of("Nope", &[]).await, 3, "the header comes first, and costs nothing");
}

/// Not a test of its own: a process that opens a stream, leaves the connection to another one, and waits to be killed.
#[tokio::test]
async fn in_the_place_of_a_workload() {
    let Ok(path) = std::env::var("TEST_WORKLOAD_SOCKET") else { return };
    let channel = unix::dial(std::path::Path::new(&path)).await.unwrap();
    let mut client = SpiffeWorkloadApiClient::new(channel);
    let mut stream = client.fetch_x509svid(with_header(api::X509svidRequest {})).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).unwrap();
    let mut handed = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")) {
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            let flags = rustix::process::PidfdGetfdFlags::empty();
            let copy = rustix::process::pidfd_getfd(&own, number, flags).unwrap();
            rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
            handed.push(copy);
        }
    }
    let mut holder = std::process::Command::new("sleep").arg("97.0423").spawn().unwrap();
    println!("holder:{}", holder.id());
    holder.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_process_that_has_exited_ends_though_another_holds_its_connection() {
    use std::io::BufRead;
    use std::process::{Command, Stdio};
    let rig = Rig::honest().await;
    let before = rig.states.receiver_count();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "workload::tests::in_the_place_of_a_workload", "--nocapture"])
        .env("TEST_WORKLOAD_SOCKET", rig._directory.path().join("workload.sock"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let holder = lines.find_map(|line| line.split_once("holder:")?.1.trim().parse::<i32>().ok()).unwrap();
    assert_eq!(rig.states.receiver_count(), before + 1, "its stream is open");
    child.kill().unwrap();
    child.wait().unwrap();
    let ended = async {
        while rig.states.receiver_count() > before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(4), ended).await;
    rustix::process::kill_process(rustix::process::Pid::from_raw(holder).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    ended.expect("the stream ends with its process");
}

/// F24: it costs them, not others; a stream that is dropped leaves its place.
#[tokio::test]
async fn streams_that_nobody_reads_run_out_of_places() {
    let rig = Rig::honest().await;
    let mut open = Vec::new();
    for _ in 0..OPEN {
        open.push(rig.x509().await.unwrap());
    }
    assert_eq!(rig.x509().await.err(), Some(Code::ResourceExhausted));
    let bundles = rig.client().fetch_x509_bundles(with_header(api::X509BundlesRequest {})).await;
    assert_eq!(bundles.map(drop).map_err(|status| status.code()), Err(Code::ResourceExhausted));
    assert!(rig.jwt(&["somebody"], "").await.is_ok(), "one answer is no stream");
    open.pop();
    let freed = async {
        while rig.x509().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.unwrap();
}

/// W2: a process that is two agents, as WAX-01, WAC-14 and WAC-17 want it told.
#[tokio::test]
async fn a_process_that_is_several_agents_gets_all_of_them_in_order_and_each_hint_once() {
    let rig = rig().await;
    let mut state = rig.authority.state(1);
    state.agents[0].hint = "search".to_owned();
    for (name, hint) in [("archivist", "search"), ("writer", "write"), ("extra", "")] {
        let other =
            avouch_wire::issuer::Agent { name: name.to_owned(), hint: hint.to_owned(), ..state.agents[0].clone() };
        state.agents.push(other);
    }
    rig.apply(state.clone()).await;
    let mut stream = rig.x509().await.unwrap();
    let said = |message: &api::X509svidResponse| -> Vec<(String, String)> {
        let short = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
        message.svids.iter().map(|svid| (short(&svid.spiffe_id), svid.hint.clone())).collect()
    };
    let expected = [("archivist", "search"), ("extra", ""), ("researcher", ""), ("writer", "write")];
    let expected = expected.map(|(name, hint)| (name.to_owned(), hint.to_owned()));
    assert_eq!(said(&stream.message().await.unwrap().unwrap()), expected, "a hint that stands twice is the first's");

    state.version = 2;
    state.agents[2].hint = "compose".to_owned();
    rig.apply(state).await;
    let next = said(&stream.message().await.unwrap().unwrap());
    assert_eq!(next[3], ("writer".to_owned(), "compose".to_owned()), "a new hint is told on the open stream");

    let all = rig.jwt(&["x"], "").await.unwrap();
    assert_eq!(all.svids.len(), 4);
    let chosen = rig.jwt(&["x"], "spiffe://example.test/agent/writer").await.unwrap();
    assert_eq!((chosen.svids.len(), chosen.svids[0].hint.as_str()), (1, "compose"));
    assert!(rig.jwt(&["x"], "spiffe://example.test/agent/nobody").await.is_err());
}
