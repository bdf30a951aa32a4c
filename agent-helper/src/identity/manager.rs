//! The task that owns every X.509 identity of this node.

use super::key::NodeMadeKey;
use super::{Answer, HeldSvid, Identity, IdentityKey, Order, SignX509, Unreachable, schedule, validate};
use crate::ids;
use avouch_words::{Bundle, Clock, IdPath, Millis, Name};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// The readers' side.
#[derive(Clone)]
pub struct Identities {
    commands: mpsc::Sender<Command>,
    shelf: Shelf,
}

/// The owner's side, before it runs.
pub struct Desk {
    commands: mpsc::Receiver<Command>,
    shelf: Shelf,
    signer: Arc<dyn SignX509>,
    clock: Arc<dyn Clock>,
    entitled: BTreeMap<Name, IdPath>,
    bundle: Option<Arc<Bundle>>,
    slots: BTreeMap<IdentityKey, Slot>,
    ended: mpsc::Sender<IdentityKey>,
    made: u64,
}

/// An identity cannot be had: too many are held, or the helper is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no more identities can be held")]
pub struct NoRoom;

impl Identities {
    /// Both sides. The keys of identities that fell out of use are sent to `ended`.
    pub fn new(signer: Arc<dyn SignX509>, clock: Arc<dyn Clock>, ended: mpsc::Sender<IdentityKey>) -> (Self, Desk) {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let shelf = Shelf { held: Arc::default(), changed: watch::Sender::new(()) };
        let desk = Desk {
            commands,
            shelf: shelf.clone(),
            signer,
            clock,
            entitled: BTreeMap::new(),
            bundle: None,
            slots: BTreeMap::new(),
            ended,
            made: 0,
        };
        (Self { commands: sender, shelf }, desk)
    }

    /// Follow an identity; it is asked for if it is not held yet.
    pub async fn follow(&self, whose: &IdentityKey) -> Result<watch::Receiver<Identity>, NoRoom> {
        if let Some(held) = self.shelf.take(whose) {
            return Ok(held);
        }
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Want { whose: whose.clone(), reply }).await.map_err(|_| NoRoom)?;
        answer.await.map_err(|_| NoRoom)?.ok_or(NoRoom)
    }

    /// These agents may run here, with IDs of these paths, and their SVIDs have to verify under this bundle. Returns when
    /// identities of all others are withdrawn.
    pub async fn entitle(&self, agents: BTreeMap<Name, IdPath>, bundle: Arc<Bundle>) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Entitle { agents, bundle, reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// This instance has ended: its identity is withdrawn. Returns when it is.
    pub async fn end(&self, whose: IdentityKey) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::End { whose, reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// The SVID of this identity, if there is one now. Nobody is taken to use it for that.
    pub fn peek(&self, whose: &IdentityKey) -> Option<Arc<HeldSvid>> {
        self.shelf.peek(whose)
    }

    /// Wakes when an SVID came or went.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.shelf.changed.subscribe()
    }

    /// How many identities are held now.
    pub fn held(&self) -> usize {
        self.shelf.len()
    }
}

impl Desk {
    /// What was held before this helper was started again; it has been checked as if it had just come.
    pub fn restore(
        &mut self,
        entitled: BTreeMap<Name, IdPath>,
        bundle: Arc<Bundle>,
        held: Vec<(IdentityKey, HeldSvid)>,
    ) {
        self.entitled = entitled;
        self.bundle = Some(bundle);
        let now = self.clock.now();
        for (whose, svid) in held {
            if self.want(whose.clone()).is_some()
                && let Some(slot) = self.slots.get_mut(&whose)
            {
                slot.succeeded(now, svid);
            }
        }
    }

    /// Works until the shutdown. Keys are wiped when it returns.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut batch: Option<Batch> = None;
        loop {
            self.sweep();
            if batch.is_none() {
                batch = self.next_batch();
            }
            let wake = self.next_wake(batch.is_some());
            let answered = async {
                match &mut batch {
                    Some(batch) => (&mut batch.answer).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                answer = answered => {
                    if let Some(done) = batch.take() {
                        self.settle(done.keys, answer);
                    }
                }
                () = tokio::time::sleep(wake) => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Want { whose, reply } => {
                let receiver = self.want(whose);
                let _ = reply.send(receiver);
            }
            Command::Entitle { agents, bundle, reply } => {
                self.entitle(agents, bundle);
                let _ = reply.send(());
            }
            Command::End { whose, reply } => {
                self.withdraw(&whose);
                let _ = reply.send(());
            }
        }
    }

    fn want(&mut self, whose: IdentityKey) -> Option<watch::Receiver<Identity>> {
        if let Some(slot) = self.slots.get(&whose) {
            return Some(slot.sender.subscribe());
        }
        if !self.entitled.contains_key(&whose.agent) {
            return Some(watch::channel(Identity::Withdrawn).1);
        }
        if self.slots.len() >= MAX_IDENTITIES {
            return None;
        }
        let (sender, receiver) = watch::channel(Identity::Pending);
        let used = self.shelf.put(whose.clone(), receiver.clone());
        self.made += 1;
        let slot = Slot { sender, used, number: self.made, due: self.clock.now(), failures: 0, in_flight: false };
        self.slots.insert(whose, slot);
        Some(receiver)
    }

    fn entitle(&mut self, agents: BTreeMap<Name, IdPath>, bundle: Arc<Bundle>) {
        let before = std::mem::replace(&mut self.entitled, agents);
        let stays = |agent: &Name| self.entitled.get(agent).is_some_and(|path| before.get(agent) == Some(path));
        let gone: Vec<_> = self.slots.keys().filter(|key| !stays(&key.agent)).cloned().collect();
        for key in &gone {
            self.withdraw(key);
        }
        if self.bundle.as_deref() == Some(&*bundle) {
            return;
        }
        // What no longer verifies (an authority was taken out) is replaced at once.
        let now = self.clock.now();
        for slot in self.slots.values_mut() {
            let stands = match &*slot.sender.borrow() {
                Identity::Ready(held) => validate::still_verifies(held, &bundle, now),
                Identity::Pending | Identity::Unavailable | Identity::Withdrawn => true,
            };
            if !stands {
                slot.due = now;
                slot.failures = 0;
            }
        }
        self.bundle = Some(bundle);
    }

    fn withdraw(&mut self, whose: &IdentityKey) {
        if let Some(slot) = self.slots.remove(whose) {
            self.shelf.drop(whose);
            slot.sender.send_replace(Identity::Withdrawn);
            self.shelf.changed.send_replace(());
        }
    }

    /// Orders for everything that is due, if anything is.
    fn next_batch(&mut self) -> Option<Batch> {
        self.bundle.as_ref()?;
        let now = self.clock.now();
        let mut orders = Vec::new();
        let mut keys = Vec::new();
        for (whose, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.due <= now).take(BATCH) {
            let made = NodeMadeKey::generate().and_then(|key| Ok((key.csr()?, key)));
            match made {
                Ok((csr, key)) => {
                    slot.in_flight = true;
                    orders.push(Order { whose: whose.clone(), csr });
                    keys.push(Asked { whose: whose.clone(), slot: slot.number, key });
                }
                Err(error) => slot.failed(now, &error.to_string()),
            }
        }
        if orders.is_empty() {
            return None;
        }
        let signing = self.signer.sign_x509(orders);
        let answer = Box::pin(async move {
            match tokio::time::timeout(SIGN_DEADLINE, signing).await {
                Ok(answer) => answer,
                Err(_) => Err(Unreachable),
            }
        });
        Some(Batch { keys, answer })
    }

    fn settle(&mut self, keys: Vec<Asked>, answer: Result<Vec<Answer>, Unreachable>) {
        let now = self.clock.now();
        let answers = match answer {
            Ok(answers) if answers.len() == keys.len() => answers,
            Ok(_) | Err(Unreachable) => keys.iter().map(|_| Answer::Refused("unreachable".to_owned())).collect(),
        };
        let Some(bundle) = self.bundle.clone() else { return };
        for (asked, answer) in keys.into_iter().zip(answers) {
            let Some(slot) = self.slots.get_mut(&asked.whose).filter(|slot| slot.number == asked.slot) else {
                continue;
            };
            match answer {
                Answer::Issued(chain) => {
                    let Some(path) = self.entitled.get(&asked.whose.agent) else { continue };
                    let id = path.id(&bundle.trust_domain, &asked.whose.agent, asked.whose.instance);
                    match validate::admit(&id, &chain, &asked.key, &bundle, now) {
                        Ok(held) => {
                            slot.succeeded(now, held);
                            self.shelf.changed.send_replace(());
                        }
                        Err(error) => slot.failed(now, &error.to_string()),
                    }
                }
                Answer::Refused(code) => slot.failed(now, &code),
            }
        }
    }

    /// Takes away what has really expired, and forgets what nobody has used since it was last due.
    fn sweep(&mut self) {
        let now = self.clock.now();
        let mut unused = Vec::new();
        for (whose, slot) in &mut self.slots {
            let expired = matches!(&*slot.sender.borrow(), Identity::Ready(held) if held.svid().not_after() <= now);
            if expired {
                tracing::warn!(agent = %whose.agent, instance = %whose.instance, "identity expired before it could be renewed");
                slot.sender.send_replace(Identity::Unavailable);
            }
            if slot.due <= now && !slot.in_flight && !slot.is_used() {
                unused.push(whose.clone());
            }
        }
        for whose in unused {
            self.withdraw(&whose);
            if self.ended.try_send(whose).is_err() {
                tracing::warn!("an ended instance could not be reported; it ends with this node");
            }
        }
    }

    fn next_wake(&self, busy: bool) -> Duration {
        let now = self.clock.now();
        let busy = busy || self.bundle.is_none();
        let moment = |slot: &Slot| match &*slot.sender.borrow() {
            Identity::Ready(held) if busy || slot.in_flight => held.svid().not_after(),
            Identity::Ready(held) => slot.due.min(held.svid().not_after()),
            Identity::Pending | Identity::Unavailable | Identity::Withdrawn if busy => now.plus(LONGEST_SLEEP),
            Identity::Pending | Identity::Unavailable | Identity::Withdrawn => slot.due,
        };
        let next = self.slots.values().map(moment).min().map_or(LONGEST_SLEEP, |moment| moment.since(now));
        next.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }
}

struct Slot {
    sender: watch::Sender<Identity>,
    used: Arc<AtomicBool>,
    /// Tells it from a slot of the same key before it: an answer to an order of that one is not for this one.
    number: u64,
    /// When to ask the issuer next.
    due: Millis,
    failures: u32,
    in_flight: bool,
}

impl Slot {
    /// Whether anyone follows it (one receiver is the shelf's own) or took it since this was last asked.
    fn is_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed) || self.sender.receiver_count() > 1
    }

    fn succeeded(&mut self, now: Millis, held: HeldSvid) {
        self.in_flight = false;
        self.failures = 0;
        // Issuers date the beginning back: its life here begins now.
        self.due = schedule::renewal(now, held.svid().not_after(), ids::share());
        self.sender.send_replace(Identity::Ready(Arc::new(held)));
    }

    /// What is held stays; without anything held the reader learns that there is nothing now.
    fn failed(&mut self, now: Millis, why: &str) {
        self.in_flight = false;
        self.failures = self.failures.saturating_add(1);
        self.due = now.plus(schedule::backoff(self.failures, ids::share()));
        tracing::warn!(failures = self.failures, why, "no identity from the issuer");
        if matches!(&*self.sender.borrow(), Identity::Pending) {
            self.sender.send_replace(Identity::Unavailable);
        }
    }
}

/// An order on its way.
struct Asked {
    whose: IdentityKey,
    slot: u64,
    key: NodeMadeKey,
}

struct Batch {
    keys: Vec<Asked>,
    answer: BoxFuture<'static, Result<Vec<Answer>, Unreachable>>,
}

enum Command {
    Want { whose: IdentityKey, reply: oneshot::Sender<Option<watch::Receiver<Identity>>> },
    Entitle { agents: BTreeMap<Name, IdPath>, bundle: Arc<Bundle>, reply: oneshot::Sender<()> },
    End { whose: IdentityKey, reply: oneshot::Sender<()> },
}

/// What is held, for readers that must not wait for the task.
#[derive(Clone)]
struct Shelf {
    held: Arc<RwLock<HashMap<IdentityKey, Held>>>,
    changed: watch::Sender<()>,
}

struct Held {
    receiver: watch::Receiver<Identity>,
    used: Arc<AtomicBool>,
}

impl Shelf {
    fn take(&self, whose: &IdentityKey) -> Option<watch::Receiver<Identity>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let found = held.get(whose)?;
        found.used.store(true, Ordering::Relaxed);
        Some(found.receiver.clone())
    }

    fn peek(&self, whose: &IdentityKey) -> Option<Arc<HeldSvid>> {
        match &*self.held.read().unwrap_or_else(PoisonError::into_inner).get(whose)?.receiver.borrow() {
            Identity::Ready(held) => Some(held.clone()),
            Identity::Pending | Identity::Unavailable | Identity::Withdrawn => None,
        }
    }

    fn put(&self, whose: IdentityKey, receiver: watch::Receiver<Identity>) -> Arc<AtomicBool> {
        let used = Arc::new(AtomicBool::new(true));
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.insert(whose, Held { receiver, used: used.clone() });
        used
    }

    fn drop(&self, whose: &IdentityKey) {
        self.held.write().unwrap_or_else(PoisonError::into_inner).remove(whose);
    }

    fn len(&self) -> usize {
        self.held.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Identities this helper holds at most.
pub const MAX_IDENTITIES: usize = 10_000;
/// Orders in one request.
const BATCH: usize = 64;
const COMMANDS: usize = 256;
const SIGN_DEADLINE: Duration = Duration::from_secs(5);
/// Clocks may be turned and machines suspended: look at the time again at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
const SHORTEST_SLEEP: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
