//! First contact: nothing is trusted yet but the hash in a join token (N13).

use super::verify::{only_tls13, refused, verify_chain};
use avouch_words::{Bundle, Bundles, Clock, Digest, TrustDomain, X509Authority};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Where the authority is found once a handshake has shown it.
#[derive(Clone, Debug)]
pub struct Pinned(Arc<OnceLock<X509Authority>>);

impl Pinned {
    /// The authority whose hash is the pin; none before a handshake succeeded.
    pub fn authority(&self) -> Option<&X509Authority> {
        self.0.get()
    }
}

/// Why first contact was refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the issuer's chain does not end in the authority that the join token pins")]
    Pin,
    #[error("the server is not the issuer of the trust domain in the join token")]
    NotIssuer,
}

/// Accepts the issuer of one trust domain under one authority, known by its hash.
pub(super) struct PinVerifier {
    pin: Digest,
    trust_domain: TrustDomain,
    clock: Arc<dyn Clock>,
    algorithms: WebPkiSupportedAlgorithms,
    found: Pinned,
}

impl PinVerifier {
    pub fn new(
        pin: Digest,
        trust_domain: TrustDomain,
        clock: Arc<dyn Clock>,
        provider: &CryptoProvider,
    ) -> (Self, Pinned) {
        let found = Pinned(Arc::default());
        let algorithms = provider.signature_verification_algorithms;
        (Self { pin, trust_domain, clock, algorithms, found: found.clone() }, found)
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (root, between) = rest.split_last().ok_or_else(|| refused(Refused::Pin))?;
        let authority = X509Authority(root.clone().into_owned());
        if authority.digest() != self.pin {
            return Err(refused(Refused::Pin));
        }
        let bundle = Bundle { trust_domain: self.trust_domain.clone(), x509: vec![authority.clone()], jwt: Vec::new() };
        let svid = verify_chain(leaf, between, &Bundles::from(bundle), &*self.clock)?;
        if svid.id() != &self.trust_domain.issuer() {
            return Err(refused(Refused::NotIssuer));
        }
        // A second handshake can only find the same one: its hash is the same.
        let _ = self.found.0.set(authority);
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

impl fmt::Debug for PinVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinVerifier").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}
