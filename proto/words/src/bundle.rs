//! What one trust domain's SVIDs are verified against.

use crate::{Digest, TrustDomain};
use rustls_pki_types::CertificateDer;

/// The authorities of one trust domain. They verify SVIDs of that domain and of no other (BND-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The domain they belong to.
    pub trust_domain: TrustDomain,
    /// X.509 authorities; they verify X.509-SVIDs only.
    pub x509: Vec<X509Authority>,
    /// JWT authorities; they verify JWT-SVIDs only.
    pub jwt: Vec<JwtAuthority>,
}

/// A CA certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Authority(pub CertificateDer<'static>);

impl X509Authority {
    /// SHA-256 of the certificate: what a join token pins.
    pub fn digest(&self) -> Digest {
        Digest::of(&[&self.0])
    }
}

/// A key that JWT-SVIDs are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtAuthority {
    /// Its identifier in token headers, unique in the bundle.
    pub kid: String,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}
