//! The profile of certificates that avouch makes (X509-SVID.md §4, Appendix A). The issuer runs it over every
//! certificate while a dummy signature stands under it, before the real key signs.

use super::profile::Profile;
use crate::{SpiffeId, TrustDomain, X509Authority};

/// A rule that a certificate breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// The certificate or one of its extensions cannot be read.
    #[error("it cannot be read")]
    Malformed,
    /// X509-01, X509-23.
    #[error("it has not exactly one URI name")]
    UriCount,
    /// X509-01, X509-24, X509-25.
    #[error("its URI name is another than the one asked for")]
    OtherId,
    /// X509-03.
    #[error("its SPIFFE ID has no path")]
    RootPath,
    /// X509-04.
    #[error("its subject is empty and its names are not critical")]
    NamesNotCritical,
    /// X509-05.
    #[error("its basic constraints are not an explicit 'not a CA'")]
    BasicConstraints,
    /// X509-06.
    #[error("its key usage is absent")]
    KeyUsageAbsent,
    /// X509-06.
    #[error("its key usage is not critical")]
    KeyUsageNotCritical,
    /// X509-07.
    #[error("its key may not make signatures")]
    NoDigitalSignature,
    /// X509-08.
    #[error("its key may encipher or agree on keys")]
    Encipherment,
    /// X509-09.
    #[error("its key may sign certificates or revocation lists")]
    SigningKeyUsage,
    /// X509-10, X509-11; of a brokered identity: it is shown to sources and serves nobody.
    #[error("its extended key usage is not server and client authentication, or client alone if it is brokered")]
    ExtendedKeyUsage,
    /// X509-13.
    #[error("its key is not on P-256")]
    KeyType,
    /// X509-13: validity.
    #[error("it ends before it begins")]
    Validity,
    /// X509-13: it is valid when its authority is not.
    #[error("it is valid outside its authority's validity")]
    OutlivesAuthority,
    /// It names another issuer than the authority given.
    #[error("it names another issuer")]
    Issuer,
    /// RFC 5280 §4.1.2.2: a positive number of at most 20 bytes; ours has at least 8, random.
    #[error("its serial number is negative, zero, short or longer than 20 bytes")]
    Serial,
    /// An extension that verifiers would refuse.
    #[error("it has an unknown critical extension")]
    UnknownCritical,
    /// X509-20.
    #[error("it is not a CA's")]
    NotCa,
    /// X509-21.
    #[error("its key may not sign certificates")]
    NoCertSign,
    /// X509-22.
    #[error("its key may do more than sign certificates and revocation lists")]
    CaKeyUsage,
    /// X509-28.
    #[error("it has name constraints")]
    NameConstraints,
    /// X509-29.
    #[error("it has an extended key usage")]
    CaExtendedKeyUsage,
}

/// Holds a leaf against the profile: it is `id`'s and under `authority`.
pub fn lint_leaf(leaf: &[u8], id: &SpiffeId, authority: &X509Authority) -> Vec<Violation> {
    let (Some(leaf), Some(ca)) = (Profile::read(leaf), Profile::read(&authority.0)) else {
        return vec![Violation::Malformed];
    };
    let mut found = Findings(common(&leaf, id.as_str()));
    found.add(id.path().is_empty(), Violation::RootPath);
    found.add(leaf.subject == EMPTY_NAME && !leaf.names_critical, Violation::NamesNotCritical);
    let explicit = leaf.basic.as_ref().is_some_and(|basic| !basic.ca && basic.der == EMPTY_SEQUENCE);
    found.add(!explicit, Violation::BasicConstraints);
    if let Some(usage) = &leaf.key_usage {
        let usage = &usage.value;
        found.add(!usage.digital_signature(), Violation::NoDigitalSignature);
        found.add(usage.key_encipherment() || usage.key_agreement(), Violation::Encipherment);
        found.add(usage.key_cert_sign() || usage.crl_sign(), Violation::SigningKeyUsage);
    }
    let usage = leaf.extended_usage.as_ref();
    let fits = usage.is_some_and(|usage| usage.client_auth && usage.server_auth != id.is_brokered());
    found.add(!fits, Violation::ExtendedKeyUsage);
    found.add(!leaf.public_key.starts_with(P256_SPKI), Violation::KeyType);
    let inside = ca.not_before <= leaf.not_before && leaf.not_after <= ca.not_after;
    found.add(!inside, Violation::OutlivesAuthority);
    let same_key = match (leaf.authority_key, ca.subject_key) {
        (Some(named), Some(key)) => named == key,
        (None, _) => true,
        (Some(_), None) => false,
    };
    found.add(leaf.issuer != ca.subject || !same_key, Violation::Issuer);
    found.add(leaf.name_constraints, Violation::NameConstraints);
    found.0
}

/// Holds a signing certificate against the profile: it is an authority of `trust_domain`.
pub fn lint_ca(ca: &[u8], trust_domain: &TrustDomain) -> Vec<Violation> {
    let Some(ca) = Profile::read(ca) else {
        return vec![Violation::Malformed];
    };
    let mut found = Findings(common(&ca, trust_domain.id().as_str()));
    found.add(!ca.is_ca(), Violation::NotCa);
    if let Some(usage) = &ca.key_usage {
        found.add(!usage.value.key_cert_sign(), Violation::NoCertSign);
        found.add(usage.value.flags & !CA_USAGES != 0, Violation::CaKeyUsage);
    }
    found.add(ca.extended_usage.is_some(), Violation::CaExtendedKeyUsage);
    found.add(ca.name_constraints, Violation::NameConstraints);
    found.0
}

struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, broken: bool, violation: Violation) {
        if broken {
            self.0.push(violation);
        }
    }
}

fn common(certificate: &Profile<'_>, id: &str) -> Vec<Violation> {
    let mut found = Findings(Vec::new());
    match certificate.uris[..] {
        [uri] => found.add(uri != id, Violation::OtherId),
        _ => found.add(true, Violation::UriCount),
    }
    match &certificate.key_usage {
        Some(usage) => found.add(!usage.critical, Violation::KeyUsageNotCritical),
        None => found.add(true, Violation::KeyUsageAbsent),
    }
    let serial = certificate.serial;
    let positive = serial.first().is_some_and(|first| first & 0x80 == 0) && serial.iter().any(|byte| *byte != 0);
    found.add(!positive || !(8..=20).contains(&serial.len()), Violation::Serial);
    found.add(certificate.not_after <= certificate.not_before, Violation::Validity);
    found.add(certificate.unknown_critical, Violation::UnknownCritical);
    found.0
}

const EMPTY_NAME: &[u8] = &[0x30, 0x00];
const EMPTY_SEQUENCE: &[u8] = &[0x30, 0x00];
/// keyCertSign and cRLSign, as x509-parser numbers the bits.
const CA_USAGES: u16 = 1 << 5 | 1 << 6;
/// SubjectPublicKeyInfo of an uncompressed point on P-256, up to the point's bytes.
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
