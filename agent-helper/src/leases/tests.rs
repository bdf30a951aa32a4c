use super::*;
use crate::testing::{NoEntrance, Notes, TimerClock, name};
use avouch_policy::{Agent, AgentState, Binding, Credential, Grant, Lock, LockTarget, StateParts};
use avouch_sources::{Doing, Lease, Obligations, Wanted, Who};
use avouch_words::{Millis, Reference, Secret};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A store that knows its leases.
#[derive(Default)]
struct Store {
    live: Mutex<BTreeSet<String>>,
    made: AtomicUsize,
    revokes: AtomicUsize,
    renews: AtomicUsize,
    left: Mutex<Vec<Name>>,
    away: AtomicBool,
    stalls: AtomicBool,
}

struct Fake(Name, Arc<Store>, Arc<dyn Clock>);

/// How long the store's leases last.
const LIFE: Duration = Duration::from_secs(100);

impl Source for Fake {
    fn name(&self) -> &Name {
        &self.0
    }

    fn kind(&self) -> &'static str {
        "fake"
    }

    fn check_reference(&self, _: &Reference) -> Result<(), String> {
        Ok(())
    }

    fn read<'a>(&'a self, _: &'a Wanted, owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(async move {
            let id = format!("lease-{}", self.1.made.fetch_add(1, Ordering::SeqCst));
            self.1.live.lock().unwrap().insert(id.clone());
            let expires = self.2.now().plus(LIFE);
            let what = Obligation {
                source: self.0.clone(),
                kind: ObligationKind::Lease,
                id: id.clone(),
                parent: None,
                agent: None,
                instance: None,
                credential: None,
                expires,
                renewable: true,
            };
            owed.record(what).await?;
            let mut lease = Lease::of(Secret::new(b"long-enough".to_vec()));
            (lease.id, lease.expires) = (Some(id), Some(expires));
            Ok(lease)
        })
    }

    fn renew<'a>(&'a self, _: &'a Obligation, entrant: &'a dyn Entrant) -> Doing<'a, Millis> {
        assert!(matches!(entrant.who(), Who::Agent { .. }), "renewed by whoever it was made for");
        self.1.renews.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(self.2.now().plus(LIFE)) })
    }

    fn revoke<'a>(&'a self, owed: &'a Obligation, node: &'a dyn Entrant) -> Doing<'a, ()> {
        assert_eq!(node.who(), &Who::Node, "given back by the node");
        self.1.revokes.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if self.1.stalls.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if self.1.away.load(Ordering::SeqCst) {
                return Err(SourceFault::Unavailable);
            }
            self.1.live.lock().unwrap().remove(&owed.id);
            Ok(())
        })
    }

    fn leave<'a>(&'a self, agent: &'a Name) -> Doing<'a, ()> {
        self.1.left.lock().unwrap().push(agent.clone());
        Box::pin(async { Ok(()) })
    }
}

struct Agents(Who);

impl Entrant for Agents {
    fn who(&self) -> &Who {
        &self.0
    }

    fn jwt<'a>(&'a self, _: &'a str) -> Doing<'a, Secret> {
        Box::pin(async { Err(SourceFault::NoIdentity) })
    }

    fn x509(&self) -> Doing<'_, avouch_sources::Credentials509> {
        Box::pin(async { Err(SourceFault::NoIdentity) })
    }
}

struct Rig {
    leases: Arc<Leases>,
    source: Arc<Fake>,
    store: Arc<Store>,
    policy: watch::Sender<Arc<PolicyState>>,
    dead: Arc<Mutex<BTreeSet<Ulid>>>,
    ended: watch::Sender<()>,
    notes: Arc<Notes>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

fn instance(number: u8) -> Ulid {
    Ulid::new(Millis(1), [number; 10])
}

fn state(change: impl FnOnce(&mut StateParts)) -> Arc<PolicyState> {
    let binding = br#"{"to":"https://a.test","methods":["GET"],"paths":["/**"],"slot":"bearer"}"#;
    let credential = Credential {
        name: name("db"),
        source: name("bao"),
        reference: Reference::default(),
        binding: Binding::parse(binding).unwrap(),
    };
    let mut parts = StateParts {
        agents: ["x", "y"].map(|agent| Agent { name: name(agent), state: AgentState::Active }).into(),
        credentials: vec![credential],
        grants: ["x", "y"].map(|agent| Grant { id: instance(9), agent: name(agent), credential: name("db") }).into(),
        ..StateParts::default()
    };
    change(&mut parts);
    Arc::new(PolicyState::new(parts))
}

fn locked(target: LockTarget) -> Arc<PolicyState> {
    state(|parts| parts.locks.push(Lock { id: instance(8), target, expires: None }))
}

fn open(file: &Path, store: &Arc<Store>) -> Rig {
    let clock: Arc<dyn Clock> = TimerClock::new();
    let source = Arc::new(Fake(name("bao"), store.clone(), clock.clone()));
    let (policy, ended) = (watch::Sender::new(state(|_| {})), watch::Sender::new(()));
    let dead: Arc<Mutex<BTreeSet<Ulid>>> = Arc::default();
    let (notes, records) = Notes::new();
    let instances = dead.clone();
    let parts = Parts {
        sources: vec![source.clone()],
        node: Arc::new(NoEntrance),
        policy: policy.subscribe(),
        is_live: Box::new(move |instance| !instances.lock().unwrap().contains(&instance)),
        records,
        clock,
    };
    let leases = Leases::open(file, parts).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(leases.clone().run(ended.subscribe(), stop.clone()));
    Rig { leases, source, store: store.clone(), policy, dead, ended, notes, stop, running }
}

fn rig() -> (tempfile::TempDir, Rig) {
    let place = tempfile::tempdir().unwrap();
    let rig = open(&place.path().join("leases"), &Arc::default());
    (place, rig)
}

impl Rig {
    fn wanted(agent: &str, of: u8) -> Wanted {
        Wanted {
            credential: name("db"),
            binding: state(|_| {}).credential(&name("db")).unwrap().binding.digest(),
            reference: Reference::default(),
            entrant: Arc::new(Agents(Who::Agent { agent: name(agent), instance: instance(of) })),
            fresh: false,
        }
    }

    async fn take(&self, agent: &str, of: u8) -> Vec<Held> {
        let wanted = Self::wanted(agent, of);
        let taking = Taking::new(&self.leases, self.source.name(), &wanted);
        let lease = self.source.read(&wanted, &taking).await.unwrap();
        taking.take(lease).unwrap().held
    }

    fn live(&self) -> usize {
        self.store.live.lock().unwrap().len()
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if is(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: {:?}", self.leases.list());
    }

    async fn paid(&self) {
        self.until("nothing is owed", |rig| rig.live() == 0 && rig.leases.is_empty()).await;
    }

    fn whys(&self) -> Vec<String> {
        let all = self.notes.0.lock().unwrap();
        all.iter()
            .filter_map(|event| match event {
                HelperEvent::LeaseRevoked { why, .. } | HelperEvent::LeaseLost { why, .. } => {
                    Some(why.as_str().to_owned())
                }
                _ => None,
            })
            .collect()
    }
}

#[tokio::test]
async fn a_lease_that_is_let_go_is_given_back() {
    let (_place, rig) = rig();
    let held = rig.take("x", 1).await;
    assert_eq!((rig.live(), rig.leases.len()), (1, 1));
    let told = &rig.leases.list()[0];
    assert_eq!((told.what.agent.clone(), told.what.credential.clone()), (Some(name("x")), Some(name("db"))));
    drop(held);
    rig.paid().await;
    assert_eq!(rig.whys(), ["released"]);
    assert_eq!(rig.notes.codes(), ["lease.taken", "lease.revoked"]);
}

#[tokio::test]
async fn a_read_that_is_given_up_leaves_nothing_behind() {
    let (_place, rig) = rig();
    let wanted = Rig::wanted("x", 1);
    let taking = Taking::new(&rig.leases, rig.source.name(), &wanted);
    rig.source.read(&wanted, &taking).await.unwrap();
    drop(taking);
    rig.paid().await;
    assert_eq!(rig.whys(), ["abandoned"]);
}

#[tokio::test]
async fn a_lock_ends_the_agents_leases_and_logins_and_no_others() {
    let (_place, rig) = rig();
    let (x, y) = (rig.take("x", 1).await, rig.take("y", 2).await);
    rig.policy.send_replace(locked(LockTarget::Agent(name("x"))));
    rig.until("x has none", |rig| rig.live() == 1).await;
    let boot = rig.leases.clock.boot();
    assert!(!x[0].is_live(boot) && y[0].is_live(boot));
    assert_eq!(*rig.store.left.lock().unwrap(), [name("x")]);
    assert_eq!(rig.whys(), ["locked"]);
    rig.policy.send_replace(locked(LockTarget::Everything));
    rig.paid().await;
    assert_eq!(rig.store.left.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn an_instance_that_ends_takes_its_leases_along() {
    let (_place, rig) = rig();
    let _held = (rig.take("x", 1).await, rig.take("x", 2).await);
    rig.dead.lock().unwrap().insert(instance(1));
    rig.ended.send_replace(());
    rig.until("the other goes on", |rig| rig.live() == 1).await;
    assert!(rig.store.left.lock().unwrap().is_empty(), "its agent's login is still used");
    rig.dead.lock().unwrap().insert(instance(2));
    // Nobody tells: it is seen all the same.
    rig.paid().await;
    assert_eq!(*rig.store.left.lock().unwrap(), [name("x")]);
    assert_eq!(rig.whys(), ["ended", "ended"]);
}

#[tokio::test]
async fn a_change_of_the_grant_or_of_the_credential_ends_the_lease() {
    type Change = fn(&mut StateParts);
    let changes: [(&str, Change); 6] = [
        ("withdrawn", |parts| parts.grants.retain(|grant| grant.agent != name("x"))),
        ("withdrawn", |parts| parts.agents.retain(|agent| agent.name != name("x"))),
        ("withdrawn", |parts| parts.agents[0].state = AgentState::Suspended),
        ("changed", |parts| parts.credentials.clear()),
        ("changed", |parts| parts.credentials[0].reference = Reference::parse("kv2:a/b#c").unwrap()),
        ("changed", |parts| {
            let other = br#"{"to":"https://b.test","methods":["GET"],"paths":["/**"],"slot":"bearer"}"#;
            parts.credentials[0].binding = Binding::parse(other).unwrap();
        }),
    ];
    for (why, change) in changes {
        let (_place, rig) = rig();
        let _held = rig.take("x", 1).await;
        rig.policy.send_replace(state(|parts| parts.version = 2));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(rig.live(), 1, "what changes nothing for it ends nothing");
        rig.policy.send_replace(state(change));
        rig.paid().await;
        assert_eq!(rig.whys(), [why]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_not_kept_waiting_by_a_source_that_hangs() {
    let (_place, rig) = rig();
    rig.store.stalls.store(true, Ordering::SeqCst);
    let held = rig.take("x", 1).await;
    rig.policy.send_replace(locked(LockTarget::Agent(name("x"))));
    let begun = tokio::time::Instant::now();
    rig.leases.look();
    assert!(!held[0].is_live(rig.leases.clock.boot()), "dead at once");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(30)).await;
    rig.store.stalls.store(false, Ordering::SeqCst);
    rig.until("given back once it answers", |rig| rig.live() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_while_the_source_is_away_is_told_and_given_back_when_it_is_there_again() {
    let (_place, rig) = rig();
    let held = rig.take("x", 1).await;
    rig.store.away.store(true, Ordering::SeqCst);
    drop(held);
    tokio::time::sleep(Duration::from_secs(40)).await;
    let told = rig.leases.list();
    assert_eq!((told[0].due, told[0].fault), (Some(Why::Released), Some(SourceFault::Unavailable)));
    let tries = rig.store.revokes.load(Ordering::SeqCst);
    assert!((4..12).contains(&tries), "with growing patience: {tries}");
    rig.store.away.store(false, Ordering::SeqCst);
    rig.until("paid", |rig| rig.leases.is_empty()).await;
    assert_eq!(rig.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_ended_by_itself_before_it_could_be_given_back_is_said_to_be_lost() {
    let (_place, rig) = rig();
    let held = rig.take("x", 1).await;
    rig.store.away.store(true, Ordering::SeqCst);
    drop(held);
    tokio::time::sleep(LIFE * 2).await;
    assert!(rig.leases.is_empty());
    assert_eq!(rig.whys(), ["expired"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_at_half_its_life_while_it_is_used_and_left_to_end_when_not() {
    let (_place, rig) = rig();
    let held = rig.take("x", 1).await;
    for _ in 0..40 {
        held[0].touch();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let renews = rig.store.renews.load(Ordering::SeqCst);
    assert!((6..=9).contains(&renews), "{renews}");
    assert!(held[0].is_live(rig.leases.clock.boot()), "long after its first end");
    tokio::time::sleep(LIFE * 3).await;
    assert!(rig.store.renews.load(Ordering::SeqCst) <= renews + 1);
    assert!(rig.leases.is_empty() && !held[0].is_live(rig.leases.clock.boot()));
    assert!(rig.whys().is_empty(), "what was held to its end is not lost");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nothing_can_be_done_for_keeps_nobody_busy() {
    let (_place, rig) = rig();
    let _held = rig.take("x", 1).await;
    tokio::time::sleep(LIFE / 2 + Duration::from_secs(7)).await;
    let boot = rig.leases.clock.boot();
    let next = rig.leases.book().next(rig.source.name(), boot).unwrap();
    assert!(next > boot + LIFE / 4, "{:?}", next - boot);
}

#[tokio::test]
async fn what_an_earlier_helper_took_is_given_back_by_the_next_one() {
    let (place, rig) = rig();
    let held = (rig.take("x", 1).await, rig.take("y", 2).await);
    // As kill -9 leaves it: nothing is told to anybody.
    rig.running.abort();
    let store = rig.store.clone();
    std::mem::forget((held, rig));
    assert_eq!(store.live.lock().unwrap().len(), 2);
    let after = place.path().join("after");
    std::fs::copy(place.path().join("leases"), &after).unwrap();
    let next = open(&after, &store);
    next.paid().await;
    assert_eq!(next.whys(), ["restarted", "restarted"]);
    assert_eq!(next.store.left.lock().unwrap().len(), 2, "nor is any login left");
}

#[tokio::test]
async fn a_helper_that_ends_gives_back_what_it_can_within_its_time() {
    let (place, first) = rig();
    let _held = first.take("x", 1).await;
    first.stop.cancel();
    first.running.await.unwrap();
    assert_eq!(first.store.live.lock().unwrap().len(), 0);

    let second = open(&place.path().join("leases"), &Arc::default());
    second.store.stalls.store(true, Ordering::SeqCst);
    let _held = second.take("x", 1).await;
    second.stop.cancel();
    tokio::time::timeout(LAST_TRY * 2, second.running).await.expect("it does not wait for long").unwrap();
    let third = open(&place.path().join("leases"), &second.store);
    assert_eq!(third.leases.len(), 1, "and the next one knows of the rest");
}

#[tokio::test]
async fn an_operator_ends_a_lease_by_the_id_that_is_told() {
    let (_place, rig) = rig();
    let held = rig.take("x", 1).await;
    assert_eq!(rig.leases.revoke("nothing"), Err(NoLease));
    rig.leases.revoke(&rig.leases.list()[0].id).unwrap();
    assert!(!held[0].is_live(rig.leases.clock.boot()));
    rig.paid().await;
    assert_eq!(rig.whys(), ["operator"]);
}

#[tokio::test]
async fn what_could_not_be_recorded_is_not_used_and_given_back() {
    let (_place, rig) = rig();
    let wanted = Rig::wanted("x", 1);
    let taking = Taking::new(&rig.leases, rig.source.name(), &wanted);
    rig.store.live.lock().unwrap().insert("x".repeat(journal::LONGEST_ID + 1));
    let long = Obligation {
        source: name("bao"),
        kind: ObligationKind::Lease,
        id: "x".repeat(journal::LONGEST_ID + 1),
        parent: None,
        agent: None,
        instance: None,
        credential: None,
        expires: Millis(i64::MAX),
        renewable: false,
    };
    assert_eq!(taking.record(long).await, Err(SourceFault::NotRecorded));
    rig.paid().await;
    assert_eq!(rig.whys(), ["not_recorded"]);
}
