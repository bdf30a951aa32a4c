//! Keys of every kind, and tokens signed with them.

use crate::{Bundle, JwtAuthority, TrustDomain};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use serde_json::Value;

/// The tester's keys, one of each kind.
pub struct Keys {
    pub p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    p521: p521::ecdsa::SigningKey,
    pub rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
}

/// DER of one element.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..128 => vec![short as u8],
        long => vec![0x82, (long >> 8) as u8, long as u8],
    };
    [&[tag], &length[..], content].concat()
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    tlv(0x30, &[tlv(0x30, algorithm), tlv(0x03, &[&[0], key].concat())].concat())
}

const EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

impl Keys {
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let ec = |algorithm| {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
        };
        Self {
            p256: ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            p521: p521::ecdsa::SigningKey::from_slice(&[1; 66]).unwrap(),
            rsa: RsaKeyPair::from_pkcs8(include_bytes!("../../../../testdata/tester.rsa.pk8")).unwrap(),
            ed25519: Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap(),
        }
    }

    fn spki(&self, kid: &str) -> Vec<u8> {
        match kid {
            "p256" => spki(&[EC, P256].concat(), self.p256.public_key().as_ref()),
            "p384" => spki(&[EC, P384].concat(), self.p384.public_key().as_ref()),
            "p521" => spki(&[EC, P521].concat(), self.p521.verifying_key().to_sec1_point(false).as_bytes()),
            "rsa" => spki(RSA, self.rsa.public_key().as_ref()),
            _ => spki(ED25519, self.ed25519.public_key().as_ref()),
        }
    }

    pub fn bundle(&self, trust_domain: &str, kids: &[&str]) -> Bundle {
        let jwt = kids.iter().map(|kid| JwtAuthority { kid: (*kid).to_owned(), public_key: self.spki(kid) }).collect();
        Bundle { trust_domain: TrustDomain::parse(trust_domain).unwrap(), x509: Vec::new(), jwt }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        use p521::ecdsa::signature::Signer;
        let random = SystemRandom::new();
        let rsa = |encoding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(encoding, &random, message, &mut signature).unwrap();
            signature
        };
        match algorithm {
            "ES256" => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES512" => {
                let signature: p521::ecdsa::Signature = self.p521.sign(message);
                signature.to_bytes().to_vec()
            }
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            "HS256" => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.spki("p256"));
                ring::hmac::sign(&key, message).as_ref().to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// A token with this header and payload as they are, really signed by what `signer` names.
    pub fn raw(&self, header: &str, payload: &str, signer: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signer, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub fn token(&self, header: &Value, claims: &Value) -> String {
        self.raw(&header.to_string(), &claims.to_string(), header["alg"].as_str().unwrap_or("ES256"))
    }
}
