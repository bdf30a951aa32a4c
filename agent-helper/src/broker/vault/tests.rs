use super::*;
use crate::testing::{NoEntrance, Notes, TimerClock, name};
use avouch_policy::request::Body;
use avouch_policy::{
    Agent, AgentState, Binding, Caller, CanonicalRequest, Credential, Grant, Lock, LockTarget, StateParts, Verdict,
    decide,
};
use avouch_sources::{Doing, Lease, Obligation, ObligationKind, Obligations, Wanted};
use avouch_words::{Reference, Secret, Ulid};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Notify, watch};

/// A source that does as it is told.
struct Fake {
    name: Name,
    reads: AtomicUsize,
    fresh: AtomicUsize,
    revoked: Mutex<Vec<String>>,
    value: Mutex<Vec<u8>>,
    fault: Mutex<Option<SourceFault>>,
    /// How long a lease lasts; none for values without one.
    life: Mutex<Option<Duration>>,
    /// Whether it was told of a change since it was read.
    changed: AtomicBool,
    /// Hangs until told.
    hangs: AtomicBool,
    go_on: Notify,
    /// Says that it leased what it never recorded.
    lies: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl Fake {
    fn set(&self, value: &str) {
        *self.value.lock().unwrap() = value.as_bytes().to_vec();
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn leases(&self, life: u64) {
        *self.life.lock().unwrap() = Some(Duration::from_secs(life));
    }

    fn fails(&self, fault: Option<SourceFault>) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Source for Fake {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "fake"
    }

    fn check_reference(&self, _: &Reference) -> Result<(), String> {
        Ok(())
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst);
        self.fresh.fetch_add(usize::from(wanted.fresh), Ordering::SeqCst);
        Box::pin(async move {
            if self.hangs.load(Ordering::SeqCst) {
                self.go_on.notified().await;
            }
            if let Some(fault) = *self.fault.lock().unwrap() {
                return Err(fault);
            }
            let mut lease = Lease::of(Secret::new(self.value.lock().unwrap().clone()));
            lease.version = Some("first".to_owned());
            self.changed.store(false, Ordering::SeqCst);
            let life = *self.life.lock().unwrap();
            if let Some(life) = life {
                let (id, expires) = (format!("lease-{number}"), self.clock.now().plus(life));
                if !self.lies.load(Ordering::SeqCst) {
                    owed.record(obligation(&self.name, &id, expires)).await?;
                }
                (lease.id, lease.expires) = (Some(id), Some(expires));
            }
            Ok(lease)
        })
    }

    fn is_current(&self, _: &Reference, version: &str) -> bool {
        version == "first" && !self.changed.load(Ordering::SeqCst)
    }

    fn revoke<'a>(&'a self, owed: &'a Obligation, _: &'a dyn avouch_sources::Entrant) -> Doing<'a, ()> {
        self.revoked.lock().unwrap().push(owed.id.clone());
        Box::pin(async { Ok(()) })
    }
}

fn obligation(source: &Name, id: &str, expires: Millis) -> Obligation {
    Obligation {
        source: source.clone(),
        kind: ObligationKind::Lease,
        id: id.to_owned(),
        parent: None,
        agent: None,
        instance: None,
        credential: None,
        expires,
        renewable: false,
    }
}

struct Rig {
    vault: Arc<Vault>,
    leases: Arc<Leases>,
    sources: BTreeMap<&'static str, Arc<Fake>>,
    _place: tempfile::TempDir,
}

fn limits() -> Limits {
    Limits { at_once: 2, waiting: 2, failures: 3, ..Limits::default() }
}

/// A vault over these sources, each with a credential of its name that every agent is granted.
fn rig(names: &[&'static str]) -> Rig {
    let clock: Arc<dyn Clock> = TimerClock::new();
    let fake = |source: &str| Fake {
        name: name(source),
        reads: AtomicUsize::new(0),
        fresh: AtomicUsize::new(0),
        revoked: Mutex::default(),
        value: Mutex::new(b"long-enough".to_vec()),
        fault: Mutex::default(),
        life: Mutex::default(),
        changed: AtomicBool::new(false),
        hangs: AtomicBool::new(false),
        go_on: Notify::new(),
        lies: AtomicBool::new(false),
        clock: clock.clone(),
    };
    let fakes: BTreeMap<_, _> = names.iter().map(|name| (*name, Arc::new(fake(name)))).collect();
    let sources: Vec<Arc<dyn Source>> = fakes.values().map(|fake| fake.clone() as Arc<dyn Source>).collect();
    let place = tempfile::tempdir().unwrap();
    let parts = crate::leases::Parts {
        sources: sources.clone(),
        node: Arc::new(NoEntrance),
        policy: watch::channel(Arc::new(state(Vec::new()))).1,
        is_live: Box::new(|_| true),
        records: Notes::new().1,
        clock: clock.clone(),
    };
    let leases = Leases::open(&place.path().join("leases"), parts).unwrap();
    let vault = Vault::new(VaultParts {
        limits: sources.iter().map(|source| (source.name().clone(), limits())).collect(),
        sources,
        entrances: Arc::new(NoEntrance),
        leases: leases.clone(),
        clock,
    });
    Rig { vault: Arc::new(vault), leases, sources: fakes, _place: place }
}

fn id(number: u8) -> Ulid {
    Ulid::new(Millis(1), [number; 10])
}

fn state(locks: Vec<Lock>) -> PolicyState {
    state_with(locks, "")
}

fn state_with(locks: Vec<Lock>, more: &str) -> PolicyState {
    let credential = |source: &str| Credential {
        name: name(source),
        source: name(source),
        reference: Reference::default(),
        binding: Binding::parse(
            format!(r#"{{"to":"https://{source}.test","methods":["GET"],"paths":["/**"],"slot":"bearer"{more}}}"#)
                .as_bytes(),
        )
        .unwrap(),
    };
    let agents = ["x", "y"];
    let grant = |agent: &str, source: &str| Grant { id: id(1), agent: name(agent), credential: name(source) };
    PolicyState::new(StateParts {
        agents: agents.map(|agent| Agent { name: name(agent), state: AgentState::Active }).into(),
        credentials: ["s", "t"].map(credential).into(),
        grants: agents.iter().flat_map(|agent| ["s", "t"].map(|source| grant(agent, source))).collect(),
        locks,
        ..StateParts::default()
    })
}

fn permit_of(agent: &str, source: &str, instance: u8) -> Permit {
    permit_with(agent, source, instance, "")
}

fn permit_with(agent: &str, source: &str, instance: u8, more: &str) -> Permit {
    let instance = id(instance);
    let caller = Caller { agent: name(agent), instance, session: instance, facts: Arc::default(), contained: false };
    let url = format!("https://{source}.test/");
    let request = CanonicalRequest::from_absolute_form(b"GET", url.as_bytes(), Body::None).unwrap();
    match decide(&state_with(Vec::new(), more), &caller, request, Millis(1), instance) {
        Verdict::Allow(permit) => permit,
        other => panic!("{other:?}"),
    }
}

fn permit(agent: &str) -> Permit {
    permit_of(agent, "s", 1)
}

fn kept(rig: &Rig) -> Vec<Name> {
    rig.vault.shelf().agents()
}

fn sent(values: &Values) -> String {
    String::from_utf8(values.filled[0].value.to_vec()).unwrap()
}

async fn forward(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn values_are_kept_for_a_moment_per_instance_and_swept_when_it_is_over() {
    let rig = rig(&["s"]);
    for _ in 0..3 {
        rig.vault.values(&permit("x")).await.unwrap();
    }
    assert_eq!(rig.sources["s"].reads(), 1);
    rig.vault.values(&permit("y")).await.unwrap();
    rig.vault.values(&permit_of("x", "s", 2)).await.unwrap();
    assert_eq!((rig.sources["s"].reads(), kept(&rig).len()), (3, 3), "never shared between agents or instances");
    forward(VALUE_LIFE.as_secs() - 1).await;
    rig.vault.sweep();
    assert_eq!(kept(&rig).len(), 3);
    forward(1).await;
    rig.vault.sweep();
    assert!(kept(&rig).is_empty());
    rig.vault.values(&permit("x")).await.unwrap();
    assert_eq!(rig.sources["s"].reads(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_value_of_which_its_source_knows_a_newer_one_is_used_no_more() {
    let rig = rig(&["s"]);
    rig.vault.values(&permit("x")).await.unwrap();
    rig.vault.values(&permit("x")).await.unwrap();
    assert_eq!(rig.sources["s"].reads(), 1);
    rig.sources["s"].set("rotated-value");
    rig.sources["s"].changed.store(true, Ordering::SeqCst);
    assert_eq!(sent(&rig.vault.values(&permit("x")).await.unwrap()), "Bearer rotated-value");
    assert_eq!(rig.sources["s"].reads(), 2);
    // Taken away: what was read before is no answer, though its time is not over.
    rig.sources["s"].changed.store(true, Ordering::SeqCst);
    rig.sources["s"].fails(Some(SourceFault::Missing));
    assert_eq!(rig.vault.values(&permit("x")).await.map(drop), Err(SourceFault::Missing));
    rig.vault.sweep();
    assert!(kept(&rig).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lock_drops_the_agents_values_and_no_others() {
    let rig = rig(&["s"]);
    rig.vault.values(&permit("x")).await.unwrap();
    rig.vault.values(&permit("y")).await.unwrap();
    let lock = Lock { id: id(2), target: LockTarget::Agent(name("x")), expires: None };
    rig.vault.forget(&state(vec![lock]), Millis(1));
    assert_eq!(kept(&rig), [name("y")]);
}

#[tokio::test(start_paused = true)]
async fn what_was_being_read_when_the_agent_was_locked_is_not_kept() {
    let rig = rig(&["s"]);
    rig.sources["s"].hangs.store(true, Ordering::SeqCst);
    let (vault, locked) = (rig.vault.clone(), permit("x"));
    let reading = tokio::spawn(async move { vault.values(&locked).await.is_ok() });
    forward(1).await;
    let lock = Lock { id: id(2), target: LockTarget::Agent(name("x")), expires: None };
    rig.vault.forget(&state(vec![lock]), Millis(1));
    rig.sources["s"].go_on.notify_one();
    reading.await.unwrap();
    assert!(kept(&rig).is_empty());
}

/// Case T08.
#[tokio::test(start_paused = true)]
async fn a_value_that_could_leave_its_field_or_not_be_scrubbed_is_refused() {
    for bad in ["long\r\nenough", "long\0enough", "long-enough\n", "short", "", "l\u{f6}ng-enough"] {
        let rig = rig(&["s"]);
        rig.sources["s"].set(bad);
        assert_eq!(rig.vault.values(&permit("x")).await.err(), Some(SourceFault::Garbage), "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_at_once_make_one_read() {
    let rig = rig(&["s"]);
    rig.sources["s"].hangs.store(true, Ordering::SeqCst);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let vault = rig.vault.clone();
            tokio::spawn(async move { vault.values(&permit("x")).await.is_ok() })
        })
        .collect();
    forward(1).await;
    calls[0].abort();
    rig.sources["s"].go_on.notify_one();
    for call in calls.into_iter().skip(1) {
        assert!(call.await.unwrap(), "who asked first may go away");
    }
    assert_eq!(rig.sources["s"].reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kept_value_does_not_outlive_its_lease() {
    let rig = rig(&["s"]);
    rig.sources["s"].leases(20);
    rig.vault.values(&permit("x")).await.unwrap();
    forward(19).await;
    rig.vault.values(&permit("x")).await.unwrap();
    assert_eq!(rig.sources["s"].reads(), 2, "a moment before its end it is not used any more");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_is_followed_by_the_next_before_it_does() {
    let rig = rig(&["s"]);
    rig.sources["s"].leases(100);
    rig.vault.values(&permit("x")).await.unwrap();
    rig.sources["s"].set("the-next-value");
    forward(76).await;
    assert_eq!(sent(&rig.vault.values(&permit("x")).await.unwrap()), "Bearer long-enough", "nobody waits for it");
    forward(1).await;
    assert_eq!(sent(&rig.vault.values(&permit("x")).await.unwrap()), "Bearer the-next-value");
    assert_eq!(rig.sources["s"].reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_uses_is_let_go() {
    let rig = rig(&["s"]);
    rig.sources["s"].leases(100_000);
    let used = rig.vault.values(&permit("x")).await.unwrap();
    forward(IDLE.as_secs()).await;
    rig.vault.sweep();
    assert_eq!(rig.leases.list()[0].due, None, "a call holds it");
    drop(used);
    assert_eq!(rig.leases.list()[0].due, Some(crate::leases::Why::Released));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_ended_is_used_by_no_call_after_that() {
    let rig = rig(&["s"]);
    rig.sources["s"].leases(100);
    rig.vault.values(&permit("x")).await.unwrap();
    let lease = rig.leases.list()[0].id.clone();
    rig.leases.revoke(&lease).unwrap();
    rig.vault.values(&permit("x")).await.unwrap();
    assert_eq!(rig.sources["s"].reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_never_recorded_is_not_used() {
    let rig = rig(&["s"]);
    rig.sources["s"].leases(100);
    rig.sources["s"].lies.store(true, Ordering::SeqCst);
    assert_eq!(rig.vault.values(&permit("x")).await.err(), Some(SourceFault::NotRecorded));
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_deadline_is_not_used_and_given_back() {
    let rig = rig(&["s"]);
    rig.sources["s"].leases(100);
    rig.sources["s"].hangs.store(true, Ordering::SeqCst);
    assert_eq!(rig.vault.values(&permit("x")).await.err(), Some(SourceFault::Unavailable));
    rig.sources["s"].go_on.notify_one();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(kept(&rig).is_empty());
    assert_eq!(rig.leases.list()[0].due, Some(crate::leases::Why::Released));
}

/// Nothing that one source's callers wait for is anything that another's wait for.
#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_sealed_or_begs_for_patience_keeps_no_caller_of_another_waiting() {
    for fault in [None, Some(SourceFault::Sealed), Some(SourceFault::Busy(Duration::from_secs(60)))] {
        let rig = rig(&["s", "t"]);
        rig.sources["s"].hangs.store(fault.is_none(), Ordering::SeqCst);
        rig.sources["s"].fails(fault);
        let waiting: Vec<_> = (0..50)
            .map(|instance| {
                let vault = rig.vault.clone();
                tokio::spawn(async move { vault.values(&permit_of("x", "s", instance)).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        for instance in 0..50 {
            rig.vault.values(&permit_of("x", "t", instance)).await.unwrap();
        }
        // The clock only moves when everybody waits: nobody did.
        assert_eq!(begun.elapsed(), Duration::ZERO, "{fault:?}");
        assert!(rig.sources["s"].reads() <= 4, "and it is asked by no more than may ask it: {fault:?}");
        for waiting in waiting {
            assert!(!waiting.await.unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_answer_is_not_asked_for_a_while_and_then_by_one() {
    let rig = rig(&["s"]);
    rig.sources["s"].fails(Some(SourceFault::Unavailable));
    for _ in 0..10 {
        assert!(rig.vault.values(&permit("x")).await.is_err());
    }
    assert_eq!(rig.sources["s"].reads(), 3);
    rig.sources["s"].fails(None);
    assert!(matches!(rig.vault.values(&permit("x")).await, Err(SourceFault::Busy(_))), "and how long is said");
    forward(1).await;
    assert!(rig.vault.values(&permit("x")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_value_is_read_again_once_and_another_one_is_another_try() {
    let rig = rig(&["s"]);
    let first = rig.vault.values(&permit("x")).await.unwrap();
    assert!(!rig.vault.refused(&permit("x"), &first).await, "the same value is no reason to try again");
    let fresh = || rig.sources["s"].fresh.load(Ordering::SeqCst);
    assert_eq!(fresh(), 1, "and no cache of the source's is asked");
    assert!(!rig.vault.refused(&permit("x"), &first).await);
    assert_eq!(fresh(), 1, "a tool that refuses everything makes no reads");
    forward(FUTILE.as_secs()).await;
    rig.sources["s"].set("the-next-value");
    assert!(rig.vault.refused(&permit("x"), &first).await);
    assert!(rig.vault.refused(&permit("x"), &first).await, "who comes late takes what is there");
    assert_eq!(fresh(), 2);
    assert_eq!(sent(&rig.vault.values(&permit("x")).await.unwrap()), "Bearer the-next-value");
}

#[tokio::test(start_paused = true)]
async fn a_rotated_value_is_read_anew_at_its_next_use_and_the_old_one_does_until_then() {
    let rig = rig(&["s", "t"]);
    rig.vault.values(&permit("x")).await.unwrap();
    rig.vault.values(&permit_of("x", "t", 1)).await.unwrap();
    assert_eq!(rig.vault.rotate(&name("s")), 1);
    rig.sources["s"].fails(Some(SourceFault::Unavailable));
    assert_eq!(sent(&rig.vault.values(&permit("x")).await.unwrap()), "Bearer long-enough", "while there is no other");
    rig.sources["s"].fails(None);
    rig.sources["s"].set("the-next-value");
    forward(1).await;
    assert_eq!(
        sent(&rig.vault.values(&permit("x")).await.unwrap()),
        "Bearer the-next-value",
        "and nobody gets the old"
    );
    rig.vault.values(&permit_of("x", "t", 1)).await.unwrap();
    assert_eq!((rig.sources["s"].reads(), rig.sources["t"].reads()), (3, 1), "no other is read for it");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_anew_by_schedule_and_after_so_many_uses() {
    for (rotate, uses, seconds) in [(r#"{"after_uses":3}"#, 4, 0), (r#"{"every_seconds":60}"#, 1, 60)] {
        let rig = rig(&["s"]);
        rig.sources["s"].leases(100_000);
        let permit = || permit_with("x", "s", 1, &format!(r#","rotate":{rotate}"#));
        for _ in 0..uses {
            rig.vault.values(&permit()).await.unwrap();
        }
        assert_eq!(rig.sources["s"].reads(), 1, "{rotate}");
        forward(seconds).await;
        rig.sources["s"].set("the-next-value");
        assert_eq!(sent(&rig.vault.values(&permit()).await.unwrap()), "Bearer long-enough", "nobody waits for it");
        forward(1).await;
        assert_eq!(sent(&rig.vault.values(&permit()).await.unwrap()), "Bearer the-next-value", "{rotate}");
        let gone = rig.leases.list().iter().filter(|told| told.due == Some(crate::leases::Why::Released)).count();
        assert_eq!(gone, 1, "and the first goes back");
    }
}
