//! Audit spools of helpers, as far as the issuer has taken them in.

use avouch_words::{Digest, Millis, Name};

/// How far one helper's spool is in the issuer's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Random, made with the spool.
    pub id: [u8; 16],
    /// The node it is of.
    pub node: Name,
    /// All records below this sequence number are in the log.
    pub next: u64,
    /// Hash of the newest of them; none before the first.
    pub head: Option<Digest>,
    /// When the issuer first heard of it.
    pub opened: Millis,
    /// When the helper closed it, if it did.
    pub closed: Option<Millis>,
}
