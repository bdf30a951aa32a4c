//! Public keys that sign JWT-SVIDs, read from their SubjectPublicKeyInfo and written as JWKs.

use crate::{Bundle, JwtAuthority};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
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
}

impl Bundle {
    /// The JWT authorities as a JWK Set, for the Workload API (WAJ-10, WAJ-11): JWT keys alone, each with `kid` and,
    /// as in a SPIFFE bundle, `use: jwt-svid` (JWTB-01, JWTB-02). A key that could verify nothing is left out.
    pub fn jwks(&self) -> String {
        let keys: Vec<_> = self.jwt.iter().filter_map(JwtAuthority::jwk).collect();
        json!({ "keys": keys }).to_string()
    }
}
