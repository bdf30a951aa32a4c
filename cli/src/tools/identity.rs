//! Whom the tool is over TLS: a certificate authority of its own, whose key is thrown away at once, and one leaf.

use avouch_words::{Clock, Millis};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::time::Duration;
use time::OffsetDateTime;

/// Certificates and a key for the tool's TLS side.
pub struct TlsIdentity {
    /// The authority's certificate: what a binding's `ca` trusts.
    pub ca_pem: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    leaf_pem: String,
    key_pem: String,
}

impl TlsIdentity {
    /// A new authority that signs one leaf for this host name, and never anything again.
    pub fn make(host: &str, clock: &dyn Clock) -> io::Result<Self> {
        let (not_before, not_after) = validity(clock.now())?;
        let mut ca = CertificateParams::default();
        ca.distinguished_name = name("avouch local tool authority");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (ca.not_before, ca.not_after) = (not_before, not_after);
        let mut leaf = CertificateParams::new(vec![host.to_owned()]).map_err(io::Error::other)?;
        leaf.distinguished_name = name("avouch local tool");
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        (leaf.not_before, leaf.not_after) = (not_before, not_after);
        let new_key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other);
        let (ca_key, leaf_key) = (new_key()?, new_key()?);
        let ca_pem = ca.self_signed(&ca_key).map_err(io::Error::other)?.pem();
        let issuer = Issuer::new(ca, ca_key);
        let leaf_pem = leaf.signed_by(&leaf_key, &issuer).map_err(io::Error::other)?.pem();
        Self::from_pem(ca_pem, leaf_pem, leaf_key.serialize_pem())
    }

    /// The leaf and its key as PEM, to be read again by [`Self::from_pem`].
    pub fn leaf_and_key_pem(&self) -> (&str, &str) {
        (&self.leaf_pem, &self.key_pem)
    }

    /// What was made and written down before.
    pub fn from_pem(ca_pem: String, leaf_pem: String, key_pem: String) -> io::Result<Self> {
        let leaf = CertificateDer::from_pem_slice(leaf_pem.as_bytes()).map_err(io::Error::other)?;
        let authority = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(io::Error::other)?;
        Ok(Self { chain: vec![leaf, authority], key, ca_pem, leaf_pem, key_pem })
    }
}

fn validity(now: Millis) -> io::Result<(OffsetDateTime, OffsetDateTime)> {
    let now = OffsetDateTime::from_unix_timestamp(now.seconds()).map_err(io::Error::other)?;
    Ok((now - SKEW, now + LIFE))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// How far another clock may be behind.
const SKEW: Duration = Duration::from_secs(3_600);
/// A tool to try with, kept for as long as `avouch dev` is used on a machine.
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
