//! The spools that are nested in the log.

use super::EntryFault;
use crate::record::{HelperEvent, IssuerEvent};
use crate::spool::{Chain, SpoolId, SpoolRecord};
use avouch_words::{SpiffeId, Ulid};
use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub(super) struct Spools {
    /// Every spool that was ever opened.
    spools: HashMap<SpoolId, Spool>,
    /// The spool that each node has open.
    open: HashMap<SpiffeId, SpoolId>,
    /// Intents that have no outcome, by node.
    intents: HashSet<(SpiffeId, Ulid)>,
}

struct Spool {
    node: SpiffeId,
    chain: Chain,
}

impl Spools {
    /// An event of the issuer.
    pub(super) fn event(&mut self, event: &IssuerEvent) -> Result<(), EntryFault> {
        match event {
            IssuerEvent::SpoolOpened { node, spool } => {
                if self.spools.contains_key(spool) || self.open.contains_key(node) {
                    return Err(EntryFault::SpoolOrder);
                }
                self.spools.insert(*spool, Spool { node: node.clone(), chain: Chain::start(*spool) });
                self.open.insert(node.clone(), *spool);
                Ok(())
            }
            IssuerEvent::SpoolClosed { node, end } | IssuerEvent::SpoolUnclosed { node, end, .. } => {
                self.end(node, end.spool, end.records.0)
            }
            _ => Ok(()),
        }
    }

    /// A helper's record.
    pub(super) fn record(&mut self, writer: &SpiffeId, record: &SpoolRecord) -> Result<(), EntryFault> {
        let spool = self.spools.get_mut(&record.spool).ok_or(EntryFault::SpoolNotOpen)?;
        if spool.node != *writer || self.open.get(writer) != Some(&record.spool) {
            return Err(EntryFault::SpoolNotOpen);
        }
        spool.chain.follow(record, record.digest()?)?;
        match &record.event {
            HelperEvent::Intent { decision, .. } => {
                self.intents.insert((writer.clone(), *decision));
            }
            HelperEvent::Outcome { decision, .. } => {
                // It may be in another spool than the intent: the next start's, if the first one broke.
                self.intents.remove(&(writer.clone(), *decision));
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn without_outcome(&self) -> u64 {
        self.intents.len() as u64
    }

    /// The node's open spool ends, with as many records as are here.
    fn end(&mut self, node: &SpiffeId, spool: SpoolId, records: u64) -> Result<(), EntryFault> {
        let held = self.spools.get(&spool).ok_or(EntryFault::SpoolOrder)?;
        if held.node != *node || held.chain.next() != records || self.open.remove(node) != Some(spool) {
            return Err(EntryFault::SpoolOrder);
        }
        Ok(())
    }
}
