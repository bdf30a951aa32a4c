//! Where secrets live: one file per source, behind one trait. A source is asked for a [`Wanted`], which the broker
//! makes from a permit, and gives a value for that credential under that binding or one of a closed set of faults. It
//! never says in a fault what it read.

pub mod conformance;
pub mod sealed;

use std::future::Future;
use std::pin::Pin;

use avouch_words::{Digest, Name, Secret};

pub use sealed::SealedStore;

/// A value on its way.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Lease, SourceFault>> + Send + 'a>>;

/// A place where secrets live.
pub trait Source: Send + Sync {
    /// The source's name, as credentials refer to it.
    fn name(&self) -> &Name;
    /// The value of the credential, at least [`sealed::VALUE_MIN`] bytes of printable ASCII.
    fn read<'a>(&'a self, wanted: &'a Wanted) -> Reading<'a>;
}

/// Which value is asked for: a credential, and the digest of the binding that the decision judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The credential.
    pub credential: Name,
    /// The digest of its binding.
    pub binding: Digest,
}

/// One issue of a credential.
#[derive(Debug)]
pub struct Lease {
    /// The value.
    pub value: Secret,
}

/// Why a source gave no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    /// There is none of that name.
    #[error("the source has no value for the credential")]
    Missing,
    /// The value was put for another binding than the one now in force.
    #[error("the value was stored for another binding; it has to be put again")]
    OtherBinding,
    /// The source does not let us.
    #[error("the source refuses")]
    Denied,
    /// It does not answer, or not now.
    #[error("the source is not available")]
    Unavailable,
    /// What it gave is no value that could be injected and scrubbed, or was tampered with.
    #[error("the source gave something that is no usable value")]
    Garbage,
}
