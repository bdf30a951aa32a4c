//! Keys made on this node: P-256, with the PKCS#10 request that shows the issuer that we hold them.

use avouch_words::Secret;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

/// A private key that never leaves this node.
pub struct NodeMadeKey {
    pair: KeyPair,
}

/// The system gave no randomness, or stored bytes are no P-256 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key could not be made or read")]
pub struct BadKey;

impl NodeMadeKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, BadKey> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| BadKey)?;
        Ok(Self { pair })
    }

    /// Reads a key back from PKCS#8 DER.
    pub fn from_pkcs8(der: &Secret) -> Result<Self, BadKey> {
        let der = PrivatePkcs8KeyDer::from(der.expose());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(|_| BadKey)?;
        Ok(Self { pair })
    }

    /// A PKCS#10 request with the public key, no name and no extension: the issuer takes nothing else anyway.
    pub fn csr(&self) -> Result<Vec<u8>, BadKey> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair).map_err(|_| BadKey)?;
        Ok(request.der().to_vec())
    }

    /// The private key as PKCS#8 DER (WAX-03).
    pub fn pkcs8(&self) -> Secret {
        Secret::new(self.pair.serialize_der())
    }

    /// The private key as PEM, for the node's own key file.
    pub fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    /// The public key as SubjectPublicKeyInfo DER.
    pub fn public_key_info(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }
}

impl std::fmt::Debug for NodeMadeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeMadeKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_its_request_names_nobody() {
        let key = NodeMadeKey::generate().unwrap();
        let back = NodeMadeKey::from_pkcs8(&key.pkcs8()).unwrap();
        assert_eq!(back.public_key_info(), key.public_key_info());
        let csr = key.csr().unwrap();
        let subject_of_nobody = [0x30, 0x00];
        assert!(csr.windows(2).any(|w| w == subject_of_nobody), "the subject is an empty sequence");
        assert!(!csr.windows(5).any(|w| w == b"rcgen"), "no default name slips in");
        assert_eq!(format!("{key:?}"), "NodeMadeKey");
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        assert_eq!(NodeMadeKey::from_pkcs8(&Secret::new(b"nonsense".to_vec())).err(), Some(BadKey));
    }
}
