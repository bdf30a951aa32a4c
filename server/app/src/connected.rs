//! Which nodes are connected, what each has applied, and until when each may go on without hearing from us.

use avouch_words::{Millis, SpiffeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// All nodes that have been connected since the issuer started.
#[derive(Clone)]
pub(crate) struct Connected {
    nodes: Arc<Mutex<HashMap<SpiffeId, Seen>>>,
    changes: watch::Sender<()>,
}

/// What is known of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Open sync streams.
    pub(crate) streams: usize,
    /// The newest version it says is in force there.
    pub(crate) applied: u64,
    /// When it said so, on the boot clock.
    pub(crate) applied_at: Duration,
    /// The newest database time that it was sent: its lock state is no younger.
    pub(crate) heard: Option<Millis>,
}

/// An open sync stream; closed when dropped.
pub(crate) struct Stream {
    connected: Connected,
    node: SpiffeId,
}

impl Connected {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        Self { nodes: Arc::default(), changes: watch::channel(()).0 }
    }

    /// A node opened a sync stream; none if it has too many.
    pub(crate) fn open(&self, node: &SpiffeId) -> Option<Stream> {
        self.change(node, |seen| {
            let free = seen.streams < MAX_STREAMS;
            seen.streams += usize::from(free);
            free
        })
        .then(|| Stream { connected: self.clone(), node: node.clone() })
    }

    /// What is known of a node.
    pub(crate) fn of(&self, node: &SpiffeId) -> Seen {
        self.lock().get(node).copied().unwrap_or_default()
    }

    /// Wakes at each change.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Waits until every connected node has this version in force, but no longer than [`SETTLING`].
    pub(crate) async fn settled(&self, version: u64) {
        let mut changes = self.watch();
        let settled = async {
            loop {
                changes.borrow_and_update();
                let waiting = self.lock().values().any(|seen| seen.streams > 0 && seen.applied < version);
                if !waiting || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // A slow node does not hold an operator up: it learns the version when it can.
        let _ = tokio::time::timeout(SETTLING, settled).await;
    }

    fn change<T>(&self, node: &SpiffeId, change: impl FnOnce(&mut Seen) -> T) -> T {
        let changed = change(self.lock().entry(node.clone()).or_default());
        self.changes.send_replace(());
        changed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SpiffeId, Seen>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// The node says that this version is in force there.
    pub(crate) fn applied(&self, version: u64, at: Duration) {
        self.connected.change(&self.node, |seen| {
            if version > seen.applied {
                (seen.applied, seen.applied_at) = (version, at);
            }
        });
    }

    /// The node was sent this database time.
    pub(crate) fn heard(&self, time: Millis) {
        // Nobody waits for this.
        if let Some(seen) = self.connected.lock().get_mut(&self.node) {
            seen.heard = seen.heard.max(Some(time));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connected.change(&self.node, |seen| seen.streams = seen.streams.saturating_sub(1));
    }
}

/// How long a verb waits for nodes that are connected.
const SETTLING: Duration = Duration::from_secs(1);
/// Sync streams of one node at a time: the one in use and the one that takes its place.
const MAX_STREAMS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_version_is_settled_when_the_connected_nodes_have_it_or_time_is_over() {
        let connected = Connected::new();
        let node = |name| SpiffeId::parse(&format!("spiffe://e/node/join_token/{name}")).unwrap();
        let (quick, slow) = (connected.open(&node("a")).unwrap(), connected.open(&node("b")).unwrap());
        drop(connected.open(&node("gone")));
        quick.applied(7, Duration::ZERO);
        let begun = tokio::time::Instant::now();
        connected.settled(7).await;
        assert_eq!(begun.elapsed(), SETTLING, "the slow one is not waited for without end");
        let both = async { tokio::join!(connected.settled(7), async { slow.applied(7, Duration::ZERO) }) };
        both.await;
        assert_eq!(begun.elapsed(), SETTLING, "nothing is waited for that is there");
    }

    #[test]
    fn a_node_has_few_streams_and_applied_versions_only_grow() {
        let connected = Connected::new();
        let node = SpiffeId::parse("spiffe://e/node/join_token/a").unwrap();
        let streams: Vec<Stream> = (0..MAX_STREAMS).map(|_| connected.open(&node).unwrap()).collect();
        assert!(connected.open(&node).is_none());
        streams[0].applied(7, Duration::from_secs(1));
        streams[1].applied(6, Duration::from_secs(2));
        assert_eq!((connected.of(&node).applied, connected.of(&node).applied_at), (7, Duration::from_secs(1)));
        drop(streams);
        assert_eq!(connected.of(&node).streams, 0);
        assert!(connected.open(&node).is_some());
    }
}
