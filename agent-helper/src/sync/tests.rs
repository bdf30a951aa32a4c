use super::*;
use crate::freshness::{Freshness, Stale};
use crate::state::tests::{locked, plain};
use crate::testing::{HandClock, Notes};
use std::sync::Mutex;
use tokio::sync::watch;

/// Says in which order it was told, and what readers saw at that time.
struct Told {
    states: watch::Receiver<Option<Arc<NodeState>>>,
    steps: Mutex<Vec<(&'static str, Option<u64>)>>,
}

impl Told {
    fn step(&self, what: &'static str) {
        let seen = self.states.borrow().as_ref().map(|state| state.version);
        self.steps.lock().unwrap().push((what, seen));
    }
}

impl Enforce for Told {
    fn withdraw<'a>(&'a self, _: &'a NodeState) -> BoxFuture<'a, ()> {
        self.step("withdraw");
        Box::pin(async {})
    }

    fn cut<'a>(&'a self, _: &'a NodeState) -> BoxFuture<'a, ()> {
        self.step("cut");
        Box::pin(async {})
    }
}

struct Rig {
    follower: Follower,
    told: Arc<Told>,
    notes: Arc<Notes>,
    clock: Arc<HandClock>,
}

fn rig() -> Rig {
    let clock = HandClock::new();
    let states = watch::Sender::new(None);
    let (notes, journal) = Notes::new();
    let stale = StaleWatch::new(Arc::new(Freshness::default()), states.subscribe(), journal.clone(), clock.clone());
    let told = Arc::new(Told { states: states.subscribe(), steps: Mutex::default() });
    let identity = watch::Sender::new(None);
    let bundles = watch::Sender::new(Arc::default());
    let trust_domain = TrustDomain::parse("example.test").unwrap();
    let config = avouch_wire::tls::client_config(
        identity.subscribe(),
        bundles.subscribe(),
        trust_domain.issuer(),
        clock.clone(),
    );
    let (link, _) = Link::new(&["127.0.0.1:1".to_owned()], config.unwrap(), identity.subscribe());
    let follower = Follower {
        link,
        trust_domain,
        states,
        stale: Arc::new(stale),
        contact: Arc::new(Contact::new(avouch_words::Millis(0))),
        enforcer: told.clone(),
        cache: Arc::new(Cache::off()),
        journal,
        clock: clock.clone(),
    };
    Rig { follower, told, notes, clock }
}

impl Rig {
    async fn take(&self, mut state: State) -> Result<Applied, Doubt> {
        state.database_time_ms = self.clock.now().0;
        self.follower.take(state, self.clock.boot()).await.map_err(|doubt| self.follower.doubt(doubt))
    }

    fn beat(&self, version: u64, epoch: &[u8], domain: &str) -> Result<(), Doubt> {
        let beat = Heartbeat {
            version,
            epoch: epoch.to_vec(),
            trust_domain: domain.to_owned(),
            database_time_ms: self.clock.now().0,
        };
        self.follower.hear(&beat, self.clock.boot()).map_err(|doubt| self.follower.doubt(doubt))
    }

    fn fresh(&self) -> Result<(), Stale> {
        self.follower.stale.freshness().check(self.clock.boot())
    }

    fn version(&self) -> u64 {
        self.follower.states.borrow().as_ref().map_or(0, |state| state.version)
    }
}

#[tokio::test]
async fn a_state_is_withdrawn_from_then_seen_then_cut_and_only_then_applied() {
    let rig = rig();
    assert_eq!(rig.fresh(), Err(Stale::Unknown));
    let applied = rig.take(plain(7)).await.unwrap();
    assert_eq!((applied.version, applied.epoch.as_slice()), (7, b"epoch-1".as_slice()));
    assert_eq!(*rig.told.steps.lock().unwrap(), [("withdraw", None), ("cut", Some(7))]);
    assert_eq!(rig.fresh(), Ok(()));
}

#[tokio::test]
async fn what_goes_back_is_not_taken_makes_stale_and_is_recorded() {
    let attacks: [(fn() -> State, Doubt); 4] = [
        (|| plain(4), Doubt::VersionWentBack),
        (|| plain(6), Doubt::LocksVanished),
        (|| State { trust_domain: "other.test".to_owned(), ..locked(6) }, Doubt::OtherTrustDomain),
        (|| State { epoch: Vec::new(), ..locked(6) }, Doubt::Unreadable),
    ];
    for (attack, doubt) in attacks {
        let rig = rig();
        rig.take(locked(5)).await.unwrap();
        assert_eq!(rig.take(attack()).await.err(), Some(doubt));
        assert_eq!(rig.version(), 5, "what was held stays");
        assert_eq!(rig.fresh(), Err(Stale::Doubted(doubt)), "and nothing is injected");
        assert_eq!(rig.notes.codes(), ["locks.stale_began"]);
        rig.take(locked(6)).await.unwrap();
        assert_eq!(rig.fresh(), Ok(()));
        assert_eq!(rig.notes.codes(), ["locks.stale_began", "locks.stale_ended"]);
    }
}

#[tokio::test]
async fn a_new_epoch_is_taken_and_recorded() {
    let rig = rig();
    rig.take(locked(5)).await.unwrap();
    rig.take(State { epoch: b"epoch-2".to_vec(), ..plain(1) }).await.unwrap();
    assert_eq!((rig.version(), rig.notes.codes()), (1, vec!["locks.epoch_changed"]));
}

#[tokio::test]
async fn only_a_heartbeat_that_agrees_with_what_is_held_keeps_it_fresh() {
    let rig = rig();
    rig.take(plain(5)).await.unwrap();
    rig.clock.forward(Duration::from_secs(25));
    rig.beat(5, b"epoch-1", "example.test").unwrap();
    rig.clock.forward(Duration::from_secs(25));
    assert_eq!(rig.fresh(), Ok(()));
    // A newer version is out, and has not come: a lock may be in it.
    rig.beat(6, b"epoch-1", "example.test").unwrap();
    rig.beat(5, b"epoch-2", "example.test").unwrap();
    rig.clock.forward(Duration::from_secs(6));
    assert_eq!(rig.fresh(), Err(Stale::Old));
    assert_eq!(rig.beat(4, b"epoch-1", "example.test"), Err(Doubt::VersionWentBack));
    assert_eq!(rig.beat(5, b"epoch-1", "other.test"), Err(Doubt::OtherTrustDomain));
}

#[tokio::test]
async fn age_alone_is_recorded_and_so_is_its_end() {
    let rig = rig();
    rig.take(plain(5)).await.unwrap();
    rig.clock.forward(Duration::from_secs(31));
    let stop = CancellationToken::new();
    stop.cancel();
    rig.follower.stale.clone().run(stop).await;
    rig.beat(5, b"epoch-1", "example.test").unwrap();
    assert_eq!(rig.notes.codes(), ["locks.stale_began", "locks.stale_ended"]);
    assert_eq!(rig.fresh(), Ok(()));
}
