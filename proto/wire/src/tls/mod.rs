//! TLS 1.3 between SPIFFE IDs. Keys and bundles are read at every handshake from `watch` channels, so a rotation needs
//! no new configuration, and an empty channel refuses. No session is ever resumed: each connection shows its
//! certificate, and what is verified then is what holds (S06).

mod config;
mod dial;
mod listen;
mod pin;
mod public;
mod verify;

pub use config::{BadIdentity, Identity, LiveBundles, LiveIdentity, ServerTls, client_config, first_contact_config};
pub use dial::{DialError, dial};
pub use listen::{TlsPeer, TlsStream, incoming};
pub use pin::Pinned;
pub use public::PublicTls;
pub use verify::PeerRule;

/// How long a handshake may take (N01).
pub const HANDSHAKE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

#[cfg(test)]
mod tests;
