//! Audit spools of helpers, as far as the issuer has taken them in.

use avouch_audit::spool::Chain;
use avouch_words::{Millis, Name};

/// How far one helper's spool is in the issuer's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The node it is of.
    pub node: Name,
    /// How far it is: all records below its next number are in the log.
    pub chain: Chain,
    /// When the issuer first heard of it.
    pub opened: Millis,
    /// When it came to its end, or was given up.
    pub closed: Option<Millis>,
}
