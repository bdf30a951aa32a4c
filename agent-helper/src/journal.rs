//! Where what happens here is recorded, for those who do not wait until it is durable. The broker, which injects
//! nothing before that, has the ledger itself.

use crate::broker::Ledger;
use avouch_audit::record::HelperEvent;
use std::sync::Arc;

/// Records without waiting.
#[derive(Clone)]
pub struct Journal(Arc<dyn Ledger>);

impl Journal {
    /// To this.
    pub fn new(to: Arc<dyn Ledger>) -> Self {
        Self(to)
    }

    /// Records what happened, in order with what was recorded before.
    pub fn note(&self, event: HelperEvent) {
        self.0.behind(event);
    }
}
