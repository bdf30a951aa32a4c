//! TLS where everybody may read: OpenID discovery, keys, the SPIFFE bundle. TLS 1.3 and the AEAD suites of 1.2 (N18), no
//! client certificate (FED-11), HTTP/1.1.

use super::HANDSHAKE_DEADLINE;
use super::config::{BadIdentity, Identity, LiveIdentity, Shown, Time, provider};
use avouch_words::{Clock, Secret};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The accepting side of a public listener.
#[derive(Clone)]
pub struct PublicTls(TlsAcceptor);

impl PublicTls {
    /// It shows `identity`, as that changes.
    pub fn new(identity: LiveIdentity, clock: Arc<dyn Clock>) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Time(clock)))
            .with_protocol_versions(VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown(identity)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// A handshake, which has to end in time.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        tokio::time::timeout(HANDSHAKE_DEADLINE, self.0.accept(stream))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

impl std::fmt::Debug for PublicTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicTls")
    }
}

impl Identity {
    /// Takes a chain, leaf first, and the leaf's private key, both as PEM: a certificate of the web.
    pub fn from_pem(chain: &[u8], key: &Secret) -> Result<Self, BadIdentity> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|_| BadIdentity::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| BadIdentity::Pem)?;
        Self::certified(chain, &key)
    }
}

const ALPN: &[u8] = b"http/1.1";
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::SystemClock;
    use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
    use rustls_pki_types::ServerName;
    use tokio::net::TcpListener;
    use tokio::sync::watch;
    use tokio_rustls::TlsConnector;

    async fn dial(
        identity: Option<Identity>,
        roots: RootCertStore,
        versions: &[&'static SupportedProtocolVersion],
    ) -> bool {
        let (_held, shown) = watch::channel(identity);
        let tls = PublicTls::new(shown, Arc::new(SystemClock)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move { tls.accept(listener.accept().await.unwrap().0).await.is_ok() });
        let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("id.example.test").unwrap();
        let dialled = TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok();
        dialled && served.await.unwrap()
    }

    #[tokio::test]
    async fn a_certificate_of_the_web_is_shown_over_both_versions_to_clients_without_one() {
        let made = rcgen::generate_simple_self_signed(["id.example.test".to_owned()]).unwrap();
        let key = Secret::new(made.signing_key.serialize_pem().into_bytes());
        let identity = Identity::from_pem(made.cert.pem().as_bytes(), &key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            assert!(dial(Some(identity.clone()), roots.clone(), &[version]).await, "{version:?}");
        }
        assert!(!dial(None, roots, VERSIONS).await, "nothing to show refuses");
        let other = rcgen::generate_simple_self_signed(["id.example.test".to_owned()]).unwrap();
        assert!(Identity::from_pem(other.cert.pem().as_bytes(), &key).is_err(), "another's key");
        assert!(matches!(Identity::from_pem(b"", &key), Err(BadIdentity::Empty)));
        let no_key = Secret::new(b"no key".to_vec());
        assert!(matches!(Identity::from_pem(made.cert.pem().as_bytes(), &no_key), Err(BadIdentity::Pem)));
    }
}
