//! Verifiers that know SPIFFE IDs and no host names.

use super::config::LiveBundles;
use avouch_words::svid::x509::X509Svid;
use avouch_words::{Bundles, Clock, SpiffeId, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::sync::Arc;

/// Which peers a server takes: one trust domain, and a path predicate.
#[derive(Clone)]
pub struct PeerRule {
    trust_domain: TrustDomain,
    path: fn(&str) -> bool,
}

impl PeerRule {
    /// Peers of this trust domain whose path is one that `path` says yes to. Brokered identities are refused before
    /// it is asked (SID-22).
    pub fn new(trust_domain: TrustDomain, path: fn(&str) -> bool) -> Self {
        Self { trust_domain, path }
    }

    /// Nodes of this trust domain.
    pub fn nodes_of(trust_domain: TrustDomain) -> Self {
        Self::new(trust_domain, |path| path.starts_with("/node/"))
    }

    /// Whether this peer is taken.
    pub fn allows(&self, id: &SpiffeId) -> bool {
        id.is_member_of(&self.trust_domain) && !id.is_brokered() && (self.path)(id.path())
    }
}

impl fmt::Debug for PeerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerRule").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

/// The chain was valid but is not one we want.
#[derive(Debug, thiserror::Error)]
#[error("the peer is {0}, which is not expected here")]
struct Unexpected(SpiffeId);

/// Verifies client certificates where there are any.
pub(super) struct ClientVerifier {
    bundles: LiveBundles,
    rule: PeerRule,
    clock: Arc<dyn Clock>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub fn new(bundles: LiveBundles, rule: PeerRule, clock: Arc<dyn Clock>, provider: &CryptoProvider) -> Self {
        Self { bundles, rule, clock, algorithms: provider.signature_verification_algorithms }
    }

    /// Chain, profile and rule.
    pub fn verify(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<X509Svid, Error> {
        let bundles = Arc::clone(&self.bundles.borrow());
        let svid = verify_chain(leaf, rest, &bundles, &*self.clock)?;
        if !self.rule.allows(svid.id()) {
            return Err(refused(Unexpected(svid.id().clone())));
        }
        Ok(svid)
    }
}

/// Verifies the one server that is expected.
pub(super) struct ServerVerifier {
    bundles: LiveBundles,
    server: SpiffeId,
    clock: Arc<dyn Clock>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub fn new(bundles: LiveBundles, server: SpiffeId, clock: Arc<dyn Clock>, provider: &CryptoProvider) -> Self {
        Self { bundles, server, clock, algorithms: provider.signature_verification_algorithms }
    }
}

/// Checks a chain as rustls hands it over: the leaf apart from the rest.
pub(super) fn verify_chain(
    leaf: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
    bundles: &Bundles,
    clock: &dyn Clock,
) -> Result<X509Svid, Error> {
    let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf).chain(rest).map(|der| der.as_ref().into()).collect();
    X509Svid::verify(&chain, bundles, clock.now()).map_err(refused)
}

/// A refusal that keeps its reason for our log; the peer gets a general alert.
pub(super) fn refused(reason: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, rest).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let bundles = Arc::clone(&self.bundles.borrow());
        let svid = verify_chain(leaf, rest, &bundles, &*self.clock)?;
        if svid.id() != &self.server {
            return Err(refused(Unexpected(svid.id().clone())));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").field("server", &self.server).finish_non_exhaustive()
    }
}

/// TLS 1.2 is not offered; a signature of it can only be a mistake.
pub(super) fn only_tls13() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}
