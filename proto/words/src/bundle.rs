//! What one trust domain's SVIDs are verified against.

use crate::{Digest, TrustDomain};
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;

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

/// Bundles of several trust domains, kept apart: an SVID finds its own by the trust domain of its ID (X509V-09,
/// JWTV-11), and there is no pooled store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundles(BTreeMap<TrustDomain, Bundle>);

impl Bundles {
    /// The bundle of this trust domain, if it is known.
    pub fn of(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(trust_domain)
    }

    /// Adds a bundle; one of the same trust domain is replaced.
    pub fn insert(&mut self, bundle: Bundle) {
        self.0.insert(bundle.trust_domain.clone(), bundle);
    }

    /// All bundles, by trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &Bundle> {
        self.0.values()
    }
}

impl From<Bundle> for Bundles {
    fn from(bundle: Bundle) -> Self {
        [bundle].into_iter().collect()
    }
}

impl FromIterator<Bundle> for Bundles {
    fn from_iter<I: IntoIterator<Item = Bundle>>(bundles: I) -> Self {
        Self(bundles.into_iter().map(|bundle| (bundle.trust_domain.clone(), bundle)).collect())
    }
}
