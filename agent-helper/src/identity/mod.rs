//! X.509 identities of the agents that run here. One task owns them all (`manager`): it makes the keys, asks the
//! issuer in batches, checks what comes back before anyone may see it, renews at half life, and forgets. Everyone
//! else holds a `watch` receiver. JWT-SVIDs are fetched when asked for and kept for half their life (`jwt`).

pub mod brokered;
pub mod instance;
pub mod jwt;
pub mod key;
mod manager;
pub mod schedule;
pub mod validate;

pub use manager::{Desk, Identities, MAX_IDENTITIES};

use avouch_words::svid::x509::X509Svid;
use avouch_words::{Name, Secret, Ulid};
use futures_util::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// Which identity: the agent, and the running instance of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityKey {
    /// The registered agent.
    pub agent: Name,
    /// The instance, made by this helper.
    pub instance: Ulid,
}

/// What a reader of an identity sees.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Asked for and not yet answered.
    Pending,
    /// Valid now.
    Ready(Arc<HeldSvid>),
    /// There is none at the moment; it is being tried again.
    Unavailable,
    /// The agent may not run here any more, or is locked. Final: ask anew.
    Withdrawn,
}

/// An X.509-SVID with its key. It exists only after its chain, its key and its ID were checked.
pub struct HeldSvid {
    svid: X509Svid,
    key: Secret,
}

impl HeldSvid {
    /// The certificates and what they say.
    pub fn svid(&self) -> &X509Svid {
        &self.svid
    }

    /// PKCS#8 DER of the leaf's key: for the workload whose identity it is, and nobody else.
    pub fn key(&self) -> &Secret {
        &self.key
    }
}

impl std::fmt::Debug for HeldSvid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldSvid({})", self.svid.id())
    }
}

/// An order for one X.509-SVID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// For whom.
    pub whose: IdentityKey,
    /// PKCS#10 DER.
    pub csr: Vec<u8>,
}

/// What the issuer answered to one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// DER certificates, leaf first; still to be checked.
    Issued(Vec<CertificateDer<'static>>),
    /// Not now, or never; the stable code says which.
    Refused(String),
}

/// The issuer did not answer, or not in a way that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the issuer does not answer")]
pub struct Unreachable;

/// Where the manager sends its orders: the issuer, or in tests something that can be made to lie.
pub trait SignX509: Send + Sync + 'static {
    /// One answer for each order, in the order asked.
    fn sign_x509(&self, orders: Vec<Order>) -> BoxFuture<'static, Result<Vec<Answer>, Unreachable>>;
}
