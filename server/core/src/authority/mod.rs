//! Signing authorities: making them, rotating them, and signing SVIDs with them. Only here is rcgen known to the
//! issuer, and only a permit of [`crate::issue`] gets anything signed.

mod csr;
mod der;
mod jwt;
pub mod rotation;
mod x509;

pub use csr::{BadCsr, MAX_CSR, ProvenKey, own_key};
pub use jwt::{INSTANCE_CLAIM, IssuedJwt, JwtSigner};
pub use rotation::{Authority, AuthorityState, Lifetimes, Step};
pub use x509::{IssuedX509, X509Signer, make_certificate};

use crate::keys::KeyError;

/// Why an authority could not be made or did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// No authority is active.
    #[error("no authority is active")]
    NoneActive,
    /// The active one ends before anything it signs could be used.
    #[error("the active authority is about to end")]
    EndsTooSoon,
    /// The key manager failed.
    #[error("key manager: {0}")]
    Key(#[from] KeyError),
    /// The random source failed (F39): nothing is issued with weak randomness.
    #[error("the random source failed")]
    Random,
    /// The certificate breaks the profile; the real key was not used.
    #[error("the certificate breaks the profile: {0}")]
    Lint(String),
    /// rcgen refused, or what it wrote cannot be read again.
    #[error("the certificate could not be built")]
    Build,
    /// A stored authority does not fit its key or its trust domain.
    #[error("the stored authority {0} does not fit its key or its trust domain")]
    Mismatch(avouch_words::Ulid),
}
