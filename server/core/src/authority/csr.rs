//! Certificate requests. Only the public key is taken; names, extensions and attributes are not even looked at
//! (rule H02).

use crate::keys::KeyError;
use avouch_words::{Digest, Secret};
use ring::rand::SecureRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use std::fmt;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256};
use x509_parser::prelude::FromDer;

/// A P-256 public key whose holder has shown to have the private half.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvenKey([u8; POINT]);

impl fmt::Debug for ProvenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProvenKey({})", self.digest())
    }
}

/// Why a certificate request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCsr {
    /// Over [`MAX_CSR`].
    #[error("it is longer than {MAX_CSR} bytes")]
    TooLong,
    /// Not PKCS#10 DER, or something follows it.
    #[error("it is not PKCS#10 DER")]
    Malformed,
    /// The key is no uncompressed point on P-256, or it signed with something else than SHA-256.
    #[error("its key is not ECDSA on P-256 with SHA-256")]
    Algorithm,
    /// The signature does not verify under the key it carries.
    #[error("it is not signed by its own key")]
    Signature,
}

impl ProvenKey {
    /// The key of a PKCS#10 request in DER, if the request is signed by it.
    pub fn from_csr(csr: &[u8]) -> Result<Self, BadCsr> {
        if csr.len() > MAX_CSR {
            return Err(BadCsr::TooLong);
        }
        let (rest, request) = X509CertificationRequest::from_der(csr).map_err(|_| BadCsr::Malformed)?;
        if !rest.is_empty() {
            return Err(BadCsr::Malformed);
        }
        let info = &request.certification_request_info;
        let key = &info.subject_pki;
        let on_p256 = key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
            && key
                .algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.as_oid().ok())
                .is_some_and(|oid| oid == OID_EC_P256);
        if !on_p256 || request.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
            return Err(BadCsr::Algorithm);
        }
        let point: [u8; POINT] = key.subject_public_key.data.as_ref().try_into().map_err(|_| BadCsr::Algorithm)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point)
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| BadCsr::Signature)?;
        Ok(Self(point))
    }

    /// The uncompressed point.
    pub fn point(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of the point: what a used join token remembers.
    pub fn digest(&self) -> Digest {
        Digest::of(&[&self.0])
    }
}

/// A fresh P-256 key for the issuer's own TLS identity: PKCS#8 DER, and the public half, of which the private one
/// is plainly held.
pub fn own_key(rng: &dyn SecureRandom) -> Result<(Secret, ProvenKey), KeyError> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, rng).map_err(|_| KeyError::Broken)?;
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), rng).map_err(|_| KeyError::Broken)?;
    let point = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Broken)?;
    Ok((Secret::new(pkcs8.as_ref().to_vec()), ProvenKey(point)))
}

/// The longest request, in bytes of DER: ten times what an honest one needs.
pub const MAX_CSR: usize = 4096;
/// An uncompressed point on P-256.
const POINT: usize = 65;

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair as RcgenKey,
        KeyUsagePurpose, SanType,
    };

    fn csr(key: &RcgenKey, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        change(&mut params);
        params.serialize_request(key).unwrap().der().to_vec()
    }

    #[test]
    fn only_the_key_of_a_request_is_taken() {
        let key = RcgenKey::generate().unwrap();
        let plain = ProvenKey::from_csr(&csr(&key, |_| {})).unwrap();
        assert_eq!(plain.point(), key.public_key_raw());
        let greedy = csr(&key, |params| {
            params.distinguished_name.push(DnType::CommonName, "root");
            params.subject_alt_names = vec![
                SanType::URI("spiffe://example.test/issuer".try_into().unwrap()),
                SanType::DnsName("bank.test".try_into().unwrap()),
            ];
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        });
        assert_eq!(ProvenKey::from_csr(&greedy), Ok(plain));
    }

    #[test]
    fn a_request_that_its_key_did_not_sign_is_refused() {
        let good = csr(&RcgenKey::generate().unwrap(), |_| {});
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(ProvenKey::from_csr(&forged), Err(BadCsr::Signature));
        let (mine, yours) = (RcgenKey::generate().unwrap(), RcgenKey::generate().unwrap());
        let swapped: Vec<u8> = {
            let der = csr(&mine, |_| {});
            let at = der.windows(65).position(|w| w == mine.public_key_raw()).unwrap();
            [&der[..at], yours.public_key_raw(), &der[at + 65..]].concat()
        };
        assert_eq!(ProvenKey::from_csr(&swapped), Err(BadCsr::Signature));
    }

    #[test]
    fn other_algorithms_and_other_bytes_are_refused() {
        for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = RcgenKey::generate_for(algorithm).unwrap();
            assert_eq!(ProvenKey::from_csr(&csr(&key, |_| {})), Err(BadCsr::Algorithm));
        }
        let good = csr(&RcgenKey::generate().unwrap(), |_| {});
        assert_eq!(ProvenKey::from_csr(&[&good[..], &[0]].concat()), Err(BadCsr::Malformed));
        assert_eq!(ProvenKey::from_csr(&vec![0x30; MAX_CSR + 1]), Err(BadCsr::TooLong));
        for length in 0..good.len() {
            assert!(ProvenKey::from_csr(&good[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_never_panics_and_never_yields_another_key() {
        let key = RcgenKey::generate().unwrap();
        let good = csr(&key, |_| {});
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            if let Ok(proven) = ProvenKey::from_csr(&bad) {
                assert_eq!(proven.point(), key.public_key_raw(), "bit {at}");
            }
        }
    }
}
