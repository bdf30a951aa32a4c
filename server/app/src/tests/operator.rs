use super::*;
use avouch_config::Operator;
use avouch_wire::unix::{Peer, roots};
use avouch_words::Name;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

fn status() -> admin::StatusRequest {
    admin::StatusRequest {}
}

#[tokio::test]
async fn a_uid_that_is_mapped_to_no_operator_is_refused() {
    let running = Running::start_with(|config| {
        config.operators = vec![Operator { uid: u32::MAX - 1, name: Name::parse("somebody").unwrap() }];
    })
    .await;
    assert_eq!(word(running.admin().await.status(status()).await), "not_an_operator");
    assert_eq!(word(running.admin().await.create_token(admin::CreateTokenRequest::default()).await), "not_an_operator");
    assert_eq!(word(running.admin().await.export_audit(admin::ExportAuditRequest {}).await), "not_an_operator");
}

#[tokio::test]
async fn a_process_of_another_uid_reaches_the_socket_and_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("not run: needs root");
        return;
    }
    let running = Running::start_with(|config| {
        // A mapping for yet another uid, so that the socket is open to others at all.
        config.operators.push(Operator { uid: 12_345, name: Name::parse("other").unwrap() });
    })
    .await;
    let directory = running.dir.path();
    for place in [directory, &directory.join("run")] {
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // This very program, as somebody else, runs the test below.
    let program = directory.join("somebody");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let asked = tokio::process::Command::new(&program)
        .args(["--exact", "tests::operator::asks_as_whoever_runs_it"])
        .env(SOCKET, &running.admin_socket)
        .current_dir(directory)
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .output()
        .await
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    assert!(events(&running).await.contains(&"admin.refused"));
}

/// Only asks anything when the test above runs it.
#[tokio::test]
async fn asks_as_whoever_runs_it() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    assert_eq!(nix::unistd::geteuid().as_raw(), SOMEBODY);
    let mut admin = AdminClient::new(unix::dial(Path::new(&socket)).await.unwrap());
    assert_eq!(word(admin.status(status()).await), "not_an_operator");
}

const SOCKET: &str = "ADMIN_SOCKET_OF_TEST";
const SOMEBODY: u32 = 65_534;

#[tokio::test]
async fn a_process_in_a_session_is_refused_and_that_is_recorded() {
    let list = tempfile::tempdir().unwrap();
    let roots_dir = list.path().to_owned();
    let running = Running::start_with(|config| config.session_roots = vec![roots_dir]).await;
    running.admin().await.status(status()).await.unwrap();

    // This very process becomes the root of a session.
    let (here, _there) = UnixStream::pair().unwrap();
    let session = Ulid::new(running.clock.now(), [1; 10]);
    roots::write(list.path(), session, &Peer::of(&here).unwrap()).unwrap();
    assert_eq!(word(running.admin().await.status(status()).await), "inside_session");
    assert_eq!(word(running.admin().await.create_lock(admin::CreateLockRequest::default()).await), "inside_session");
    roots::remove(list.path(), session).unwrap();
    assert!(events(&running).await.contains(&"admin.refused"));
}

#[tokio::test]
async fn a_list_of_sessions_that_cannot_be_read_refuses_everybody() {
    let list = tempfile::tempdir().unwrap();
    let missing = list.path().join("roots");
    let named = missing.clone();
    let running = Running::start_with(|config| config.session_roots = vec![named]).await;
    running.admin().await.status(status()).await.unwrap();
    fs::remove_dir(&missing).unwrap();
    assert_eq!(word(running.admin().await.status(status()).await), "unattested");
    roots::create(&missing).unwrap();
    running.admin().await.status(status()).await.unwrap();
    fs::write(missing.join("01HF0000000000000000000000"), b"{}").unwrap();
    assert_eq!(word(running.admin().await.status(status()).await), "unattested");
}

#[tokio::test]
async fn what_an_operator_makes_is_listed_and_named_when_it_is_missing() {
    let running = Running::start().await;
    let mut admin = running.admin().await;
    let agent = running.agent("researcher", "laptop").await;
    assert_eq!(agent.spiffe_id, "spiffe://example.test/agent/researcher");
    assert_eq!((agent.x509_ttl_seconds, agent.jwt_ttl_seconds), (900, 300));
    let again = admin::CreateAgentRequest {
        name: "researcher".into(),
        owner: "o".into(),
        nodes: vec!["node:name:laptop".into()],
        selectors: vec!["unix:uid:1".into()],
        ..Default::default()
    };
    assert_eq!(word(admin.create_agent(again).await), "exists");

    let binding = br#"{"to":"https://api.test:443","methods":["GET"],"paths":["/x"],"slot":"bearer"}"#.to_vec();
    let put =
        admin::PutCredentialRequest { name: "github".into(), source: "sealed".into(), binding, ..Default::default() };
    let put = admin.put_credential(put).await.unwrap().into_inner();
    let again = admin::PutCredentialRequest {
        name: "github".into(),
        source: "vault".into(),
        binding: put.binding.clone(),
        only_new: true,
        ..Default::default()
    };
    assert_eq!(word(admin.put_credential(again).await), "exists");
    let grant = |agent: &str, credential: &str| admin::CreateGrantRequest {
        agent: agent.to_owned(),
        credential: credential.to_owned(),
    };
    assert_eq!(word(admin.create_grant(grant("researcher", "gitlab")).await), "not_found");
    assert_eq!(word(admin.create_grant(grant("nobody", "github")).await), "not_found");
    let made = admin.create_grant(grant("researcher", "github")).await.unwrap().into_inner();
    assert_eq!(word(admin.create_grant(grant("researcher", "github")).await), "exists");

    assert_eq!(admin.list_agents(admin::ListAgentsRequest {}).await.unwrap().into_inner().agents, [agent]);
    let listed = admin.list_credentials(admin::ListCredentialsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.credentials, [put]);
    assert_eq!(
        admin.list_grants(admin::ListGrantsRequest {}).await.unwrap().into_inner().grants,
        std::slice::from_ref(&made)
    );
    admin.delete_grant(admin::DeleteGrantRequest { id: made.id.clone() }).await.unwrap();
    assert_eq!(word(admin.delete_grant(admin::DeleteGrantRequest { id: made.id }).await), "not_found");

    let lock = admin::CreateLockRequest { agent: "nobody".into(), reason: "test".into(), ttl_seconds: 0 };
    assert_eq!(word(admin.create_lock(lock).await), "not_found");
    let status = admin.status(status()).await.unwrap().into_inner();
    assert_eq!(status.address, running.address.to_string());
    assert!(status.state_version > 1 && status.audit_size > 5);
}
