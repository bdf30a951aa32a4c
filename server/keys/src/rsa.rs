//! RSA keys, which avouch never makes: brought as PEM, for audiences that want RS256.

use avouch_core::keys::{KeyError, Purpose, Signer};
use avouch_words::Secret;
use ring::rand::SecureRandom;
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use zeroize::Zeroizing;

/// An RSA key of 2048 to 4096 bits that signs tokens.
pub struct RsaKey(RsaKeyPair);

/// Why a text is not such a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not PEM of an RSA private key of 2048 to 4096 bits, as PKCS#8 or PKCS#1")]
pub struct NotRsa;

impl RsaKey {
    /// Reads PEM.
    pub fn from_pem(pem: &Secret) -> Result<Self, NotRsa> {
        // ring knows both forms, takes nothing below 2048 bits, and checks that the parts belong together.
        let pair = match PrivatePkcs8KeyDer::from_pem_slice(pem.expose()) {
            Ok(der) => RsaKeyPair::from_pkcs8(&wiped(der.secret_pkcs8_der())),
            Err(_) => {
                let der = PrivatePkcs1KeyDer::from_pem_slice(pem.expose()).map_err(|_| NotRsa)?;
                RsaKeyPair::from_der(&wiped(der.secret_pkcs1_der()))
            }
        };
        pair.map(Self).map_err(|_| NotRsa)
    }
}

impl Signer for RsaKey {
    fn purpose(&self) -> Purpose {
        Purpose::JwtAuthority
    }

    /// RSAPublicKey, DER.
    fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn sign(&self, message: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, rng, message, &mut signature).map_err(|_| KeyError::Broken)?;
        Ok(signature)
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaKey")
    }
}

fn wiped(der: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(der.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use std::process::Command;

    fn openssl(arguments: &[&str]) -> Secret {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Secret::new(output.stdout)
    }

    #[test]
    fn both_forms_are_read_and_sign() {
        for form in [&["genrsa", "2048"][..], &["genrsa", "-traditional", "2048"]] {
            let key = RsaKey::from_pem(&openssl(form)).unwrap();
            let signature = key.sign(b"message", &SystemRandom::new()).unwrap();
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
            assert!(public.verify(b"message", &signature).is_ok());
            assert!(public.verify(b"other", &signature).is_err());
            assert_eq!(format!("{key:?}"), "RsaKey");
        }
    }

    #[test]
    fn short_keys_other_keys_and_other_texts_are_refused() {
        assert!(RsaKey::from_pem(&openssl(&["genrsa", "1024"])).is_err(), "1024 bits");
        assert!(RsaKey::from_pem(&openssl(&["ecparam", "-name", "prime256v1", "-genkey"])).is_err(), "an EC key");
        assert!(RsaKey::from_pem(&Secret::new(b"-----BEGIN PRIVATE KEY-----\n".to_vec())).is_err());
        assert!(RsaKey::from_pem(&Secret::new(Vec::new())).is_err());
    }
}
