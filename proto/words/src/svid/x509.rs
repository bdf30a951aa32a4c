//! X.509-SVIDs: what is checked before a certificate counts as somebody's identity (X509-SVID.md §5), and the profile
//! that our own certificates are held to before the real key signs them. Chains are built by rustls-webpki, leaves
//! are read by x509-parser; neither knows the SPIFFE rules, so they are here.

mod lint;
mod profile;

pub use lint::{Violation, lint_ca, lint_leaf};

use crate::{BadSpiffeId, Bundle, Bundles, Millis, SpiffeId};
use profile::Profile;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::Duration;

/// An X.509-SVID whose chain, profile and time were found good against the bundle of its own trust domain.
#[derive(Clone, PartialEq, Eq)]
pub struct X509Svid {
    id: SpiffeId,
    chain: Vec<CertificateDer<'static>>,
    serial: Vec<u8>,
    not_before: Millis,
    not_after: Millis,
    public_key: Vec<u8>,
}

/// Why a chain is not a valid X.509-SVID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadX509Svid {
    /// No certificate at all.
    #[error("there is no certificate")]
    Empty,
    /// N08.
    #[error("the chain has more than 8 certificates")]
    ChainTooLong,
    /// N08.
    #[error("a certificate is larger than 16 KiB")]
    TooLarge,
    /// Not DER of an X.509 version 3 certificate, or an extension of it cannot be read or is there twice.
    #[error("the certificate cannot be read")]
    Malformed,
    /// X509V-02.
    #[error("the certificate is a CA's")]
    Ca,
    /// AMB-05: no valid SVID lacks it.
    #[error("the certificate has no key usage")]
    NoKeyUsage,
    /// X509-07.
    #[error("the key may not make signatures")]
    NoDigitalSignature,
    /// X509V-03, X509V-04.
    #[error("the key may sign certificates or revocation lists")]
    SigningKeyUsage,
    /// X509-11.
    #[error("the extended key usage lacks server or client authentication")]
    ExtendedKeyUsage,
    /// X509V-07, X509V-08.
    #[error("the certificate has {0} URI names instead of one")]
    UriCount(usize),
    /// X509V-05, X509V-10.
    #[error("the URI name is not a SPIFFE ID: {0}")]
    SpiffeId(#[from] BadSpiffeId),
    /// X509V-06.
    #[error("the SPIFFE ID has no path")]
    RootPath,
    /// A broker shows it to a source; as a peer it is nobody (SID-22).
    #[error("it is a brokered identity, which is for sources alone")]
    Brokered,
    /// A broker's own document was wanted.
    #[error("it is not a brokered identity")]
    NotBrokered,
    /// X509V-09: no bundle of the ID's trust domain.
    #[error("there is no bundle of trust domain {0}")]
    NoBundle(crate::TrustDomain),
    /// X509V-01.
    #[error("the chain does not lead to an authority of its trust domain: {0}")]
    Path(webpki::Error),
}

impl BadX509Svid {
    /// Whether it would be good at another time: it ran out, or is not valid yet.
    pub fn is_of_time(&self) -> bool {
        matches!(self, Self::Path(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }))
    }
}

impl X509Svid {
    /// The longest chain, in certificates.
    pub const MAX_CHAIN: usize = 8;
    /// The largest certificate, in bytes of DER.
    pub const MAX_CERTIFICATE: usize = 16 * 1024;

    /// Checks a chain, leaf first. Limits come before parsing, the profile before cryptography, and only the bundle
    /// of the leaf's own trust domain is consulted (X509V-01 to X509V-12). Brokered identities are nobody's, whoever
    /// asks (SID-22).
    pub fn verify(chain: &[CertificateDer<'_>], bundles: &Bundles, now: Millis) -> Result<Self, BadX509Svid> {
        Self::verify_as(Purpose::Peer, chain, bundles, now)
    }

    /// Checks a chain that a broker is about to show to a source, and takes nothing else: the same rules, but for the
    /// extended key usage, which is client authentication alone, so that nobody takes it for a server's.
    pub fn verify_brokered(chain: &[CertificateDer<'_>], bundles: &Bundles, now: Millis) -> Result<Self, BadX509Svid> {
        Self::verify_as(Purpose::Source, chain, bundles, now)
    }

    fn verify_as(
        purpose: Purpose,
        chain: &[CertificateDer<'_>],
        bundles: &Bundles,
        now: Millis,
    ) -> Result<Self, BadX509Svid> {
        let (leaf, intermediates) = chain.split_first().ok_or(BadX509Svid::Empty)?;
        if chain.len() > Self::MAX_CHAIN {
            return Err(BadX509Svid::ChainTooLong);
        }
        if chain.iter().any(|certificate| certificate.len() > Self::MAX_CERTIFICATE) {
            return Err(BadX509Svid::TooLarge);
        }
        let profile = Profile::read(leaf).ok_or(BadX509Svid::Malformed)?;
        let id = check_leaf(&profile, purpose)?;
        let bundle = bundles.of(&id.trust_domain()).ok_or_else(|| BadX509Svid::NoBundle(id.trust_domain()))?;
        check_path(leaf, intermediates, bundle, purpose, now).map_err(BadX509Svid::Path)?;
        Ok(Self {
            id,
            serial: profile.serial.to_vec(),
            not_before: profile.not_before,
            not_after: profile.not_after,
            public_key: profile.public_key.to_vec(),
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        })
    }

    /// Whose it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// DER, leaf first, as it was shown.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The leaf's serial number, big-endian, as encoded.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// When the leaf begins to be valid.
    pub fn not_before(&self) -> Millis {
        self.not_before
    }

    /// When the leaf ends to be valid; at this moment it is still valid.
    pub fn not_after(&self) -> Millis {
        self.not_after
    }

    /// The leaf's SubjectPublicKeyInfo, DER: compare it with the key's own to know that they fit.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl std::fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("X509Svid").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Whom a leaf is shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Peer,
    Source,
}

fn check_leaf(leaf: &Profile<'_>, purpose: Purpose) -> Result<SpiffeId, BadX509Svid> {
    if leaf.is_ca() {
        return Err(BadX509Svid::Ca);
    }
    let usage = leaf.key_usage.as_ref().ok_or(BadX509Svid::NoKeyUsage)?;
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(BadX509Svid::SigningKeyUsage);
    }
    if !usage.value.digital_signature() {
        return Err(BadX509Svid::NoDigitalSignature);
    }
    let [uri] = leaf.uris[..] else {
        return Err(BadX509Svid::UriCount(leaf.uris.len()));
    };
    let id = SpiffeId::parse(uri)?;
    if id.path().is_empty() {
        return Err(BadX509Svid::RootPath);
    }
    let usage = leaf.extended_usage.as_ref();
    let fits = match purpose {
        Purpose::Peer if id.is_brokered() => return Err(BadX509Svid::Brokered),
        Purpose::Source if !id.is_brokered() => return Err(BadX509Svid::NotBrokered),
        Purpose::Peer => usage.is_none_or(|usage| usage.server_auth && usage.client_auth),
        Purpose::Source => usage.is_some_and(|usage| !usage.server_auth && usage.client_auth),
    };
    if fits { Ok(id) } else { Err(BadX509Svid::ExtendedKeyUsage) }
}

/// What webpki leaves out is added: authorities must themselves be CAs that may sign certificates, valid now, and
/// their path length counts; intermediates must have `keyCertSign`.
fn check_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &Bundle,
    purpose: Purpose,
    now: Millis,
) -> Result<(), webpki::Error> {
    let usable: Vec<(TrustAnchor<'_>, Option<u32>)> = bundle
        .x509
        .iter()
        .filter_map(|authority| {
            let profile = Profile::read(&authority.0)?;
            let valid = profile.not_before <= now && now <= profile.not_after;
            let anchor = webpki::anchor_from_trusted_cert(&authority.0).ok()?;
            (valid && profile.may_sign_certificates()).then_some((anchor, profile.path_length()))
        })
        .collect();
    let anchors: Vec<TrustAnchor<'_>> = usable.iter().map(|(anchor, _)| anchor.clone()).collect();
    let within = |path: &webpki::VerifiedPath<'_>| {
        let mut below: u32 = 0;
        for certificate in path.intermediate_certificates() {
            let signs = Profile::read(&certificate.der()).is_some_and(|profile| profile.may_sign_certificates());
            if !signs {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
            below = below.saturating_add(1);
        }
        let allowed = usable
            .iter()
            .any(|(anchor, length)| anchor == path.anchor() && length.is_none_or(|length| below <= length));
        if allowed { Ok(()) } else { Err(webpki::Error::PathLenConstraintViolated) }
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.seconds()).unwrap_or(0)));
    webpki::EndEntityCert::try_from(leaf)?.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        intermediates,
        time,
        match purpose {
            Purpose::Peer => webpki::KeyUsage::server_auth(),
            Purpose::Source => webpki::KeyUsage::client_auth(),
        },
        None,
        Some(&within),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
