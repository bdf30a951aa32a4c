//! X.509 authorities: their certificate, and the leaves they sign. Each certificate is built with a constant dummy
//! signature and linted; then the real key signs the very bytes that were linted (rule P01).

use super::{AuthorityError, ProvenKey, der};
use crate::issue::X509Permit;
use crate::keys::{Purpose, Signer};
use crate::node::Serial;
use avouch_words::svid::x509::{Violation, lint_ca, lint_leaf};
use avouch_words::{Digest, Millis, SpiffeId, TrustDomain, Ulid, X509Authority};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};
use ring::rand::SecureRandom;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// A signed leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedX509 {
    /// Whose it is.
    pub id: SpiffeId,
    /// DER.
    pub certificate: CertificateDer<'static>,
    /// Its serial number.
    pub serial: Serial,
    /// When it begins to be valid.
    pub not_before: Millis,
    /// When it ends.
    pub not_after: Millis,
}

/// An X.509 authority with its key at hand.
#[derive(Debug)]
pub struct X509Signer {
    id: Ulid,
    certificate: X509Authority,
    not_before: Millis,
    not_after: Millis,
    /// rcgen's view of the authority: its name and key identifier.
    params: CertificateParams,
    signer: Arc<dyn Signer>,
}

/// The self-signed certificate of a new authority (rows X509-20 to X509-29), valid from now for `life`.
pub fn make_certificate(
    trust_domain: &TrustDomain,
    id: Ulid,
    signer: &dyn Signer,
    life: Duration,
    now: Millis,
    rng: &dyn SecureRandom,
) -> Result<CertificateDer<'static>, AuthorityError> {
    if signer.purpose() != Purpose::X509Authority {
        return Err(AuthorityError::Mismatch(id));
    }
    let not_before = Millis(now.0 - millis(BACKDATED)?);
    let mut params = authority_params(id, signer.public_key());
    params.serial_number = Some(SerialNumber::from(serial(rng)?.0.to_vec()));
    params.subject_alt_names = vec![uri(&trust_domain.id())?];
    params.not_before = moment(not_before)?;
    params.not_after = moment(now.plus(life))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let dummy = params.self_signed(&Dummy(signer.public_key())).map_err(|_| AuthorityError::Build)?;
    clean(&lint_ca(dummy.der(), trust_domain))?;
    finish(dummy.der(), signer, rng)
}

impl X509Signer {
    /// An authority as it was stored, checked to be this trust domain's and to fit its key.
    pub fn open(
        trust_domain: &TrustDomain,
        id: Ulid,
        certificate: CertificateDer<'static>,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, AuthorityError> {
        let mismatch = || AuthorityError::Mismatch(id);
        let (rest, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| mismatch())?;
        let fits = rest.is_empty()
            && signer.purpose() == Purpose::X509Authority
            && parsed.public_key().subject_public_key.data.as_ref() == signer.public_key()
            && lint_ca(&certificate, trust_domain).is_empty();
        if !fits {
            return Err(mismatch());
        }
        let bound =
            |time: x509_parser::time::ASN1Time| time.timestamp().checked_mul(1000).map(Millis).ok_or_else(mismatch);
        let (not_before, not_after) = (bound(parsed.validity().not_before)?, bound(parsed.validity().not_after)?);
        let params = authority_params(id, signer.public_key());
        drop(parsed);
        Ok(Self { id, not_before, not_after, params, signer, certificate: X509Authority(certificate) })
    }

    /// Its identifier.
    pub fn id(&self) -> Ulid {
        self.id
    }

    /// Its certificate.
    pub fn certificate(&self) -> &X509Authority {
        &self.certificate
    }

    /// When it ends.
    pub fn not_after(&self) -> Millis {
        self.not_after
    }

    /// Signs a leaf for the holder of a key, as permitted. It never outlives the authority. The one URI name is the
    /// identity; a subject and DNS names are there only if the registration says so. A brokered one is for clients
    /// alone, and repeats its ID's path as its common name, as there are sources that give nothing to who has none.
    pub fn sign(
        &self,
        permit: &X509Permit,
        key: &ProvenKey,
        now: Millis,
        rng: &dyn SecureRandom,
    ) -> Result<IssuedX509, AuthorityError> {
        let not_before = Millis((now.0 - millis(BACKDATED)?).max(self.not_before.0)).whole_second();
        let not_after = now.plus(permit.ttl()).min(self.not_after).whole_second();
        if not_after <= now || not_before > now {
            return Err(AuthorityError::EndsTooSoon);
        }
        let serial = serial(rng)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(serial.0.to_vec()));
        if !permit.names().common.is_empty() {
            params.distinguished_name.push(DnType::CommonName, permit.names().common.as_str());
        }
        params.subject_alt_names = vec![uri(permit.id())?];
        for name in &permit.names().dns {
            let name = name.as_str().try_into().map_err(|_| AuthorityError::Build)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.not_before = moment(not_before)?;
        params.not_after = moment(not_after)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(path) = permit.id().path().strip_prefix("/brokered/") {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.distinguished_name.push(DnType::CommonName, common_name(path));
        }
        params.use_authority_key_identifier_extension = true;
        params.key_identifier_method = key_identifier(key.point());
        let issuer = Issuer::from_params(&self.params, Dummy(self.signer.public_key()));
        let dummy = params.signed_by(&Subject(key), &issuer).map_err(|_| AuthorityError::Build)?;
        clean(&lint_leaf(dummy.der(), permit.id(), &self.certificate))?;
        let certificate = finish(dummy.der(), self.signer.as_ref(), rng)?;
        Ok(IssuedX509 { id: permit.id().clone(), certificate, serial, not_before, not_after })
    }
}

/// The path, or where it is longer than a common name may be, its digest.
fn common_name(path: &str) -> String {
    if path.len() <= MAX_COMMON_NAME { path.to_owned() } else { Digest::of(&[path.as_bytes()]).to_string() }
}

/// Certificates know whole seconds only.
trait WholeSecond {
    fn whole_second(self) -> Self;
}

impl WholeSecond for Millis {
    fn whole_second(self) -> Self {
        Self(self.seconds() * 1000)
    }
}

/// The real signature under the bytes that were linted.
fn finish(
    dummy: &[u8],
    signer: &dyn Signer,
    rng: &dyn SecureRandom,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let signed_part = der::signed_part(dummy).ok_or(AuthorityError::Build)?;
    let signature = signer.sign(signed_part, rng)?;
    Ok(CertificateDer::from(der::certificate(signed_part, &signature)))
}

fn clean(violations: &[Violation]) -> Result<(), AuthorityError> {
    if violations.is_empty() {
        return Ok(());
    }
    let said: Vec<String> = violations.iter().map(ToString::to_string).collect();
    Err(AuthorityError::Lint(said.join("; ")))
}

/// Name and key identifier of an authority; the name tells two authorities of one trust domain apart.
fn authority_params(id: Ulid, point: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "avouch");
    params.distinguished_name.push(DnType::CommonName, format!("X.509 authority {id}"));
    params.key_identifier_method = key_identifier(point);
    params
}

/// The leftmost 160 bits of the SHA-256 of the key (RFC 7093 §2, method 1).
fn key_identifier(point: &[u8]) -> KeyIdMethod {
    KeyIdMethod::PreSpecified(Digest::of(&[point]).as_bytes()[..20].to_vec())
}

/// Positive, 16 bytes in every encoding, 126 of its bits random.
fn serial(rng: &dyn SecureRandom) -> Result<Serial, AuthorityError> {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(Serial(bytes))
}

fn uri(id: &SpiffeId) -> Result<SanType, AuthorityError> {
    id.as_str().try_into().map(SanType::URI).map_err(|_| AuthorityError::Build)
}

fn moment(time: Millis) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(time.seconds()).map_err(|_| AuthorityError::Build)
}

fn millis(duration: Duration) -> Result<i64, AuthorityError> {
    i64::try_from(duration.as_millis()).map_err(|_| AuthorityError::Build)
}

/// Signs nothing: always the same bytes, which verify under no key.
struct Dummy<'a>(&'a [u8]);

impl PublicKeyData for Dummy<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Dummy<'_> {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(DUMMY_SIGNATURE.to_vec())
    }
}

struct Subject<'a>(&'a ProvenKey);

impl PublicKeyData for Subject<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// RFC 5280 appendix A.1, `ub-common-name`; a digest has as many digits.
const MAX_COMMON_NAME: usize = 64;
/// How far before now a certificate begins, for verifiers whose clocks are behind: as far as clocks may differ.
const BACKDATED: Duration = crate::refusal::MAX_CLOCK_DIFFERENCE;
/// ASN.1 of the signature r = 0, s = 0.
const DUMMY_SIGNATURE: &[u8] = &[0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00];

#[cfg(test)]
mod tests;
