//! Keeps the identities: a while after one came or went, so that many at once are written once.

use super::{Cache, Kind, codec};
use crate::identity::Identities;
use crate::identity::instance::{Instances, Running};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The task that does.
pub struct Keeper {
    /// Where they are kept.
    pub cache: Arc<Cache>,
    /// The X.509-SVIDs.
    pub identities: Identities,
    /// Who is served them.
    pub instances: Arc<Instances>,
}

impl Keeper {
    /// Keeps until the shutdown, and once more then. What an earlier run has kept of processes that have ended since
    /// goes with the first time.
    pub async fn run(self, shutdown: CancellationToken) {
        if !self.cache.is_on() {
            return shutdown.cancelled().await;
        }
        let (mut svids, mut instances) = (self.identities.changed(), self.instances.changed());
        loop {
            self.keep();
            let changed = tokio::select! {
                () = shutdown.cancelled() => break,
                changed = svids.changed() => changed,
                changed = instances.changed() => changed,
            };
            let pause = if changed.is_ok() { PAUSE } else { NOTHING_MORE };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            svids.mark_unchanged();
            instances.mark_unchanged();
        }
        self.keep();
    }

    fn keep(&self) {
        let held = |mut running: Running| {
            let svid = self.identities.peek(&running.whose)?;
            running.processes.retain(|process| process.lives(running.uid));
            (!running.processes.is_empty()).then_some((running, svid))
        };
        let kept: Vec<_> = self.instances.outside_sessions().into_iter().filter_map(held).collect();
        self.cache.write(Kind::Identities, &codec::identities(&kept));
    }
}

/// How long more changes are waited for.
const PAUSE: Duration = Duration::from_millis(100);
/// Those who change have gone: the shutdown is near.
const NOTHING_MORE: Duration = Duration::from_secs(3600);
