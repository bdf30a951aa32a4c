//! Who enters a source: an agent's instance or the node, with a brokered identity that no workload is ever given.

use std::sync::Arc;

use avouch_words::{Name, Secret, Ulid};

use crate::{Doing, SourceFault};

/// On whose behalf a source is entered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// An instance of an agent.
    Agent {
        /// The agent.
        agent: Name,
        /// Which of its instances.
        instance: Ulid,
    },
    /// The node itself, to give back what is owed.
    Node,
}

/// Somebody who can enter a source.
pub trait Entrant: Send + Sync {
    /// Who it is.
    fn who(&self) -> &Who;
    /// A brokered JWT-SVID for one reserved audience, in compact form.
    fn jwt<'a>(&'a self, audience: &'a str) -> Doing<'a, Secret>;
    /// A brokered X.509-SVID with its key, for sources that are entered over mutual TLS.
    fn x509(&self) -> Doing<'_, Credentials509> {
        Box::pin(async { Err(SourceFault::NoIdentity) })
    }
}

/// An X.509-SVID with its key, to enter a source by. The key is wiped when this goes.
#[derive(Debug, Clone)]
pub struct Credentials509 {
    /// Its certificate and those above it, DER, its own first.
    pub chain: Vec<Vec<u8>>,
    /// Its private key, PKCS#8 in DER.
    pub key: Arc<Secret>,
}
