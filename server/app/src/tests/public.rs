use super::*;
use avouch_config::{AuthoritySettings, Public, PublicDoor, PublicTls, PublicUrl, RsaKey};
use avouch_words::JwtAuthority;
use avouch_words::svid::jwt::JwtSvid;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const URL: &str = "https://id.example.test/avouch";

fn public(tls: PublicTls) -> Option<Public> {
    let door = PublicDoor { listen: "127.0.0.1:0".parse().unwrap(), tls };
    Some(Public { url: PublicUrl::parse(URL).unwrap(), door: Some(door) })
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.head);
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }

    fn field(&self, name: &str) -> &str {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
    }
}

async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request}\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut reply = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut reply));
    read.await.expect("an answer").unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: format!("{head}\r\n"), body: body.to_owned() }
}

async fn get(running: &Running, path: &str) -> Answer {
    ask(running.public.unwrap(), &format!("GET {path} HTTP/1.1")).await
}

fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

async fn token(client: &mut NodeClient<Channel>, audience: &[&str]) -> String {
    let audience = audience.iter().map(ToString::to_string).collect();
    let request = issuer::SignJwtRequest { agent: "researcher".to_owned(), instance: instance(1), audience };
    client.sign_jwt(request).await.unwrap().into_inner().token
}

/// The token verifies with a key of this document, and with no other.
fn verifies(token: &str, keys: &Value, audience: &str, now: avouch_words::Millis) -> bool {
    let coordinate = |key: &Value, name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let spki = |key: &Value| match key["kty"].as_str().unwrap() {
        "EC" => {
            let mut point = EC_SPKI.to_vec();
            point.extend(coordinate(key, "x"));
            point.extend(coordinate(key, "y"));
            Some(point)
        }
        _ => None,
    };
    let read =
        |key: &Value| Some(JwtAuthority { kid: key["kid"].as_str().unwrap().to_owned(), public_key: spki(key)? });
    let jwt = keys["keys"].as_array().unwrap().iter().filter_map(read).collect();
    let bundle = Bundles::from(Bundle { trust_domain: trust_domain(), x509: Vec::new(), jwt });
    JwtSvid::parse_and_verify(token, &[audience], &bundle, now, Duration::ZERO).is_ok()
}

const EC_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

#[tokio::test]
async fn discovery_leads_to_the_keys_of_tokens_under_the_prefix_and_nowhere_else() {
    let running = Running::start_with(|config| config.public = public(PublicTls::Off)).await;
    let discovery = get(&running, "/avouch/.well-known/openid-configuration").await;
    let expected = json!({
        "issuer": URL,
        "jwks_uri": format!("{URL}/keys"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "jti", "avouch_instance"],
    });
    assert_eq!(discovery.json(), expected);
    let keys = get(&running, "/avouch/keys").await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let token = token(&mut running.node(&node).await, &["https://sts.test"]).await;
    assert_eq!(part(&token, 1)["iss"], URL);
    assert!(part(&token, 1)["iat"].is_i64());
    assert!(verifies(&token, &keys.json(), "https://sts.test", running.clock.now()));
    for path in [
        "/.well-known/openid-configuration",
        "/keys",
        "/avouch",
        "/avouch/",
        "/avouch/keys/",
        "/avouch//keys",
        "/avouch/%6beys",
        "/avouch/../keys",
        "/metrics",
        "/healthz",
    ] {
        assert_eq!(get(&running, path).await.status, 404, "{path}");
    }
    assert_eq!(get(&running, "/avouch/keys?a=b").await.body, keys.body, "a query means nothing");
}

#[tokio::test]
async fn documents_are_read_with_get_and_head_and_asked_for_again_by_tag() {
    let running = Running::start_with(|config| config.public = public(PublicTls::Off)).await;
    let address = running.public.unwrap();
    let got = get(&running, "/avouch/bundle").await;
    assert_eq!(got.field("cache-control"), "public, max-age=300");
    let head = ask(address, "HEAD /avouch/bundle HTTP/1.1").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.field("content-length"), got.body.len().to_string());
    let tag = got.field("etag");
    let again = ask(address, &format!("GET /avouch/bundle HTTP/1.1\r\nif-none-match: \"x\", W/{tag}")).await;
    assert_eq!((again.status, again.body.as_str(), again.field("etag")), (304, "", tag));
    let other = ask(address, "GET /avouch/bundle HTTP/1.1\r\nif-none-match: \"x\"").await;
    assert_eq!(other.status, 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let refused = ask(address, &format!("{method} /avouch/bundle HTTP/1.1")).await;
        assert_eq!((refused.status, refused.field("allow")), (405, "GET, HEAD"), "{method}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_or_does_not_end_gets_no_place() {
    let running = Running::start_with(|config| config.public = public(PublicTls::Off)).await;
    let address = running.public.unwrap();
    let large = ask(address, &format!("GET /avouch/keys HTTP/1.1\r\nx: {}", "a".repeat(9 * 1024))).await;
    assert_eq!(large.status, 431);
    let many = "x: y\r\n".repeat(49);
    let many = ask(address, &format!("GET /avouch/keys HTTP/1.1\r\n{}", many.trim_end())).await;
    assert_eq!(many.status, 431);
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /avouch/keys HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "it is hung up on");
}

#[tokio::test]
async fn a_key_is_published_before_its_first_use_and_the_sequence_only_grows() {
    let days = |n: u64| Duration::from_secs(n * 86_400);
    let set = |config: &mut ServerConfig| {
        config.public = public(PublicTls::Off);
        config.svid.node_ttl = days(7);
        config.authority = AuthoritySettings { x509_ttl: days(60), jwt_ttl: Duration::from_secs(10 * 3600) };
    };
    let mut running = Running::start_with(set).await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let mut last = get(&running, "/avouch/bundle").await.json();
    let mut signers = Vec::new();
    for step in 0..8 {
        running.clock.advance(Duration::from_secs(80 * 60));
        if step == 3 {
            let (dir, clock) = running.stop().await;
            running = Running::start_in(dir, clock, set).await;
        }
        // Authorities are looked after once a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let token = token(&mut running.node(&node).await, &["a"]).await;
        let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
        let before = last["keys"].as_array().unwrap();
        assert!(before.iter().any(|key| key["kid"] == kid.as_str()), "published long before: {kid} {last}");
        if signers.last() != Some(&kid) {
            signers.push(kid);
        }
        let now = get(&running, "/avouch/bundle").await.json();
        let sequence = |bundle: &Value| bundle["spiffe_sequence"].as_u64().unwrap();
        let changed = now["keys"] != last["keys"];
        assert!(sequence(&now) > sequence(&last) || (!changed && sequence(&now) == sequence(&last)), "{last} {now}");
        last = now;
    }
    assert_eq!(signers.len(), 2, "{signers:?}");
}

#[tokio::test]
async fn a_database_that_was_put_back_does_not_put_the_sequence_back() {
    let set = |config: &mut ServerConfig| config.public = public(PublicTls::Off);
    let running = Running::start_with(set).await;
    let (dir, clock) = running.stop().await;
    let database = find(dir.path()).unwrap();
    let backup = std::fs::read(&database).unwrap();
    clock.advance(Duration::from_secs(20 * 86_400));
    let running = Running::start_in(dir, clock, set).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let newest = get(&running, "/avouch/bundle").await.json()["spiffe_sequence"].as_u64();
    let (dir, clock) = running.stop().await;
    std::fs::write(&database, backup).unwrap();
    let running = Running::start_in(dir, clock, set).await;
    assert!(get(&running, "/avouch/bundle").await.json()["spiffe_sequence"].as_u64() >= newest);
}

fn find(below: &Path) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(below).unwrap().flatten();
    entries.map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() { find(&path) } else { path.ends_with(avouch_config::DATABASE_FILE).then_some(path) }
    })
}

fn rsa_key(directory: &Path, bits: &str) -> std::path::PathBuf {
    let made = Command::new("openssl").args(["genrsa", bits]).output().unwrap();
    let file = directory.join(format!("rsa-{bits}.key"));
    let mut options = std::fs::OpenOptions::new();
    std::io::Write::write_all(
        &mut options.write(true).create(true).truncate(true).mode(0o600).open(&file).unwrap(),
        &made.stdout,
    )
    .unwrap();
    file
}

#[tokio::test]
async fn a_key_that_was_brought_signs_for_its_audiences_and_for_no_others() {
    let keys = tempfile::tempdir().unwrap();
    let key_file = rsa_key(keys.path(), "2048");
    let audiences = vec!["api://azure".to_owned(), "https://b.test".to_owned()];
    let running = Running::start_with(|config| {
        config.public = public(PublicTls::Off);
        config.rsa = vec![RsaKey { audiences, key_file }];
    })
    .await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let mut client = running.node(&node).await;
    let mut algorithm = async |audience: &[&str]| part(&token(&mut client, audience).await, 0)["alg"].clone();
    assert_eq!(algorithm(&["api://azure"]).await, "RS256");
    assert_eq!(algorithm(&["api://azure", "https://b.test"]).await, "RS256");
    assert_eq!(
        algorithm(&["api://azure", "https://c.test"]).await,
        "ES256",
        "never for an audience that is not listed"
    );
    assert_eq!(algorithm(&["https://c.test"]).await, "ES256");
    let signed = part(&token(&mut client, &["api://azure"]).await, 0);
    let served = get(&running, "/avouch/keys").await.json();
    let rsa: Vec<_> = served["keys"].as_array().unwrap().iter().filter(|key| key["kty"] == "RSA").collect();
    assert_eq!((rsa.len(), &rsa[0]["kid"], &rsa[0]["alg"]), (1, &signed["kid"], &json!("RS256")));
    assert_eq!(rsa[0]["n"].as_str().unwrap().len(), 342, "256 bytes");
    assert!(rsa[0]["d"].is_null() && rsa[0]["p"].is_null());
    let discovery = get(&running, "/avouch/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
}

#[tokio::test]
async fn an_rsa_key_that_is_short_or_that_others_may_read_fails_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |key_file: std::path::PathBuf| {
        let mut config = config(&dir);
        config.rsa = vec![RsaKey { audiences: vec!["a".to_owned()], key_file }];
        Issuer::build(config, Arc::new(TestClock::default())).await.map(drop).map_err(|error| error.to_string())
    };
    let short = start(rsa_key(dir.path(), "1024")).await.unwrap_err();
    assert!(short.contains("2048"), "{short}");
    let good = rsa_key(dir.path(), "2048");
    std::fs::set_permissions(&good, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let open = start(good.clone()).await.unwrap_err();
    assert!(open.contains("0640"), "{open}");
    std::fs::set_permissions(&good, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    start(good).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bundle_endpoint_shows_the_issuers_own_svid_and_asks_for_none() {
    let running = Running::start_with(|config| config.public = public(PublicTls::Spiffe)).await;
    let node = running.join("laptop").await;
    let address = running.public.unwrap();
    let shown = tokio::task::spawn_blocking(move || {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-showcerts", "-tls1_2"])
            .stdin(std::process::Stdio::null())
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    });
    let shown = shown.await.unwrap();
    let pem = shown.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap();
    let pem: String = pem.split("-----END").next().unwrap().split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(pem).unwrap();
    assert_eq!(uri_of(&der).as_str(), "spiffe://example.test/issuer");
    let bundles = Bundles::from(Bundle {
        trust_domain: trust_domain(),
        x509: node.svid.bundle.iter().map(|der| X509Authority(der.clone().into())).collect(),
        jwt: Vec::new(),
    });
    assert_eq!(*x509_names::verified(&[der], &bundles, running.clock.now()).id(), trust_domain().issuer());
    assert!(shown.contains("No client certificate CA names sent"), "{shown}");
    for (protocol, allowed) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), protocol, "-cipher", "ALL:@SECLEVEL=0"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.success(), allowed, "{protocol}");
    }
    let weak = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!weak.status.success(), "no suite without AEAD");
}
