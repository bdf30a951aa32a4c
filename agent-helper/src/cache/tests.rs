use super::codec::identities;
use super::*;
use crate::freshness::{Freshness, Stale};
use crate::identity::instance::{Instances, Process, Running};
use crate::identity::key::NodeMadeKey;
use crate::identity::{HeldSvid, Identities, IdentityKey, validate};
use crate::testing::{HandClock, TestAuthority};
use avouch_wire::Message;
use avouch_wire::unix::Peer;
use avouch_words::{Clock, Millis, Name, TrustDomain, Ulid};
use std::sync::Arc;
use std::time::Duration;

/// A helper's places; the key is a service manager's credential.
struct Home {
    dir: tempfile::TempDir,
    node: SpiffeId,
}

impl Home {
    fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap(), node: node("n1") };
        fs::create_dir(home.dir.path().join("credentials")).unwrap();
        home.give_key(7);
        home
    }

    fn give_key(&self, byte: u8) {
        fs::write(self.dir.path().join("credentials/cache-key"), [byte; 32]).unwrap();
    }

    /// The cache as a helper that starts finds it.
    fn open(&self) -> Cache {
        let at = |name: &str| self.dir.path().join(name);
        let cache = Cache::open(&self.node, &at("cache"), Some(&at("credentials")), &at("marks"));
        assert!(cache.is_on());
        cache
    }

    fn file(&self, kind: Kind) -> PathBuf {
        self.dir.path().join("cache").join(kind.name())
    }

    fn reads(&self, kind: Kind) -> Option<Vec<u8>> {
        self.open().read(kind).map(|kept| kept.expose().to_vec())
    }
}

fn node(name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.test/node/join_token/{name}")).unwrap()
}

#[test]
fn what_was_written_last_is_read_after_a_restart_and_is_not_legible_on_disk() {
    let home = Home::new();
    let cache = home.open();
    assert!(cache.read(Kind::State).is_none());
    for content in [b"first-first-first".as_slice(), b"second-second-second", b""] {
        cache.write(Kind::State, content);
        assert_eq!(home.reads(Kind::State).as_deref(), Some(content));
        let file = fs::read(home.file(Kind::State)).unwrap();
        assert!(content.is_empty() || !file.windows(content.len()).any(|part| part == content));
    }
    cache.forget();
    assert_eq!(home.reads(Kind::State), None);
    assert!(!home.file(Kind::State).exists());
}

/// Somebody puts back what was there before a lock.
#[test]
fn an_older_file_put_back_is_discarded() {
    let home = Home::new();
    home.open().write(Kind::State, b"without the lock");
    let before = fs::read(home.file(Kind::State)).unwrap();
    home.open().write(Kind::State, b"with the lock");
    fs::write(home.file(Kind::State), before).unwrap();
    assert_eq!(home.reads(Kind::State), None);
    assert!(!home.file(Kind::State).exists(), "and wiped");
}

#[test]
fn a_file_that_is_damaged_or_another_is_discarded() {
    let whole = |home: &Home| {
        home.open().write(Kind::Age, b"an age");
        home.open().write(Kind::State, b"a state");
        fs::read(home.file(Kind::State)).unwrap()
    };
    let length = whole(&Home::new()).len();
    for at in 0..length {
        let home = Home::new();
        let mut file = whole(&home);
        file[at] ^= 1;
        fs::write(home.file(Kind::State), file).unwrap();
        assert_eq!(home.reads(Kind::State), None, "byte {at}");
        assert_eq!(home.reads(Kind::Age).as_deref(), Some(b"an age".as_slice()), "the others are as good as before");
    }
    let spoil: [fn(&Home); 5] = [
        |home| fs::write(home.file(Kind::State), b"").unwrap(),
        |home| fs::write(home.file(Kind::State), [0; 64]).unwrap(),
        |home| assert!(fs::copy(home.file(Kind::Age), home.file(Kind::State)).unwrap() > 0),
        |home| {
            fs::rename(home.file(Kind::State), home.dir.path().join("elsewhere")).unwrap();
            std::os::unix::fs::symlink(home.dir.path().join("elsewhere"), home.file(Kind::State)).unwrap();
        },
        |home| fs::write(home.dir.path().join("marks"), b"short").unwrap(),
    ];
    for (at, spoil) in spoil.into_iter().enumerate() {
        let home = Home::new();
        whole(&home);
        spoil(&home);
        assert_eq!(home.reads(Kind::State), None, "{at}");
    }
}

#[test]
fn another_key_another_node_and_another_start_of_the_machine_open_nothing() {
    let mut home = Home::new();
    home.open().write(Kind::State, b"a state");
    home.give_key(8);
    assert_eq!(home.reads(Kind::State), None);
    home.give_key(7);
    home.open().write(Kind::State, b"a state");
    home.node = node("n2");
    assert_eq!(home.reads(Kind::State), None);

    let cache = home.open();
    cache.write(Kind::State, b"a state");
    let mut files = cache.files().unwrap();
    let line = files.here.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    files.here[line] ^= 1;
    drop(files);
    assert!(cache.read(Kind::State).is_none(), "sealed before a reboot");
}

/// A crash leaves either the old file or the new one; both were the newest, and nothing before them.
#[test]
fn a_crash_while_it_is_written_loses_nothing() {
    let home = Home::new();
    let cache = home.open();
    cache.write(Kind::State, b"old");
    let old = fs::read(home.file(Kind::State)).unwrap();
    cache.write(Kind::State, b"new");
    let new = fs::read(home.file(Kind::State)).unwrap();
    let tag = |file: &[u8]| *file.last_chunk::<MARK>().unwrap();
    for (file, content) in [(&old, b"old"), (&new, b"new")] {
        cache.files().unwrap().place.mark(Kind::State, [tag(&old), tag(&new)]).unwrap();
        fs::write(home.file(Kind::State), file).unwrap();
        assert_eq!(home.reads(Kind::State).as_deref(), Some(content.as_slice()));
    }
}

/// Then what was kept before may be what has just been withdrawn.
#[test]
fn what_cannot_be_written_leaves_nothing() {
    let home = Home::new();
    let cache = home.open();
    cache.write(Kind::State, b"without the lock");
    let before = fs::read(home.file(Kind::State)).unwrap();
    fs::create_dir(home.file(Kind::State).with_extension("new")).unwrap();
    cache.write(Kind::State, b"with the lock");
    assert!(!home.file(Kind::State).exists());
    fs::write(home.file(Kind::State), before).unwrap();
    assert_eq!(home.reads(Kind::State), None);
}

#[test]
fn a_credential_of_another_length_is_no_key() {
    let home = Home::new();
    let at = |name: &str| home.dir.path().join(name);
    fs::write(at("credentials/cache-key"), [7; 31]).unwrap();
    home.open_off(&at("cache"), &at("credentials"), &at("marks"));
}

impl Home {
    fn open_off(&self, cache: &Path, credentials: &Path, marks: &Path) {
        let opened = Cache::open(&self.node, cache, Some(credentials), marks);
        assert!(!opened.is_on() && opened.read(Kind::State).is_none());
        opened.write(Kind::State, b"nothing");
        assert!(!cache.exists(), "what nobody can open any more is wiped");
    }
}

/// The key outlives whoever made it, and is another for another directory.
#[test]
fn the_keyring_keeps_the_key_and_the_marks() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| Cache::open(&node("n1"), &dir.path().join(name), None, Path::new("/nonexistent"));
    let cache = open("one");
    if !cache.is_on() {
        eprintln!("this host has no keyrings: nothing to show");
        return;
    }
    cache.write(Kind::State, b"a state");
    let sealed = fs::read(dir.path().join("one/state")).unwrap();
    cache.write(Kind::State, b"a later state");
    drop(cache);
    let again = std::thread::spawn({
        let path = dir.path().join("one");
        move || Cache::open(&node("n1"), &path, None, Path::new("/nonexistent"))
    });
    assert_eq!(again.join().unwrap().read(Kind::State).unwrap().expose(), b"a later state");
    fs::write(dir.path().join("one/state"), &sealed).unwrap();
    assert!(open("one").read(Kind::State).is_none(), "put back");
    open("two").write(Kind::State, b"another's");
    fs::copy(dir.path().join("two/state"), dir.path().join("one/state")).unwrap();
    assert!(open("one").read(Kind::State).is_none(), "another helper's");
}

/// A helper's memory, its issuer, and what it has kept.
struct Rig {
    home: Home,
    clock: Arc<HandClock>,
    authority: Arc<TestAuthority>,
}

impl Rig {
    fn new() -> Self {
        let clock = HandClock::new();
        Self { home: Home::new(), authority: TestAuthority::new(clock.clone()), clock }
    }

    fn domain(&self) -> TrustDomain {
        TrustDomain::parse("example.test").unwrap()
    }

    /// Keeps a state of now, with an identity for these processes.
    fn keep(&self, processes: Vec<Process>) -> IdentityKey {
        let state = self.authority.state(5);
        let cache = self.home.open();
        cache.write(Kind::State, &state.encode_to_vec());
        let freshness = Freshness::default();
        freshness.confirm(&state.epoch, self.clock.now(), self.clock.boot());
        cache.write(Kind::Age, &freshness.kept().unwrap().bytes());
        let instance = Ulid::new(Millis(7), [7; 10]);
        let whose = IdentityKey { agent: Name::parse("researcher").unwrap(), instance };
        let running = Running { whose: whose.clone(), uid: rustix::process::geteuid().as_raw(), processes };
        cache.write(Kind::Identities, &identities(&[(running, self.svid("researcher"))]));
        whose
    }

    fn svid(&self, agent: &str) -> Arc<HeldSvid> {
        let key = NodeMadeKey::generate().unwrap();
        let chain = self.authority.leaf(&format!("spiffe://example.test/agent/{agent}"), &key.csr().unwrap());
        let id = SpiffeId::parse(&format!("spiffe://example.test/agent/{agent}")).unwrap();
        Arc::new(validate::admit(&id, &chain, &key, &self.authority.bundle(), self.clock.now()).unwrap())
    }

    fn load(&self) -> Option<Restored> {
        Restored::load(&self.home.open(), &self.domain(), &*self.clock)
    }

    fn identities(&self) -> usize {
        self.load().map_or(0, |restored| restored.identities.len())
    }
}

fn us() -> Process {
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    Process::of(&Peer::of(&ours).unwrap())
}

#[tokio::test]
async fn an_identity_goes_on_where_it_was_without_asking_the_issuer() {
    let rig = Rig::new();
    let whose = rig.keep(vec![us()]);
    let restored = rig.load().unwrap();
    assert_eq!((restored.state.version, restored.identities.len()), (5, 1));
    let (ended, _queue) = tokio::sync::mpsc::channel(8);
    let (readers, mut desk) = Identities::new(rig.authority.clone(), rig.clock.clone(), ended);
    let (instances, freshness) = (Instances::default(), Freshness::default());
    let attestor = crate::attest::Attestor::new(Arc::default(), rig.home.dir.path().to_owned());
    restored.begin(&freshness, &attestor, &instances, &mut desk);
    let uid = crate::identity::instance::Holder::Uid(rustix::process::geteuid().as_raw());
    assert_eq!(instances.of(&whose.agent, uid, &*rig.clock).unwrap(), whose);
    assert!(matches!(&*readers.follow(&whose).await.unwrap().borrow(), crate::identity::Identity::Ready(_)));
    assert_eq!(rig.authority.asked.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(freshness.check(rig.clock.boot()), Err(Stale::Unheard), "and nothing is injected by it");
    rig.clock.forward(Duration::from_secs(31));
    assert_eq!(freshness.check(rig.clock.boot()), Err(Stale::Old));
}

#[test]
fn identities_of_processes_that_ended_are_wiped() {
    let rig = Rig::new();
    rig.keep(vec![Process { start_time: us().start_time + 1, ..us() }]);
    assert_eq!(rig.identities(), 0, "another process has the pid");
    rig.keep(Vec::new());
    assert_eq!(rig.identities(), 0);
    rig.keep(vec![Process { pid: i32::MAX, start_time: 1 }, us()]);
    assert_eq!(rig.load().unwrap().identities[0].0.processes, [us()], "one that lives is enough");
}

#[test]
fn an_svid_is_kept_until_it_really_expires_and_no_longer() {
    let rig = Rig::new();
    rig.keep(vec![us()]);
    rig.clock.forward(Duration::from_secs(890));
    assert_eq!(rig.identities(), 1);
    rig.clock.forward(Duration::from_secs(20));
    assert_eq!(rig.identities(), 0);
}

#[test]
fn identities_are_taken_only_as_the_kept_state_allows() {
    let rig = Rig::new();
    let domain = rig.domain();
    type Attack = fn(&mut avouch_wire::issuer::State);
    let attacks: [(&str, Attack); 3] = [
        ("the agent is gone", |state| state.agents.clear()),
        ("everything is locked", |state| {
            let id = "01HF7YAT00ZZZZZZZZZZZZZZZZ".to_owned();
            state.locks = vec![avouch_wire::issuer::Lock { id, ..Default::default() }];
        }),
        ("its authority is gone", |state| {
            let other = TestAuthority::new(HandClock::new()).bundle();
            state.x509_authorities = vec![other.x509[0].0.to_vec()];
        }),
    ];
    for (why, attack) in attacks {
        rig.keep(vec![us()]);
        let mut state = rig.authority.state(6);
        attack(&mut state);
        rig.home.open().write(Kind::State, &state.encode_to_vec());
        assert_eq!(rig.identities(), 0, "{why}");
    }
    // Another agent's certificate in the place of this one's.
    let whose = rig.keep(vec![us()]);
    let running = Running { whose, uid: rustix::process::geteuid().as_raw(), processes: vec![us()] };
    rig.home.open().write(Kind::Identities, &identities(&[(running, rig.svid("intruder"))]));
    assert_eq!(rig.identities(), 0);
    // A state without its age, of another database, or of another trust domain is none.
    rig.keep(vec![us()]);
    rig.home.open().write(Kind::Age, b"");
    assert!(rig.load().is_none());
    rig.keep(vec![us()]);
    let other = avouch_wire::issuer::State { epoch: b"other".to_vec(), ..rig.authority.state(5) };
    rig.home.open().write(Kind::State, &other.encode_to_vec());
    assert!(rig.load().is_none());
    assert!(!rig.home.file(Kind::Identities).exists(), "and all of it is wiped");
    rig.keep(vec![us()]);
    let elsewhere = TrustDomain::parse("other.test").unwrap();
    assert!(Restored::load(&rig.home.open(), &elsewhere, &*rig.clock).is_none());
    assert_ne!(domain, elsewhere);
}

#[test]
fn bytes_that_end_early_or_go_on_are_no_identities() {
    let rig = Rig::new();
    let whose = rig.keep(vec![us()]);
    let running = Running { whose, uid: 7, processes: vec![us()] };
    let bytes = identities(&[(running, rig.svid("researcher"))]);
    assert!(codec::read_identities(&bytes).is_some());
    for length in 0..bytes.len() {
        assert!(codec::read_identities(&bytes[..length]).is_none(), "{length}");
    }
    assert!(codec::read_identities(&[&bytes[..], b"x"].concat()).is_none());
    assert!(codec::read_identities(&[0xff; 64]).is_none());
}
