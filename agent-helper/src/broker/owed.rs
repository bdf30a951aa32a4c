//! What sources are owed. Nothing can be recorded yet, so sources that would have to be paid back give nothing.

use avouch_sources::{Doing, Obligation, Obligations, SourceFault};
use avouch_words::Name;

/// Takes no obligation on.
#[derive(Debug)]
pub struct NothingOwed;

impl Obligations for NothingOwed {
    fn record(&self, _: Obligation) -> Doing<'_, ()> {
        Box::pin(async { Err(SourceFault::NotRecorded) })
    }

    fn settled<'a>(&'a self, _: &'a Name, _: &'a str) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
