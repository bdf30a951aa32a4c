//! SQL and nothing else: what the issuer keeps, in an SQLite database that one issuer process holds or in a Postgres
//! database that several share; who uses this does not learn which. Reading goes through a [`Read`], a consistent
//! snapshot; writing through a [`Tx`], which refuses to commit a change that was not recorded in the log in the same
//! transaction (invariant 7). No rule is decided here, and no secret value is kept.

mod agents;
mod authorities;
mod cells;
mod credentials;
mod error;
mod grants;
mod instances;
mod issuers;
mod lead;
mod locks;
mod log;
mod meta;
mod nodes;
mod open;
mod published;
mod spools;
mod sql;
mod svids;
mod targets;
mod tokens;
mod traces;
mod tx;

pub use error::{OpenError, StoreError};
pub use issuers::{ISSUER_GONE, Presence, Pulse};
pub use lead::Fence;
pub use log::{LogEntry, StoredCheckpoint};
pub use meta::Meta;
pub use open::{Changes, Host, Place, Postgres, PostgresTls, Store};
pub use svids::{IssuedSvid, SvidId};
pub use tx::{Read, Tx, Wake};

/// The most rows one call lists.
pub const MAX_PAGE: u32 = 10_000;
