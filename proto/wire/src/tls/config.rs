//! The rustls configurations.

use super::pin::{PinVerifier, Pinned};
use super::verify::{ClientVerifier, PeerRule, ServerVerifier};
use avouch_words::svid::x509::X509Svid;
use avouch_words::{Bundles, Clock, Digest, SpiffeId, TrustDomain};
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What this side shows: a chain, leaf first, and its key.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

/// Why a chain and a key make no identity.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadIdentity {
    /// There is no certificate.
    #[error("the chain is empty")]
    Empty,
    /// The key is not PKCS#8 of a kind that TLS can use, or not the leaf's.
    #[error("the key cannot be used with the certificate: {0}")]
    Key(rustls::Error),
    /// The files are not what they should be.
    #[error("the files are not PEM of a certificate chain and of one private key")]
    Pem,
}

/// The identity in use; none refuses every handshake.
pub type LiveIdentity = watch::Receiver<Option<Identity>>;

/// The bundles peers are verified with; empty ones refuse everybody.
pub type LiveBundles = watch::Receiver<Arc<Bundles>>;

impl Identity {
    /// Takes a chain, leaf first, and the leaf's private key as PKCS#8 DER; refuses a key that is not the leaf's.
    pub fn new(chain: Vec<CertificateDer<'static>>, key_pkcs8: &[u8]) -> Result<Self, BadIdentity> {
        Self::certified(chain, &PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8)))
    }

    pub(super) fn certified(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<Self, BadIdentity> {
        if chain.is_empty() {
            return Err(BadIdentity::Empty);
        }
        let key = rustls::crypto::ring::sign::any_supported_type(key).map_err(BadIdentity::Key)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(BadIdentity::Key)?;
        Ok(Self(Arc::new(certified)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// The accepting side: it shows `identity`, asks for a client certificate, and takes none or one that `peers` allows.
/// Who has to have one is for each call to say.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    verifier: Arc<ClientVerifier>,
}

impl ServerTls {
    /// Makes the configuration; it follows `identity` and `bundles` as they change.
    pub fn new(
        identity: LiveIdentity,
        bundles: LiveBundles,
        peers: PeerRule,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, rustls::Error> {
        let provider = provider();
        let verifier = Arc::new(ClientVerifier::new(bundles, peers, Arc::clone(&clock), &provider));
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(Time(clock)))
            .with_protocol_versions(VERSIONS)?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::new(Shown(identity)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), verifier })
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// The checked value of what a finished handshake showed: verified again, so that no other way makes one.
    pub(super) fn shown(&self, chain: Option<&[CertificateDer<'_>]>) -> Result<Option<X509Svid>, rustls::Error> {
        match chain {
            Some([leaf, rest @ ..]) => self.verifier.verify(leaf, rest).map(Some),
            _ => Ok(None),
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// A client's configuration: it shows `identity` if there is one and accepts `server` alone.
pub fn client_config(
    identity: LiveIdentity,
    bundles: LiveBundles,
    server: SpiffeId,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let verifier = ServerVerifier::new(bundles, server, Arc::clone(&clock), &provider);
    let config = ClientConfig::builder_with_details(provider, Arc::new(Time(clock)))
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(Shown(identity)));
    Ok(hardened(config))
}

/// A client's configuration for the first contact with a trust domain: it shows nothing and accepts only the issuer of
/// `trust_domain` under the authority whose SHA-256 is `pin`. After a handshake the authority is in [`Pinned`].
pub fn first_contact_config(
    pin: Digest,
    trust_domain: TrustDomain,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<ClientConfig>, Pinned), rustls::Error> {
    let provider = provider();
    let (verifier, pinned) = PinVerifier::new(pin, trust_domain, Arc::clone(&clock), &provider);
    let config = ClientConfig::builder_with_details(provider, Arc::new(Time(clock)))
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((hardened(config), pinned))
}

/// No resumption, no early data, and no server name: peers are known by SPIFFE ID.
fn hardened(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Our clock as rustls reads it.
pub(super) struct Time(pub(super) Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        u64::try_from(self.0.now().seconds())
            .ok()
            .map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// The live identity, for both sides of a handshake.
#[derive(Debug)]
pub(super) struct Shown(pub(super) LiveIdentity);

impl Shown {
    fn now(&self) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().as_ref().map(|identity| Arc::clone(&identity.0))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.now()
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.now()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

const ALPN: &[u8] = b"h2";
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
