//! Public keys that sign JWT-SVIDs, read from their SubjectPublicKeyInfo and written as JWKs.

use crate::{Bundle, JwtAuthority, X509Authority};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A key of a kind that JWT-SVIDs may be signed with.
pub(super) enum PublicKey<'a> {
    /// On a curve.
    Ec {
        /// Which.
        curve: Curve,
        /// The point, uncompressed: 4, x, y.
        point: &'a [u8],
    },
    /// RSA.
    Rsa {
        /// RSAPublicKey, DER.
        der: &'a [u8],
        /// Big-endian, without leading zeros.
        modulus: Vec<u8>,
        /// Big-endian, without leading zeros.
        exponent: Vec<u8>,
    },
}

/// NIST's curves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Bytes of a coordinate.
    pub fn len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }
}

impl<'a> PublicKey<'a> {
    /// Reads DER; None for other kinds of keys, and for anything after the key.
    pub fn read(spki: &'a [u8]) -> Option<Self> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(spki).ok()?;
        // The parser's value borrows from itself; the bytes it names are the end of ours.
        let data = &spki[spki.len().checked_sub(info.subject_public_key.data.len())?..];
        if !rest.is_empty() || info.subject_public_key.unused_bits != 0 || data != &*info.subject_public_key.data {
            return None;
        }
        match info.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.10045.2.1" => {
                let curve = match info.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string().as_str() {
                    "1.2.840.10045.3.1.7" => Curve::P256,
                    "1.3.132.0.34" => Curve::P384,
                    "1.3.132.0.35" => Curve::P521,
                    _ => return None,
                };
                let whole = data.len() == 1 + 2 * curve.len() && data.first() == Some(&4);
                whole.then_some(Self::Ec { curve, point: data })
            }
            "1.2.840.113549.1.1.1" => {
                let Parsed::RSA(key) = info.parsed().ok()? else {
                    return None;
                };
                let (modulus, exponent) = (trimmed(key.modulus), trimmed(key.exponent));
                Some(Self::Rsa { der: data, modulus, exponent })
            }
            _ => None,
        }
    }

    /// The algorithm that tokens under this key have, where avouch signs with it.
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec { curve: Curve::P256, .. } => "ES256",
            Self::Ec { curve: Curve::P384, .. } => "ES384",
            Self::Ec { curve: Curve::P521, .. } => "ES512",
            Self::Rsa { .. } => "RS256",
        }
    }

    fn jwk(&self) -> Map<String, Value> {
        let text = |bytes: &[u8]| Value::String(URL_SAFE_NO_PAD.encode(bytes));
        let members = match self {
            Self::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(curve.len());
                vec![("kty", json!("EC")), ("crv", json!(curve.name())), ("x", text(x)), ("y", text(y))]
            }
            Self::Rsa { modulus, exponent, .. } => {
                vec![("kty", json!("RSA")), ("n", text(modulus)), ("e", text(exponent))]
            }
        };
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Without the zeros that DER puts before an integer whose highest bit is set.
fn trimmed(integer: &[u8]) -> Vec<u8> {
    integer.iter().skip_while(|byte| **byte == 0).copied().collect()
}

impl JwtAuthority {
    /// The key as RFC 7517 has it, with `kid` and `use`; none if it is of no kind that JWT-SVIDs are signed with.
    pub fn jwk(&self) -> Option<Map<String, Value>> {
        let mut jwk = PublicKey::read(&self.public_key)?.jwk();
        jwk.insert("kid".to_owned(), json!(self.kid));
        jwk.insert("use".to_owned(), json!("jwt-svid"));
        Some(jwk)
    }

    /// The same as OpenID verifiers want it: `use: sig`, and the one algorithm of tokens under it.
    fn openid_jwk(&self) -> Option<Map<String, Value>> {
        let mut jwk = self.jwk()?;
        jwk.insert("use".to_owned(), json!("sig"));
        jwk.insert("alg".to_owned(), json!(self.algorithm()?));
        Some(jwk)
    }

    /// The algorithm of tokens that avouch signs under it.
    pub fn algorithm(&self) -> Option<&'static str> {
        PublicKey::read(&self.public_key).map(|key| key.algorithm())
    }
}

impl X509Authority {
    /// The authority as an entry of a SPIFFE bundle (X509B-01 to X509B-03): its key, and the whole certificate.
    fn jwk(&self) -> Option<Map<String, Value>> {
        let (_, certificate) = X509Certificate::from_der(&self.0).ok()?;
        let mut jwk = PublicKey::read(certificate.public_key().raw)?.jwk();
        jwk.insert("use".to_owned(), json!("x509-svid"));
        jwk.insert("x5c".to_owned(), json!([STANDARD.encode(&self.0)]));
        Some(jwk)
    }
}

impl Bundle {
    /// The JWT authorities as a JWK Set, for the Workload API (WAJ-10, WAJ-11): JWT keys alone, each with `kid` and,
    /// as in a SPIFFE bundle, `use: jwt-svid` (JWTB-01, JWTB-02). A key that could verify nothing is left out.
    pub fn jwks(&self) -> String {
        let keys: Vec<_> = self.jwt.iter().filter_map(JwtAuthority::jwk).collect();
        json!({ "keys": keys }).to_string()
    }

    /// The JWT authorities as a JWK Set for OpenID verifiers.
    pub fn openid_jwks(&self) -> String {
        let keys: Vec<_> = self.jwt.iter().filter_map(JwtAuthority::openid_jwk).collect();
        json!({ "keys": keys }).to_string()
    }

    /// The whole as a SPIFFE bundle (BND-01 to BND-08). `sequence` grows with each change of the contents, and
    /// `refresh_hint` says in seconds how often to look.
    pub fn document(&self, sequence: u64, refresh_hint: u64) -> String {
        let x509 = self.x509.iter().filter_map(X509Authority::jwk);
        let keys: Vec<_> = x509.chain(self.jwt.iter().filter_map(JwtAuthority::jwk)).collect();
        json!({ "keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": refresh_hint }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrustDomain;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PublicKeyData as _};

    fn bundle() -> Bundle {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let jwt = JwtAuthority { kid: "k1".to_owned(), public_key: key.subject_public_key_info() };
        let nothing = JwtAuthority { kid: "k2".to_owned(), public_key: b"no key".to_vec() };
        Bundle {
            trust_domain: TrustDomain::parse("example.test").unwrap(),
            x509: vec![X509Authority(certificate.der().clone())],
            jwt: vec![jwt, nothing],
        }
    }

    #[test]
    fn a_bundle_document_has_every_authority_by_its_use_and_what_cannot_be_read_is_left_out() {
        let bundle = bundle();
        let document: Value = serde_json::from_str(&bundle.document(9_007_199_254_740_993, 300)).unwrap();
        assert_eq!(document["spiffe_sequence"].as_u64(), Some(9_007_199_254_740_993));
        assert_eq!(document["spiffe_refresh_hint"], 300);
        let [x509, jwt] = document["keys"].as_array().unwrap().as_slice() else { panic!("{document}") };
        assert_eq!((&x509["use"], &jwt["use"]), (&json!("x509-svid"), &json!("jwt-svid")));
        assert_eq!(x509["kid"], Value::Null);
        assert_eq!(x509["x5c"], json!([STANDARD.encode(&bundle.x509[0].0)]));
        assert_eq!((&x509["x"], &x509["y"], &jwt["kid"]), (&jwt["x"], &jwt["y"], &json!("k1")));
    }

    #[test]
    fn openid_keys_are_for_signatures_and_name_their_algorithm() {
        let keys: Value = serde_json::from_str(&bundle().openid_jwks()).unwrap();
        let [key] = keys["keys"].as_array().unwrap().as_slice() else { panic!("{keys}") };
        assert_eq!((&key["use"], &key["alg"], &key["kid"]), (&json!("sig"), &json!("ES256"), &json!("k1")));
    }
}
