//! Running instances of agents, as helpers report them.

use avouch_words::{Millis, Name, Ulid};

/// One running, attested process group of an agent. It belongs to one node for its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Made by the helper.
    pub id: Ulid,
    /// Whose instance.
    pub agent: Name,
    /// The node it runs on.
    pub node: Name,
    /// When something was first signed for it.
    pub started: Millis,
    /// When it ended, if it did. An ended instance never lives again.
    pub ended: Option<Millis>,
}
