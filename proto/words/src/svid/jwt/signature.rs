//! The nine algorithms of JWT-SVIDs (JWT-SVID.md §3), each with the one kind of key that fits (JWTV-03).

use crate::svid::key::{Curve, PublicKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// One of the nine.
#[derive(Clone, Copy)]
pub(super) enum Algorithm {
    /// ECDSA over the curve with the hash that belongs to it.
    Ec(Curve),
    /// RSA.
    Rsa(&'static dyn VerificationAlgorithm),
}

impl Algorithm {
    /// By its exact name; none for any other (JWTV-01).
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ES256" => Self::Ec(Curve::P256),
            "ES384" => Self::Ec(Curve::P384),
            "ES512" => Self::Ec(Curve::P521),
            "RS256" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            "PS256" => Self::Rsa(&RSA_PSS_2048_8192_SHA256),
            "PS384" => Self::Rsa(&RSA_PSS_2048_8192_SHA384),
            "PS512" => Self::Rsa(&RSA_PSS_2048_8192_SHA512),
            _ => return None,
        })
    }

    /// Whether the key is of this algorithm's kind and made this signature.
    pub fn verifies(self, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
        match (self, PublicKey::read(spki)) {
            (Self::Ec(wanted), Some(PublicKey::Ec { curve, point })) if wanted == curve => {
                verify_ec(curve, point, message, signature)
            }
            (Self::Rsa(algorithm), Some(PublicKey::Rsa { der, .. })) => {
                UnparsedPublicKey::new(algorithm, der).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

fn verify_ec(curve: Curve, point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    match curve {
        Curve::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok(),
        Curve::P384 => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok(),
        Curve::P521 => verify_p521(point, message, signature).is_some(),
    }
}

/// ring has no P-521.
fn verify_p521(point: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    use p521::ecdsa::signature::Verifier;
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
    let signature = p521::ecdsa::Signature::from_slice(signature).ok()?;
    key.verify(message, &signature).ok()
}
