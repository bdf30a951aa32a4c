//! Which nodes are connected, what each has applied, and until when each may go on without hearing from us.

use avouch_store::Presence;
use avouch_words::{Millis, SpiffeId};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// All nodes that have been connected since the issuer started, to it or to another of its database.
#[derive(Clone)]
pub(crate) struct Connected {
    nodes: Arc<Mutex<Nodes>>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Nodes {
    here: HashMap<SpiffeId, Seen>,
    /// As the other issuers say.
    elsewhere: HashMap<SpiffeId, Seen>,
    /// What changed here since it was last asked for.
    news: HashSet<SpiffeId>,
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

impl Seen {
    /// This and what another issuer says of the same node.
    fn and(self, other: Self) -> Self {
        let newer = if other.applied > self.applied { other } else { self };
        Self {
            streams: self.streams.saturating_add(other.streams),
            applied: newer.applied,
            applied_at: newer.applied_at,
            heard: self.heard.max(other.heard),
        }
    }
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
        let nodes = self.lock();
        let seen = |map: &HashMap<SpiffeId, Seen>| map.get(node).copied().unwrap_or_default();
        seen(&nodes.here).and(seen(&nodes.elsewhere))
    }

    /// What the other issuers say now; what they said before is forgotten.
    pub(crate) fn set_elsewhere(&self, presence: Vec<Presence>, at: Duration) {
        let mut nodes = self.lock();
        let mut elsewhere: HashMap<SpiffeId, Seen> = HashMap::new();
        for presence in presence {
            let before = nodes.elsewhere.get(&presence.node).copied().unwrap_or_default();
            let said = Seen {
                streams: usize::try_from(presence.streams).unwrap_or(usize::MAX),
                applied: presence.applied,
                applied_at: if presence.applied == before.applied { before.applied_at } else { at },
                heard: presence.heard,
            };
            let seen = elsewhere.entry(presence.node).or_default();
            *seen = seen.and(said);
        }
        if elsewhere != nodes.elsewhere {
            nodes.elsewhere = elsewhere;
            drop(nodes);
            self.changes.send_replace(());
        }
    }

    /// How the nodes stand here that changed since the last call.
    pub(crate) fn news(&self) -> Vec<Presence> {
        let mut nodes = self.lock();
        let news = std::mem::take(&mut nodes.news);
        let told = |node: SpiffeId| {
            let seen = nodes.here.get(&node).copied().unwrap_or_default();
            Presence { node, streams: seen.streams as u64, applied: seen.applied, heard: seen.heard }
        };
        news.into_iter().map(told).collect()
    }

    /// All of it is news again: nobody knows what was told.
    pub(crate) fn tell_again(&self) {
        let mut nodes = self.lock();
        let all: Vec<SpiffeId> = nodes.here.keys().cloned().collect();
        nodes.news.extend(all);
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
                let waiting = {
                    let nodes = self.lock();
                    let behind = |(node, _): (&SpiffeId, &Seen)| {
                        let seen = |map: &HashMap<SpiffeId, Seen>| map.get(node).copied().unwrap_or_default();
                        let seen = seen(&nodes.here).and(seen(&nodes.elsewhere));
                        seen.streams > 0 && seen.applied < version
                    };
                    nodes.here.iter().chain(&nodes.elsewhere).any(behind)
                };
                if !waiting || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // A slow node does not hold an operator up: it learns the version when it can.
        let _ = tokio::time::timeout(SETTLING, settled).await;
    }

    fn change<T>(&self, node: &SpiffeId, change: impl FnOnce(&mut Seen) -> T) -> T {
        let mut nodes = self.lock();
        let changed = change(nodes.here.entry(node.clone()).or_default());
        nodes.news.insert(node.clone());
        drop(nodes);
        self.changes.send_replace(());
        changed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Nodes> {
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
        if let Some(seen) = self.connected.lock().here.get_mut(&self.node) {
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

    #[tokio::test(start_paused = true)]
    async fn what_other_issuers_say_of_a_node_counts_as_what_is_seen_here() {
        let connected = Connected::new();
        let node = SpiffeId::parse("spiffe://e/node/join_token/a").unwrap();
        let here = connected.open(&node).unwrap();
        here.applied(3, Duration::from_secs(1));
        here.heard(Millis(5));
        assert_eq!(connected.news(), [Presence { node: node.clone(), streams: 1, applied: 3, heard: Some(Millis(5)) }]);
        assert_eq!(connected.news(), []);
        let far = |streams, applied| vec![Presence { node: node.clone(), streams, applied, heard: Some(Millis(9)) }];
        connected.set_elsewhere(far(1, 7), Duration::from_secs(2));
        connected.set_elsewhere(far(1, 7), Duration::from_secs(3));
        let seen = connected.of(&node);
        assert_eq!((seen.streams, seen.applied, seen.applied_at), (2, 7, Duration::from_secs(2)));
        assert_eq!(seen.heard, Some(Millis(9)));
        drop(here);
        let begun = tokio::time::Instant::now();
        connected.settled(8).await;
        assert_eq!(begun.elapsed(), SETTLING, "a node at another issuer is waited for");
        connected.set_elsewhere(far(0, 7), Duration::from_secs(4));
        connected.settled(8).await;
        assert_eq!(begun.elapsed(), SETTLING);
        assert_eq!(connected.news().len(), 1);
        connected.tell_again();
        assert_eq!(connected.news().len(), 1);
    }
}
