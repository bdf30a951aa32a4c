//! What every source must hold, as one suite: adding a source is one file, and one [`Store`] for its tests, which
//! [`hold`] is called with. A store that cannot be brought into a state that the suite wants says so by
//! [`Had::Not`], and the test that calls [`hold`] names those states, so that none is left out in silence.

mod cases;
mod ledger;

pub use ledger::Ledger;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use avouch_words::{Reference, Secret};

use crate::{Entrant, Lease, Source, Wanted};

/// What a test does to its store, and how it may fail.
pub type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// What a test did to its store, where that can be done.
#[derive(Debug)]
pub enum Had<T> {
    /// It did.
    Done(T),
    /// There is no such state of this store, for this reason.
    Not(&'static str),
}

/// A store with a source before it: what its test can do to it. A step that is not overridden is one that the store
/// does not have.
pub trait Store: Send + Sync {
    /// The source.
    fn source(&self) -> &dyn Source;
    /// A credential that has a value, and the value that it has now.
    fn held(&self) -> (Wanted, Secret);
    /// A credential that has none.
    fn missing(&self) -> Wanted;
    /// References that are none of this source's.
    fn unreadable(&self) -> Vec<Reference>;
    /// The node, as it gives back what is owed.
    fn node(&self) -> Arc<dyn Entrant>;

    /// A credential whose value was put for another binding than it is asked for with.
    fn other_binding(&self) -> Step<'_, Had<Wanted>> {
        not("the store knows nothing of bindings")
    }
    /// A credential that the store holds and does not let this entrant read.
    fn denied(&self) -> Step<'_, Had<Wanted>> {
        not("the store asks nobody who he is")
    }
    /// Credentials of which the store holds what is no value, each with a word for what is wrong with it.
    fn garbage(&self) -> Step<'_, Had<Vec<(&'static str, Wanted)>>> {
        not("the store holds nothing but values")
    }
    /// Gives [`Self::held`] another value; that value.
    fn rotate(&self) -> Step<'_, Had<Secret>> {
        not("values do not change")
    }
    /// From now on the store takes what it is asked and does not answer.
    fn stall(&self) -> Step<'_, Had<()>> {
        not("nothing is waited for")
    }
    /// It answers again.
    fn go_on(&self) -> Step<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Seals the store.
    fn seal(&self) -> Step<'_, Had<()>> {
        not("the store cannot be sealed")
    }
    /// Opens it.
    fn unseal(&self) -> Step<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    /// A credential of which each issue is owed and can be taken back.
    fn leased(&self) -> Step<'_, Had<Wanted>> {
        not("nothing is owed to the store")
    }
    /// Whether an issue of [`Self::leased`] still opens what it was made for.
    fn works<'a>(&'a self, _lease: &'a Lease) -> Step<'a, bool> {
        Box::pin(async { Ok(true) })
    }
}

/// The word for a state, and the reason for which a store has no such state.
pub type NotTried = (&'static str, &'static str);

/// Tries a source. What it does wrong is told as a sentence, without a value; else the states that its store does not
/// have.
pub async fn hold(store: &dyn Store) -> Result<Vec<NotTried>, String> {
    let owed = Ledger::default();
    cases::read(store, &owed).await?;
    cases::missing(store, &owed).await?;
    cases::references(store, &owed).await?;
    let mut not = Vec::new();
    let mut tried = |word, had: Had<()>| {
        if let Had::Not(reason) = had {
            not.push((word, reason));
        }
    };
    tried("other_binding", cases::other_binding(store, &owed).await?);
    tried("denied", cases::denied(store, &owed).await?);
    tried("garbage", cases::garbage(store, &owed).await?);
    tried("rotated", cases::rotated(store, &owed).await?);
    tried("slow", cases::slow(store, &owed).await?);
    tried("sealed", cases::sealed(store, &owed).await?);
    tried("revoked", cases::revoked(store, &owed).await?);
    Ok(not)
}

/// A store that does not have a state.
pub fn not<T: Send + 'static>(reason: &'static str) -> Step<'static, Had<T>> {
    Box::pin(async move { Ok(Had::Not(reason)) })
}
