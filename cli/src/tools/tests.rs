use super::*;
use crate::demo::canary;
use avouch_words::SystemClock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PLAIN: &[u8] = b"plain-secret-0123456789";
const TLS: &[u8] = b"tls-secret-0123456789";

async fn start() -> (SocketAddr, SocketAddr, ToolLog, String) {
    let identity = TlsIdentity::make("tools.demo.test", &SystemClock).unwrap();
    let ca = identity.ca_pem.clone();
    let (plain, tls) = (Secret::new(PLAIN.to_vec()), Secret::new(TLS.to_vec()));
    let config = ToolConfig { plain, tls, identity, plain_port: 0, tls_port: 0 };
    let server = ToolServer::build(config).await.unwrap();
    let found = (server.plain_address(), server.tls_address(), server.log(), ca);
    tokio::spawn(server.run());
    found
}

async fn ask(to: SocketAddr, target: &str, credential: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nauthorization: {credential}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_credential_is_demanded() {
    let (plain, _, log, _) = start().await;
    assert!(ask(plain, "/v1/do", "Bearer wrong").await.starts_with("HTTP/1.1 401 "));
    assert!(ask(plain, "/v1/do", "Bearer plain-secret-0123456789").await.starts_with("HTTP/1.1 200 "));
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, b"me:plain-secret-0123456789");
    assert!(ask(plain, "/v1/do", &format!("Basic {basic}")).await.starts_with("HTTP/1.1 200 "));
    let seen = log.seen();
    assert_eq!(seen.iter().map(|seen| seen.authorized).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/v1/do"));
}

#[tokio::test]
async fn the_echo_gives_the_credential_away_in_headers_and_across_chunks() {
    let (plain, _, _, _) = start().await;
    let answer = ask(plain, "/v1/do?mode=echo", "Bearer plain-secret-0123456789").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(canary::find(head.as_bytes(), PLAIN).is_some());
    assert_eq!(canary::find(body.as_bytes(), PLAIN), None, "the chunks cut every form");
    let joined: String = body.split("\r\n").enumerate().filter(|(at, _)| at % 2 == 1).map(|(_, text)| text).collect();
    assert!(canary::find(joined.as_bytes(), PLAIN).is_some());
    assert!(joined.ends_with("that was all\n"));
}

#[tokio::test]
async fn over_tls_it_is_whom_its_authority_says() {
    let (_, tls, log, ca) = start().await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(tls).await.unwrap();
    let mut stream = connector.connect(ServerName::try_from("tools.demo.test").unwrap(), stream).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nauthorization: tls-secret-0123456789\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(log.seen()[0].tls);
    let stream = TcpStream::connect(tls).await.unwrap();
    assert!(connector.connect(ServerName::try_from("other.test").unwrap(), stream).await.is_err());
}
