//! Keys that ring holds in this process.

use avouch_core::keys::{KeyError, Purpose, Signer};
use avouch_words::Secret;
use ring::rand::SecureRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use std::fmt;

/// A key pair and what it is for.
pub(crate) struct SoftwareKey {
    purpose: Purpose,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SoftwareKey {
    /// A new key, PKCS#8 DER.
    pub(crate) fn generate(purpose: Purpose, rng: &dyn SecureRandom) -> Result<Secret, KeyError> {
        let document = match algorithm(purpose) {
            Some(algorithm) => EcdsaKeyPair::generate_pkcs8(algorithm, rng),
            None => Ed25519KeyPair::generate_pkcs8(rng),
        };
        document.map(|document| Secret::new(document.as_ref().to_vec())).map_err(|_| KeyError::Broken)
    }

    /// The key of PKCS#8 DER.
    pub(crate) fn read(purpose: Purpose, pkcs8: &Secret, rng: &dyn SecureRandom) -> Result<Self, KeyError> {
        let pair = match algorithm(purpose) {
            Some(algorithm) => EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.expose(), rng).map(Pair::P256),
            None => Ed25519KeyPair::from_pkcs8(pkcs8.expose()).map(Pair::Ed25519),
        };
        Ok(Self { purpose, pair: pair.map_err(|_| KeyError::Broken)? })
    }
}

impl Signer for SoftwareKey {
    fn purpose(&self) -> Purpose {
        self.purpose
    }

    fn public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::P256(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    fn sign(&self, message: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::P256(pair) => {
                pair.sign(rng, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError::Broken)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareKey({})", self.purpose.as_str())
    }
}

/// None for Ed25519, which has but one.
fn algorithm(purpose: Purpose) -> Option<&'static EcdsaSigningAlgorithm> {
    match purpose {
        Purpose::X509Authority => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
        Purpose::JwtAuthority => Some(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Purpose::Log => None,
    }
}
