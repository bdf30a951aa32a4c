//! Where signing keys live. A [`KeyManager`] makes keys and opens them again; what the store keeps is an opaque
//! reference, which is either the sealed key or the name of a key that never leaves its place.

pub mod conformance;

use ring::rand::SecureRandom;
use std::fmt;
use std::sync::Arc;

/// What a key is for. A reference made for one purpose opens for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Signs X.509-SVIDs: ECDSA on P-256 with SHA-256, signatures as ASN.1.
    X509Authority,
    /// Signs JWT-SVIDs: ECDSA on P-256 with SHA-256, signatures as `r ‖ s` (RFC 7518 §3.4).
    JwtAuthority,
    /// Signs the audit log's checkpoints: Ed25519.
    Log,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X509Authority, Self::JwtAuthority, Self::Log];

    /// A stable word, as the store keeps it and as sealed keys are bound to.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509Authority => "x509",
            Self::JwtAuthority => "jwt",
            Self::Log => "log",
        }
    }

    /// Reads the word again.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// A key that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedKey {
    /// What [`KeyManager::open`] takes. Holds nothing that can be used without the key manager.
    pub reference: Vec<u8>,
    /// The public key: for P-256 the uncompressed point (65 bytes), for Ed25519 its 32 bytes.
    pub public_key: Vec<u8>,
}

/// Makes signing keys and opens them again.
pub trait KeyManager: Send + Sync + fmt::Debug {
    /// A new key.
    fn create(&self, purpose: Purpose, rng: &dyn SecureRandom) -> Result<CreatedKey, KeyError>;
    /// The key behind a reference, for signing.
    fn open(&self, purpose: Purpose, reference: &[u8], rng: &dyn SecureRandom) -> Result<Arc<dyn Signer>, KeyError>;
}

/// Signs with one key, of which nothing can be got but its public half.
pub trait Signer: Send + Sync + fmt::Debug {
    /// What the key is for, and so the form of its signatures.
    fn purpose(&self) -> Purpose;
    /// As in [`CreatedKey::public_key`].
    fn public_key(&self) -> &[u8];
    /// The signature over the message, which is hashed here.
    fn sign(&self, message: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, KeyError>;
}

/// Why a key cannot be had. By whose fault: a reference is ours to keep, so none of these is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a reference of this key manager, in a form it knows.
    #[error("this is not a reference of this key manager")]
    NotAReference,
    /// Altered, sealed under another key, or made for another purpose.
    #[error("the key cannot be unsealed: it was altered, sealed under another key file, or made for another purpose")]
    Sealed,
    /// The key manager or the random source failed.
    #[error("the key manager failed to make or use a key")]
    Broken,
    /// The key manager cannot be reached now.
    #[error("the key manager cannot be reached")]
    Unavailable,
}
