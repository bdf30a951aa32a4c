//! Where secrets live: one file per source, behind one trait. A source is asked for a [`Wanted`], which the broker
//! makes from a permit, and gives a [`Lease`] or one of a closed set of faults. It never says in a fault what it read,
//! and whatever it owes its store for a lease is recorded before the lease is given on.

pub mod aws;
pub mod conformance;
pub mod entrant;
pub mod entry;
pub mod exec;
pub mod file;
mod json;
pub mod kubernetes;
pub mod lease;
pub mod openbao;
pub mod sealed;
#[cfg(test)]
mod testing;
pub mod unusable;
mod value;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use avouch_words::{Digest, Millis, Name, Reference};

pub use aws::{AwsSettings, AwsSource};
pub use entrant::{Credentials509, Entrant, Who};
pub use entry::{About, Entered, Found, Shown};
pub use exec::{Command, CommandSource};
pub use file::{FileSource, MAX_READS};
pub use kubernetes::{KubernetesSettings, KubernetesSource};
pub use lease::{Lease, Obligation, ObligationKind, Obligations, Part};
pub use openbao::OpenBao;
pub use sealed::SealedStore;
pub use unusable::Unusable;

/// Something that a source does, and by whose fault it was not done.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceFault>> + Send + 'a>>;

/// A place where secrets live.
pub trait Source: Send + Sync {
    /// The source's name, as credentials refer to it.
    fn name(&self) -> &Name;
    /// What kind of source it is, in the word that the settings use.
    fn kind(&self) -> &'static str;
    /// What it is and how it is entered. One that nobody enters says no more than its kind.
    fn about(&self) -> About {
        About { place: String::new(), login: "none", shown: Shown::Nothing }
    }
    /// Whether a reference can be read as one of this source's; if not, a sentence that says what is wrong with it.
    fn check_reference(&self, reference: &Reference) -> Result<(), String>;
    /// One issue of the credential. What has to be given back at the store is told to `owed` before anything that
    /// comes of it is given on; if it cannot be recorded, nothing is given.
    fn read<'a>(&'a self, wanted: &'a Wanted, owed: &'a dyn Obligations) -> Doing<'a, Lease>;
    /// Whether what was read as this version is still what lies there, as far as the source can tell without asking
    /// anybody: a file that was replaced, a change that it was told of. Whoever keeps a value asks before each use, so
    /// this neither waits nor fails.
    fn is_current(&self, _reference: &Reference, _version: &str) -> bool {
        true
    }
    /// Logs in anew with what this entrant shows, by the role of whom it says that it is, whatever is held from before:
    /// its documents may be somebody else's, to see whether the source minds. Then looks where the reference of `sought`
    /// leads, and ends the login. Nothing that is made on demand is made, and nothing is kept. [`SourceFault::Denied`]
    /// says that the login itself is refused. The default is for sources that nobody enters, where whoever asks is given the value.
    fn try_entry<'a>(
        &'a self,
        _entrant: &'a dyn Entrant,
        sought: Option<&'a Wanted>,
        owed: &'a dyn Obligations,
    ) -> Doing<'a, Entered> {
        Box::pin(async move {
            let found = match sought {
                Some(wanted) => Some(self.read(wanted, owed).await.and_then(|lease| Found::of(&lease))),
                None => None,
            };
            Ok(Entered { seen_as: None, rights: Vec::new(), found })
        })
    }
    /// Makes what is owed last longer, for whoever it was made for. The answer is its new end.
    fn renew<'a>(&'a self, _owed: &'a Obligation, _entrant: &'a dyn Entrant) -> Doing<'a, Millis> {
        Box::pin(async { Err(SourceFault::Denied) })
    }
    /// Gives back what is owed. `node` is the node itself: its role at the store can revoke and nothing else, so the
    /// agent is not needed. What the store no longer knows is given back.
    fn revoke<'a>(&'a self, _owed: &'a Obligation, _node: &'a dyn Entrant) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Forgets the logins that are held for an agent, and ends them at the store where the login itself can.
    fn leave<'a>(&'a self, _agent: &'a Name) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Which value is asked for, and by whom.
#[derive(Clone)]
pub struct Wanted {
    /// The credential.
    pub credential: Name,
    /// The digest of the binding that the decision judged.
    pub binding: Digest,
    /// Where in the source it lies.
    pub reference: Reference,
    /// Whoever enters the source for it.
    pub entrant: Arc<dyn Entrant>,
    /// The value that was read last was refused where it was shown: what the source keeps of it is not good enough.
    pub fresh: bool,
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
    /// The reference is none of this source's.
    #[error("the credential's reference cannot be read by its source")]
    Reference,
    /// The source does not let us.
    #[error("the source refuses")]
    Denied,
    /// It is sealed: an operator has to open it.
    #[error("the source is sealed")]
    Sealed,
    /// It asks to be asked later.
    #[error("the source asks for {} s of patience", .0.as_secs())]
    Busy(Duration),
    /// It does not answer, or not now.
    #[error("the source is not available")]
    Unavailable,
    /// What it gave is no value that could be injected and scrubbed, or was tampered with.
    #[error("the source gave something that is no usable value")]
    Garbage,
    /// What is owed to it could not be recorded, so nothing was taken.
    #[error("what is owed to the source could not be recorded")]
    NotRecorded,
    /// The issuer does not reserve its audience, so any workload could be given a token for it.
    #[error("the issuer does not reserve the source's audience")]
    NotReserved,
    /// Who enters has no identity to show.
    #[error("there is no brokered identity to enter the source with")]
    NoIdentity,
}

impl SourceFault {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::OtherBinding => "other_binding",
            Self::Reference => "reference",
            Self::Denied => "denied",
            Self::Sealed => "sealed",
            Self::Busy(_) => "busy",
            Self::Unavailable => "unavailable",
            Self::Garbage => "garbage",
            Self::NotRecorded => "not_recorded",
            Self::NotReserved => "audience_not_reserved",
            Self::NoIdentity => "no_identity",
        }
    }
}
