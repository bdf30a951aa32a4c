//! The entries, one after another.

use super::spools::Spools;
use super::{Alarm, EntryFault, Fault};
use crate::checkpoint::Checkpoint;
use crate::entry::{Body, Entry};
use crate::spool::GENESIS;
use crate::tree::{History, Tree, leaf};
use avouch_words::{Digest, SpiffeId, TrustDomain};
use std::collections::BTreeMap;

pub(super) struct Entries {
    trust_domain: TrustDomain,
    history: History,
    head: Digest,
    /// The newest entry does not follow the one before. The next one shows which of the two is bad.
    broken: Option<Broken>,
    pub(super) spools: Spools,
    pub(super) writers: BTreeMap<SpiffeId, u64>,
    pub(super) alarms: Vec<Alarm>,
}

#[derive(Clone, Copy)]
struct Broken {
    index: u64,
    /// The hash that it says the entry before has.
    named: Digest,
    leaf: Digest,
}

impl Entries {
    pub(super) fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            history: History::new(),
            head: GENESIS,
            broken: None,
            spools: Spools::default(),
            writers: BTreeMap::new(),
            alarms: Vec::new(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.history.size()
    }

    pub(super) fn root_at(&self, size: u64) -> Option<Digest> {
        self.history.root_at(size)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let at = self.size();
        let entry = Entry::decode(bytes);
        if let Some(broken) = self.broken {
            // If the entry behind it stands by the newest, it is the one before that was altered.
            let stands = entry.is_ok_and(|entry| entry.prev == broken.leaf);
            return Err(blame(broken, stands));
        }
        let entry = entry.map_err(|why| Fault::Entry { index: at, why: why.into() })?;
        if entry.index != at {
            // Of two entries that claim one number, which is the true one is not known: both are in doubt.
            return Err(Fault::Entry { index: at.min(entry.index), why: EntryFault::Number });
        }
        let leaf = leaf(bytes);
        if entry.prev == self.head {
            self.take(&entry).map_err(|why| Fault::Entry { index: at, why })?;
        } else {
            self.broken = Some(Broken { index: at, named: entry.prev, leaf });
        }
        self.head = leaf;
        self.history.append(leaf);
        Ok(())
    }

    /// No entry comes any more: if the last does not follow, the heads show which of the last two is bad.
    pub(super) fn finish(&self, heads: &[Checkpoint]) -> Result<(), Fault> {
        let Some(broken) = self.broken else {
            return Ok(());
        };
        let mut mended = self.before_mended(broken);
        mended.append(broken.leaf);
        let stands = heads.iter().any(|head| head.size == mended.size() && head.root == mended.root());
        Err(blame(broken, stands))
    }

    /// The tree up to the broken entry, had the entry before it the hash that the broken one names.
    fn before_mended(&self, broken: Broken) -> Tree {
        let mut tree = Tree::new();
        for index in 0..broken.index.saturating_sub(1) {
            if let Some(leaf) = self.history.leaf(index) {
                tree.append(leaf);
            }
        }
        if broken.index > 0 {
            tree.append(broken.named);
        }
        tree
    }

    fn take(&mut self, entry: &Entry) -> Result<(), EntryFault> {
        if !entry.writer.is_member_of(&self.trust_domain) {
            return Err(EntryFault::Writer);
        }
        let path = entry.writer.path();
        match &entry.body {
            Body::Event(event) => {
                if path != "/issuer" {
                    return Err(EntryFault::Writer);
                }
                self.spools.event(event)?;
                if let Some((node, spool)) = event.alarm() {
                    let alarm = Alarm { index: entry.index, code: event.code(), node: node.clone(), spool };
                    self.alarms.push(alarm);
                }
            }
            Body::Record(record) => {
                if !path.starts_with("/node/") {
                    return Err(EntryFault::Writer);
                }
                self.spools.record(&entry.writer, record)?;
            }
        }
        *self.writers.entry(entry.writer.clone()).or_default() += 1;
        Ok(())
    }
}

fn blame(broken: Broken, stands: bool) -> Fault {
    if stands && broken.index > 0 {
        return Fault::Entry { index: broken.index - 1, why: EntryFault::Altered };
    }
    Fault::Entry { index: broken.index, why: EntryFault::Link }
}
