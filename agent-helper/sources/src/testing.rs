//! What the tests of sources share.

use std::sync::Arc;

use avouch_words::{Digest, Name, Reference, Secret};

use crate::{Credentials509, Doing, Entrant, Obligation, Obligations, Wanted, Who};

/// A name.
pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// What is asked for by a reference.
pub(crate) fn wanted(reference: &str) -> Wanted {
    wanted_by(reference, Arc::new(Nobody))
}

/// What somebody asks for by a reference.
pub(crate) fn wanted_by(reference: &str, entrant: Arc<dyn Entrant>) -> Wanted {
    Wanted {
        credential: name("credential"),
        binding: Digest::of(&[b"binding"]),
        reference: Reference::parse(reference).unwrap(),
        entrant,
        fresh: false,
    }
}

/// Enters nothing and is owed nothing.
pub(crate) struct Nobody;

impl Entrant for Nobody {
    fn who(&self) -> &Who {
        &Who::Node
    }

    fn jwt<'a>(&'a self, _: &'a str) -> Doing<'a, Secret> {
        unreachable!("the source needs no identity")
    }

    fn x509(&self) -> Doing<'_, Credentials509> {
        unreachable!("the source needs no identity")
    }
}

impl Obligations for Nobody {
    fn record(&self, _: Obligation) -> Doing<'_, ()> {
        unreachable!("the source is owed nothing")
    }

    fn settled<'a>(&'a self, _: &'a Name, _: &'a str) -> Doing<'a, ()> {
        unreachable!("the source is owed nothing")
    }
}
