//! One read of all that a permit fills.

use super::gate::Gate;
use super::shelf::Rotation;
use crate::broker::values::{Rendering, Values, Version};
use crate::leases::{Leases, Taken, Taking};
use avouch_policy::{Permit, Slot};
use avouch_sources::{Entrant, Part, Source, SourceFault, Wanted};
use avouch_words::{Clock, Name};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A source that is past its deadline is given so many times as long to say what it did, so that what it leased can be
/// given back; its place is taken as long.
const LATE: u32 = 3;

/// What is asked for. It is made from a permit alone.
pub(super) struct Asked {
    fills: Vec<AskedFill>,
    /// No cache is good enough.
    pub(super) fresh: bool,
    pub(super) rotation: Rotation,
}

struct AskedFill {
    source: Name,
    slot: Slot,
    wanted: Wanted,
}

pub(super) struct Reader {
    pub(super) sources: HashMap<Name, (Arc<dyn Source>, Arc<Gate>)>,
    pub(super) leases: Arc<Leases>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Asked {
    pub(super) fn of(permit: &Permit, entrant: Arc<dyn Entrant>, fresh: bool) -> Self {
        let fill = |fill: &avouch_policy::Fill| AskedFill {
            source: fill.source().clone(),
            slot: fill.slot().clone(),
            wanted: Wanted {
                credential: fill.credential().clone(),
                binding: fill.binding(),
                reference: fill.reference().clone(),
                entrant: entrant.clone(),
                fresh,
            },
        };
        let rotations = || permit.fills().iter().filter_map(avouch_policy::Fill::rotate);
        let seconds = rotations().filter_map(|rotate| rotate.every_seconds).min();
        let rotation = Rotation {
            every: seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
            after_uses: rotations().filter_map(|rotate| rotate.after_uses).min().map(u64::from),
        };
        Self { fills: permit.fills().iter().map(fill).collect(), fresh, rotation }
    }
}

impl Asked {
    pub(super) fn credentials(&self) -> Vec<Name> {
        self.fills.iter().map(|fill| fill.wanted.credential.clone()).collect()
    }
}

impl Reader {
    pub(super) async fn read(&self, asked: &Asked) -> Result<Arc<Values>, SourceFault> {
        let mut rendering = Rendering::default();
        let (mut held, mut versions) = (Vec::new(), Vec::new());
        for fill in &asked.fills {
            let taken = self.one(&fill.source, &fill.wanted).await?;
            let value = taken.lease.part(Part::Value).ok_or(SourceFault::Garbage)?;
            rendering.fill(&fill.slot, value)?;
            held.extend(taken.held);
            if let (Some((source, _)), Some(version)) = (self.sources.get(&fill.source), taken.lease.version) {
                versions.push(Version { source: source.clone(), reference: fill.wanted.reference.clone(), version });
            }
        }
        let values = rendering.done(held, versions)?;
        // What ended while the rest was read is not used.
        if values.is_live(self.clock.boot()) { Ok(Arc::new(values)) } else { Err(SourceFault::Unavailable) }
    }

    /// One credential. What comes after the deadline is not used, and given back.
    pub(super) async fn one(&self, source: &Name, wanted: &Wanted) -> Result<Taken, SourceFault> {
        let (source, gate) = self.sources.get(source).ok_or(SourceFault::Unavailable)?;
        let room = gate.enter().await?;
        let deadline = gate.deadline();
        let (source, leases, wanted) = (source.clone(), self.leases.clone(), wanted.clone());
        let reading = tokio::spawn(async move {
            let _room = room;
            let taking = Taking::new(&leases, source.name(), &wanted);
            let read = timeout(deadline * LATE, source.read(&wanted, &taking)).await;
            read.unwrap_or(Err(SourceFault::Unavailable)).and_then(|lease| taking.take(lease))
        });
        let read = match timeout(deadline, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) | Err(_) => Err(SourceFault::Unavailable),
        };
        gate.report(&read);
        read
    }
}
