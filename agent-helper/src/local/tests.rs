mod sources;

use super::*;
use crate::broker::{Brokered, Egress, Parts, PolicyHandle, SystemResolver, Unbound};
use crate::identity::Identities;
use crate::identity::brokered::BrokeredSvids;
use crate::identity::instance::Instances;
use crate::identity::jwt::JwtSvids;
use crate::peer::connections;
use crate::session::Sessions;
use crate::testing::{NoEntrance, Notes, TestAuthority, name};
use avouch_sources::Source;
use avouch_wire::Message;
use avouch_wire::issuer;
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::local::helper_server::HelperServer;
use avouch_wire::unix;
use avouch_words::SystemClock;
use tonic::transport::{Channel, Server};

const BINDING: &[u8] =
    br#"{"to":"https://api.example.test:443","methods":["GET"],"paths":["/repos/**"],"slot":"bearer"}"#;

struct Rig {
    client: HelperClient<Channel>,
    notes: Arc<Notes>,
    sealed: Arc<SealedStore>,
    states: watch::Sender<Option<Arc<NodeState>>>,
    instances: Arc<Instances>,
    authority: Arc<TestAuthority>,
    roots: PathBuf,
    _directory: tempfile::TempDir,
}

async fn rig(operators: &[u32]) -> Rig {
    rig_with(operators, Vec::new()).await
}

async fn rig_with(operators: &[u32], more: Vec<Arc<dyn Source>>) -> Rig {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    unix::roots::create(&at("roots")).unwrap();
    for private in ["state", "keys", "run"] {
        avouch_config::make_private_dir(&at(private)).unwrap();
    }
    let spool = Spool::open(&at("state/spool"), clock.clone(), &ring::rand::SystemRandom::new()).unwrap();
    let sealed = SealedStore::open(name("sealed"), &at("state/sealed"), &at("keys/key"), &at("state")).unwrap();
    let sealed = Arc::new(sealed);
    let freshness = Arc::new(Freshness::default());
    let policy = watch::Sender::new(Arc::default());
    let leases = crate::testing::leases(&at("state/leases"), Vec::new());
    let broker = Broker::start(Parts {
        policy: PolicyHandle { state: policy.subscribe(), fresh: freshness.clone() },
        ledger: Arc::new(spool.clone()),
        sources: vec![sealed.clone()],
        entrances: Arc::new(NoEntrance),
        limits: std::collections::BTreeMap::new(),
        leases: leases.clone(),
        resolver: Arc::new(SystemResolver),
        clock: clock.clone(),
        egress: Egress { contained: Unbound::Deny, uncontained: Unbound::Deny, ports: BTreeSet::new() },
    });
    let (notes, journal) = Notes::new();
    let states = watch::Sender::new(None);
    let authority = TestAuthority::new(clock.clone());
    let node = SpiffeId::parse("spiffe://example.test/node/join_token/laptop").unwrap();
    let svids = Arc::new(BrokeredSvids::new(authority.clone(), node.clone(), clock.clone()));
    let (ended, _) = tokio::sync::mpsc::channel(1);
    let (identities, identity_desk) = Identities::new(authority.clone(), clock.clone(), ended);
    tokio::spawn(identity_desk.run(tokio_util::sync::CancellationToken::new()));
    identities.entitle([(name("researcher"), avouch_words::IdPath::default())].into(), authority.bundle()).await;
    let instances = Arc::new(Instances::default());
    let mut all: Vec<Arc<dyn Source>> = vec![sealed.clone()];
    all.extend(more);
    let sources = SourceDesk {
        all,
        entrances: Arc::new(Brokered::new(svids, states.subscribe())),
        instances: instances.clone(),
        identities,
        jwt: Arc::new(JwtSvids::new(authority.clone(), clock.clone())),
    };
    let desk = Desk {
        operators: operators.iter().copied().collect(),
        attestor: Arc::new(Attestor::new(Arc::new(Sessions::default()), at("roots"))),
        limit: UidLimit::new(1, 3, clock.clone()),
        journal,
        node,
        workload_socket: at("workload.sock"),
        session_socket: at("session.sock"),
        states: states.subscribe(),
        freshness,
        issuer: "issuer.example.test:8443".to_owned(),
        contain_required: false,
        contact: Arc::new(crate::contact::Contact::new(avouch_words::Millis(0))),
        spool,
        sources,
        sealed: sealed.clone(),
        broker,
        leases,
        clock,
    };
    let socket = at("run/helper.sock");
    let listener = unix::listen(&socket, 0o666).unwrap();
    let server = Server::builder().add_service(HelperServer::new(Local::new(Arc::new(desk))));
    tokio::spawn(server.serve_with_incoming(connections(listener)));
    let client = HelperClient::new(unix::dial(&socket).await.unwrap());
    Rig { client, notes, sealed, states, instances, authority, roots: at("roots"), _directory: directory }
}

fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn put(value: &[u8]) -> api::PutSecretRequest {
    api::PutSecretRequest { credential: "github".to_owned(), binding: BINDING.to_vec(), value: value.to_vec() }
}

fn code(status: &Status) -> String {
    issuer::Refusal::decode(status.details()).unwrap().code
}

#[tokio::test]
async fn an_operator_puts_a_secret_and_nobody_reads_it_back() {
    let mut rig = rig(&[us()]).await;
    rig.client.put_secret(put(b"a-value-of-some-length")).await.unwrap();
    let binding = avouch_policy::Binding::parse(BINDING).unwrap().digest();
    assert_eq!(rig.sealed.open_value(&name("github"), &binding).unwrap().expose(), b"a-value-of-some-length");
    let events = format!("{:?}", rig.notes.0.lock().unwrap());
    assert!(events.contains("SecretPut") && !events.contains("a-value"), "{events}");
    let status = rig.client.status(api::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.injecting, status.held_by.as_str()), (false, "state_unknown"));
}

#[tokio::test]
async fn what_cannot_be_scrubbed_or_bound_is_refused_with_its_own_code() {
    let mut rig = rig(&[us()]).await;
    let cases = [
        (put(b"short"), "value_too_short"),
        (put(b"two lines\nof a value"), "value_not_printable"),
        (api::PutSecretRequest { binding: b"{}".to_vec(), ..put(b"long enough") }, "bad_binding"),
        (api::PutSecretRequest { credential: "../x".to_owned(), ..put(b"long enough") }, "bad_name"),
    ];
    for (request, expected) in cases {
        let refused = rig.client.put_secret(request).await.unwrap_err();
        assert_eq!(code(&refused), expected);
    }
    assert!(rig.sealed.list().unwrap().is_empty());
}

#[tokio::test]
async fn another_uid_is_refused_whatever_the_socket_lets_through() {
    let mut rig = rig(&[us().wrapping_add(1)]).await;
    let refused = rig.client.put_secret(put(b"a-value-of-some-length")).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (tonic::Code::PermissionDenied, "not_operator"));
    for _ in 0..5 {
        assert!(rig.client.status(api::StatusRequest {}).await.is_err());
    }
    assert_eq!(rig.notes.codes(), ["admin.refused"; 3], "refused each time, and a flood does not fill the log");
}

#[tokio::test]
async fn a_process_of_a_session_is_refused_and_so_is_one_that_cannot_be_placed() {
    let mut rig = rig(&[us()]).await;
    // This process, as the root of a session that another helper has listed.
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let session = crate::ids::ulid(&SystemClock).unwrap();
    unix::roots::write(&rig.roots, session, &unix::Peer::of(&ours).unwrap()).unwrap();
    let refused = rig.client.status(api::StatusRequest {}).await.unwrap_err();
    assert_eq!(code(&refused), "inside_session");
    unix::roots::remove(&rig.roots, session).unwrap();
    rig.client.status(api::StatusRequest {}).await.unwrap();
    // A list that cannot be read refuses everybody.
    std::fs::write(rig.roots.join("nonsense"), "x").unwrap();
    let refused = rig.client.status(api::StatusRequest {}).await.unwrap_err();
    assert_eq!(code(&refused), "inside_session");
}

/// Descriptors that are no new file of the caller's own are not written to, whatever the helper may open.
#[tokio::test]
async fn a_backup_is_written_only_to_a_new_file_of_the_callers_own() {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut rig = rig(&[us()]).await;
    let (of, content) = (vec![7; 32], b"GITHUB_TOKEN=ghp_c4n4ry".to_vec());
    let sealed = rig.client.seal_backup(api::SealBackupRequest { of: of.clone(), content: content.clone() }).await;
    let backup = sealed.unwrap().into_inner().backup;
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, mode: u32, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let (full, open, twice) = (make("full", 0o600, b"x"), make("open", 0o644, b""), make("twice", 0o600, b""));
    std::fs::hard_link(&twice, dir.path().join("other")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let read = |path: &std::path::Path| std::fs::File::open(path).unwrap();
    let wrong = [
        read(&full),
        read(&open),
        read(&twice),
        read(dir.path()),
        std::fs::File::from(std::os::fd::OwnedFd::from(writer)),
    ];
    let mut wrong: Vec<_> = wrong.into_iter().collect();
    if rustix::process::geteuid().is_root() {
        let foreign = make("foreign", 0o600, b"");
        std::os::unix::fs::chown(&foreign, Some(65534), None).unwrap();
        wrong.push(read(&foreign));
    }
    let ask = |descriptor: u32| api::RestoreBackupRequest { of: of.clone(), backup: String::new(), descriptor };
    for file in &wrong {
        let refused = rig.client.restore_backup(ask(u32::try_from(file.as_raw_fd()).unwrap())).await.unwrap_err();
        assert_eq!(code(&refused), "not_your_file", "{file:?}");
    }
    assert_eq!(code(&rig.client.restore_backup(ask(u32::MAX)).await.unwrap_err()), "not_your_file");
    drop(reader);
    for path in [&full, &open, &twice] {
        assert!(std::fs::metadata(path).unwrap().len() < 2, "{}", path.display());
    }
    let good =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.path().join("good")).unwrap();
    let descriptor = u32::try_from(good.as_raw_fd()).unwrap();
    for (of, id, descriptor) in
        [(vec![8; 32], "", descriptor), (vec![7; 31], "", descriptor), (of.clone(), "x", descriptor)]
    {
        let request = api::RestoreBackupRequest { of, backup: id.to_owned(), descriptor };
        assert_eq!(code(&rig.client.restore_backup(request).await.unwrap_err()), "no_backup");
    }
    let restored = rig.client.restore_backup(ask(descriptor)).await.unwrap().into_inner();
    assert_eq!((restored.backup, std::fs::read(dir.path().join("good")).unwrap()), (backup, content));
    let again = rig.client.restore_backup(ask(descriptor)).await.unwrap_err();
    assert_eq!(code(&again), "no_backup", "it is in the store no more");
}
