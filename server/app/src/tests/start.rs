use super::*;
use avouch_config::StartError;
use std::fs;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn build(config: ServerConfig) -> Result<Issuer, StartError> {
    Issuer::build(config, Arc::new(TestClock::default())).await
}

#[tokio::test]
async fn a_restart_keeps_identities_locks_and_the_log() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    running.lock("researcher").await;
    let key = KeyPair::generate().unwrap();
    let before = audit::export(&running).await;
    let (dir, clock) = running.stop().await;

    let running = Running::start_in(dir, clock, |_| {}).await;
    let mut client = running.node(&node).await;
    assert_eq!(sign_one(&mut client, order("researcher", 1, &key)).await.unwrap_err().code, "denied");
    let again = running.join("desktop").await;
    assert_eq!(again.svid.bundle, node.svid.bundle, "no new authority was made");
    let after = audit::export(&running).await;
    let entries = |parts: &[avouch_audit::export::Part]| {
        let entry = |part: &avouch_audit::export::Part| matches!(part, avouch_audit::export::Part::Entry(_));
        parts.iter().filter(|part| entry(part)).cloned().collect::<Vec<_>>()
    };
    assert!(entries(&after).starts_with(&entries(&before)));
}

#[tokio::test]
async fn a_taken_port_or_socket_or_database_fails_the_start_and_is_named() {
    let running = Running::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut other = config(&dir);
    other.listen = running.address;
    let error = build(other.clone()).await.unwrap_err();
    assert!(error.code() == "port_taken" && error.to_string().contains("(pid "), "{error}");

    other.listen = "127.0.0.1:0".parse().unwrap();
    other.runtime_dir = running.admin_socket.parent().unwrap().to_owned();
    let error = build(other).await.unwrap_err();
    assert!(error.code() == "socket_taken" && error.to_string().contains("(pid "), "{error}");

    let mut same = config(&running.dir);
    same.runtime_dir = dir.path().join("run2");
    let error = build(same).await.unwrap_err();
    assert_eq!(error.code(), "database_unusable", "{error}");
}

#[tokio::test]
async fn a_database_of_another_trust_domain_fails_the_start() {
    let (dir, _) = Running::start().await.stop().await;
    let mut other = config(&dir);
    other.trust_domain = TrustDomain::parse("other.test").unwrap();
    let error = build(other).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("wrong_trust_domain", 5));
    assert!(error.to_string().contains("other.test") && error.to_string().contains("example.test"), "{error}");
}

#[tokio::test]
async fn without_the_key_that_sealed_its_authorities_it_does_not_start() {
    let (dir, _) = Running::start().await.stop().await;
    let settings = config(&dir);
    let key = &settings.seal_key_file;
    let right = fs::read(key).unwrap();
    fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(build(settings.clone()).await.unwrap_err().code(), "key_file_unusable");
    fs::remove_file(key).unwrap();
    let error = build(settings.clone()).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("key_file_unusable", 2));
    assert!(!key.exists(), "no new key in place of a lost one");
    fs::write(key, right.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).unwrap();
    fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(build(settings.clone()).await.unwrap_err().code(), "authorities_unusable");
    fs::write(key, right).unwrap();
    build(settings).await.unwrap();
}

#[tokio::test]
async fn a_seal_key_in_the_state_directory_fails_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(&dir);
    settings.seal_key_file = settings.state_dir.join("seal.key");
    assert_eq!(build(settings).await.unwrap_err().code(), "key_file_unusable");
}

#[tokio::test]
async fn health_is_told_where_the_settings_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(&dir);
    settings.health = Some("127.0.0.1:0".parse().unwrap());
    let issuer = build(settings).await.unwrap();
    let address = issuer.health_address().unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(issuer.run(shutdown.clone()));
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /readyz HTTP/1.1\r\n\r\n").await.unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).await.unwrap();
            if reply.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    });
    waited.await.unwrap();
    shutdown.cancel();
    task.await.unwrap().unwrap();
}
