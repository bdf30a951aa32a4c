//! Credentials by name, and who may use them. Their values are never here.

use crate::refusal::Invalid;
use avouch_policy::Binding;
use avouch_words::{Millis, Name, Reference, Ulid};

/// A named secret in a source, with the only places it may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its name.
    pub name: Name,
    /// The source it lives in.
    pub source: Name,
    /// Where in the source it lies.
    pub reference: Reference,
    /// Where it may go.
    pub binding: Binding,
    /// When it was first put.
    pub created: Millis,
}

impl Credential {
    /// What an operator writes, checked.
    pub fn check(name: &str, source: &str, reference: &str, binding: &[u8], now: Millis) -> Result<Self, Invalid> {
        if source == SEALED && !reference.is_empty() {
            return Err(Invalid::new("reference", "a value that the nodes seal themselves has none"));
        }
        Ok(Self {
            name: Name::parse(name).map_err(|fault| Invalid::new("name", fault))?,
            source: Name::parse(source).map_err(|fault| Invalid::new("source", fault))?,
            reference: Reference::parse(reference).map_err(|fault| Invalid::new("reference", fault))?,
            binding: Binding::parse(binding).map_err(|fault| Invalid::new("binding", fault))?,
            created: now,
        })
    }
}

/// An agent may use a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its identifier.
    pub id: Ulid,
    /// Who may.
    pub agent: Name,
    /// What.
    pub credential: Name,
    /// Since when.
    pub created: Millis,
}

/// The source that every node has: the store sealed on it. A value lies there under its credential's name.
pub const SEALED: &str = "sealed";
