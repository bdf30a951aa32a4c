//! What every backend of the store must do. Whoever has one names its fixture to [`conformance!`].

#![allow(dead_code, reason = "each user takes what it needs")]

mod issuers;

pub use issuers::*;

use avouch_audit::entry::{Body, Entry, Log};
use avouch_audit::field::Outside;
use avouch_audit::record::{HelperEvent, IssuerEvent};
use avouch_audit::spool::{Chain, SpoolId, SpoolRecord};
use avouch_audit::tree::Tree;
use avouch_core::authority::{Authority, AuthorityState};
use avouch_core::keys::Purpose;
use avouch_core::node::{Serial, TokenUse};
use avouch_core::{Agent, Credential, Grant, Instance, JoinToken, Lock, LockTarget, Node, Registration};
use avouch_store::{IssuedSvid, MAX_PAGE, Store, StoreError, StoredCheckpoint, SvidId, Tx};
use avouch_words::{Digest, Millis, Name, Selector, TrustDomain, Ulid};
use std::any::Any;
use std::collections::BTreeSet;
use std::time::Duration;

/// A database that was just made, and two ways to it: of two issuers, where there may be two.
pub struct Fixture {
    pub store: Store,
    pub other: Store,
    /// What it stands on.
    pub held: Box<dyn Any + Send>,
}

/// Makes a test of each property for this fixture.
#[macro_export]
macro_rules! conformance {
    ($fixture:path) => {
        $crate::conformance! { $fixture =>
            everything_reads_back_as_it_was_put
            names_are_taken_once_and_referents_must_be_there
            a_change_and_its_event_commit_together_or_not_at_all
            versions_and_log_numbers_have_no_gap_and_no_double_under_16_writers
            of_32_that_race_with_one_token_one_is_first
            a_used_token_answers_its_own_key_again_until_it_ends
            locks_end_once_and_are_remembered
            one_authority_of_a_purpose_is_active
            an_instance_stays_with_its_node_and_agent_and_ends_for_good
            batches_of_svids_are_kept_whole_and_never_twice
            a_spool_goes_on_only_from_where_it_is
            a_node_svid_is_seen_once_and_a_banned_node_stays_banned
            nothing_is_acknowledged_after_a_statement_that_failed
            names_come_in_the_order_of_their_bytes
            a_page_has_a_limit_and_the_next_goes_on_from_it
            a_snapshot_stays_as_it_is
            the_lead_is_one_issuers_and_the_former_writes_nothing
            an_issuer_tells_how_its_nodes_stand
        }
    };
    ($fixture:path => $($name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            conformance::$name($fixture().await).await;
        })*
    };
}

pub const NOW: Millis = Millis(1_700_000_000_000);

pub fn domain() -> TrustDomain {
    TrustDomain::parse("example.test").unwrap()
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub fn id(n: u8) -> Ulid {
    Ulid::new(NOW, [n; 10])
}

pub fn agent(name: &str) -> Agent {
    let registration = Registration {
        name: name.into(),
        owner: "me@example.test".into(),
        nodes: vec!["node:name:laptop".into()],
        selectors: vec!["unix:uid:1".into(), "unix:path:/bin/a b".into()],
        ..Registration::default()
    };
    registration.check(NOW).unwrap()
}

pub fn node(text: &str) -> Node {
    let attestor = name("join_token");
    Node {
        id: domain().node(&attestor, &name(text)),
        name: name(text),
        attestor,
        selectors: vec![Selector::parse("node:name:laptop").unwrap()],
        joined: NOW,
        serial: Serial([1; 16]),
        serial_seen: false,
        previous: None,
        svid_expires: NOW.plus(Duration::from_secs(3600)),
        banned: None,
    }
}

pub fn credential(host: &str) -> Credential {
    let binding = format!(r#"{{"to":"https://{host}:443","methods":["GET"],"paths":["/x"],"slot":"bearer"}}"#);
    Credential::check("github", "vault", "kv2:secret/ci#token@3", binding.as_bytes(), NOW).unwrap()
}

pub fn lock(n: u8, agent: &str) -> Lock {
    Lock::check(id(n), LockTarget::Agent(name(agent)), "test", "uid:0", Duration::from_secs(60), NOW).unwrap()
}

pub fn authority(n: u8, purpose: Purpose, state: AuthorityState) -> Authority {
    let not_after = NOW.plus(Duration::from_secs(86_400));
    Authority {
        id: id(n),
        purpose,
        state,
        reference: vec![1],
        public: vec![2],
        created: NOW,
        not_after,
        last_expiry: NOW,
    }
}

pub fn event() -> Body {
    Body::Event(IssuerEvent::Started { version: Outside::of("0"), epoch: Outside::of("0") })
}

pub async fn commit(mut tx: Tx) -> Result<u64, StoreError> {
    tx.append(event(), &domain().issuer(), NOW).await?;
    tx.commit().await
}

impl Fixture {
    /// An agent, a node and a credential.
    pub async fn with_basics(&self) {
        let mut tx = self.store.begin().await.unwrap();
        tx.create_agent(&agent("researcher")).await.unwrap();
        tx.put_node(&node("laptop")).await.unwrap();
        tx.put_credential(&credential("a.test")).await.unwrap();
        commit(tx).await.unwrap();
    }
}

pub async fn everything_reads_back_as_it_was_put(f: Fixture) {
    f.with_basics().await;
    let mut tx = f.store.begin().await.unwrap();
    let grant = Grant { id: id(1), agent: name("researcher"), credential: name("github"), created: NOW };
    tx.create_grant(&grant).await.unwrap();
    tx.create_lock(&lock(2, "researcher")).await.unwrap();
    let made = authority(3, Purpose::Log, AuthorityState::Prepared);
    tx.create_authority(&made).await.unwrap();
    let renewed =
        Node { serial: Serial([2; 16]), previous: Some(Serial([1; 16])), banned: Some(NOW), ..node("laptop") };
    tx.put_node(&renewed).await.unwrap();
    let commitment = tx.commit_to("me@example.test", [9; 16]).await.unwrap();
    commit(tx).await.unwrap();

    let mut read = f.store.read().await.unwrap();
    assert_eq!(read.agent(&name("researcher")).await.unwrap(), Some(agent("researcher")));
    assert_eq!(read.node_by_id(&renewed.id).await.unwrap(), Some(renewed.clone()));
    assert_eq!(read.nodes(None).await.unwrap(), [renewed]);
    assert_eq!(read.credentials(None).await.unwrap(), [credential("a.test")]);
    assert_eq!(read.grants(None).await.unwrap(), [grant]);
    assert_eq!(read.standing_locks().await.unwrap(), [lock(2, "researcher")]);
    assert_eq!(read.authorities().await.unwrap(), [made]);
    assert_eq!(read.committed(&commitment).await.unwrap().as_deref(), Some("me@example.test"));
    assert!(read.database_time().await.unwrap() > Millis(1_700_000_000_000));
    assert_eq!(read.agents(Some(&name("researcher"))).await.unwrap(), []);
}

pub async fn names_are_taken_once_and_referents_must_be_there(f: Fixture) {
    f.with_basics().await;
    let grant = |n, agent| Grant { id: id(n), agent: name(agent), credential: name("github"), created: NOW };
    let mut tx = f.store.begin().await.unwrap();
    tx.create_grant(&grant(2, "researcher")).await.unwrap();
    commit(tx).await.unwrap();
    // A transaction is over with the first statement that fails, so each has its own.
    let mut tx = f.store.begin().await.unwrap();
    assert!(matches!(tx.create_agent(&agent("researcher")).await, Err(StoreError::Exists("agent"))));
    drop(tx);
    let mut tx = f.other.begin().await.unwrap();
    assert!(matches!(tx.create_grant(&grant(1, "nobody")).await, Err(StoreError::NotFound(_))));
    drop(tx);
    let mut tx = f.store.begin().await.unwrap();
    assert!(matches!(tx.create_grant(&grant(3, "researcher")).await, Err(StoreError::Exists("grant"))));
    drop(tx);
    let mut tx = f.other.begin().await.unwrap();
    assert!(matches!(tx.create_lock(&lock(4, "nobody")).await, Err(StoreError::NotFound("agent"))));
    drop(tx);
    let mut tx = f.store.begin().await.unwrap();
    assert!(matches!(tx.delete_grant(id(9)).await, Err(StoreError::NotFound("grant"))));
    assert_eq!(tx.delete_grant(id(2)).await.unwrap(), grant(2, "researcher"));
}

/// Invariant 7: a change and its event are there together or not at all.
pub async fn a_change_and_its_event_commit_together_or_not_at_all(f: Fixture) {
    let mut tx = f.store.begin().await.unwrap();
    tx.create_agent(&agent("silent")).await.unwrap();
    assert!(matches!(tx.commit().await, Err(StoreError::Unrecorded)), "no change without its event");

    let mut tx = f.store.begin().await.unwrap();
    tx.append(event(), &domain().issuer(), NOW).await.unwrap();
    tx.create_agent(&agent("first")).await.unwrap();
    assert!(tx.create_agent(&agent("first")).await.is_err());
    drop(tx);

    let mut read = f.store.read().await.unwrap();
    assert_eq!(read.agents(None).await.unwrap(), []);
    assert_eq!(read.log().await.unwrap(), Log::new());
    assert_eq!(read.meta().await.unwrap().version, 1);
    drop(read);

    let mut tx = f.store.begin().await.unwrap();
    tx.create_agent(&agent("second")).await.unwrap();
    assert_eq!(commit(tx).await.unwrap(), 2);
    let mut read = f.store.read().await.unwrap();
    assert_eq!((read.agents(None).await.unwrap().len(), read.log().await.unwrap().next()), (1, 1));
}

pub async fn versions_and_log_numbers_have_no_gap_and_no_double_under_16_writers(f: Fixture) {
    let mut tasks = Vec::new();
    for n in 0..16 {
        let store = if n % 2 == 0 { f.store.clone() } else { f.other.clone() };
        tasks.push(tokio::spawn(async move {
            let mut versions = Vec::new();
            for m in 0..5 {
                let mut tx = store.begin().await.unwrap();
                tx.create_agent(&agent(&format!("a{n}-{m}"))).await.unwrap();
                versions.push(commit(tx).await.unwrap());
            }
            versions
        }));
    }
    let mut seen = BTreeSet::new();
    for task in tasks {
        let versions = task.await.unwrap();
        assert!(versions.is_sorted(), "a version never goes back");
        seen.extend(versions);
    }
    assert_eq!(seen, (2..=81).collect());

    let mut read = f.store.read().await.unwrap();
    let entries = read.log_entries(0, 1000).await.unwrap();
    let (mut tree, mut prev) = (Tree::new(), Log::new().head());
    for (n, entry) in entries.iter().enumerate() {
        let decoded = Entry::decode(&entry.bytes).unwrap();
        assert_eq!((entry.index, decoded.index, decoded.prev), (n as u64, n as u64, prev));
        prev = avouch_audit::tree::leaf(&entry.bytes);
        tree.append(prev);
    }
    assert_eq!(entries.len(), 80);
    assert_eq!(read.log_leaves(0).await.unwrap().len(), 80);
    assert_eq!(read.log_leaves(79).await.unwrap(), [prev]);
    drop(read);

    let mut tx = f.store.begin().await.unwrap();
    let checkpoint = StoredCheckpoint { tree, note: "note".into(), created: NOW };
    tx.put_checkpoint(&checkpoint).await.unwrap();
    tx.commit().await.unwrap();
    let mut read = f.store.read().await.unwrap();
    assert_eq!(read.newest_checkpoint().await.unwrap(), Some(checkpoint));
    assert_eq!(read.checkpoint_notes(0).await.unwrap(), [(80, "note".to_owned())]);
}

/// Case H04.
pub async fn of_32_that_race_with_one_token_one_is_first(f: Fixture) {
    let digest = Digest::of(&[b"token"]);
    let mut tx = f.store.begin().await.unwrap();
    tx.create_token(&JoinToken::check(digest, "laptop", 0, NOW).unwrap()).await.unwrap();
    commit(tx).await.unwrap();
    let tasks: Vec<_> = (0..32_u8)
        .map(|n| {
            let store = if n % 2 == 0 { f.store.clone() } else { f.other.clone() };
            tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                let used = tx.use_token(&digest, &Digest::of(&[&[n]]), NOW).await.unwrap();
                commit(tx).await.unwrap();
                used
            })
        })
        .collect();
    let mut uses = Vec::new();
    for task in tasks {
        uses.push(task.await.unwrap());
    }
    let count = |wanted: TokenUse| uses.iter().filter(|used| **used == wanted).count();
    assert_eq!(count(TokenUse::First(name("laptop"))), 1);
    assert_eq!(count(TokenUse::Replayed(name("laptop"))), 31);
}

pub async fn a_used_token_answers_its_own_key_again_until_it_ends(f: Fixture) {
    let (digest, key, other) = (Digest::of(&[b"t"]), Digest::of(&[b"k"]), Digest::of(&[b"o"]));
    let end = NOW.plus(Duration::from_secs(600));
    let mut tx = f.store.begin().await.unwrap();
    tx.create_token(&JoinToken::check(digest, "laptop", 0, NOW).unwrap()).await.unwrap();
    assert_eq!(tx.use_token(&other, &key, NOW).await.unwrap(), TokenUse::Unknown);
    assert_eq!(tx.use_token(&digest, &key, NOW).await.unwrap(), TokenUse::First(name("laptop")));
    assert_eq!(tx.use_token(&digest, &key, NOW).await.unwrap(), TokenUse::Again(name("laptop")));
    assert_eq!(tx.use_token(&digest, &other, NOW).await.unwrap(), TokenUse::Replayed(name("laptop")));
    assert_eq!(tx.use_token(&digest, &key, end).await.unwrap(), TokenUse::Expired(name("laptop")));
    tx.create_token(&JoinToken::check(other, "late", 0, NOW).unwrap()).await.unwrap();
    assert_eq!(tx.use_token(&other, &key, end).await.unwrap(), TokenUse::Expired(name("late")));
    assert_eq!(tx.token(&other).await.unwrap().unwrap().used_with, None, "an expired token stays unused");
}

pub async fn locks_end_once_and_are_remembered(f: Fixture) {
    f.with_basics().await;
    let mut tx = f.store.begin().await.unwrap();
    tx.create_lock(&lock(1, "researcher")).await.unwrap();
    tx.create_lock(&lock(2, "researcher")).await.unwrap();
    commit(tx).await.unwrap();
    let mut tx = f.store.begin().await.unwrap();
    let ended = tx.end_lock(id(1), Millis(NOW.0 + 5)).await.unwrap();
    assert_eq!(ended.ended, Some(Millis(NOW.0 + 5)));
    assert!(matches!(tx.end_lock(id(1), NOW).await, Err(StoreError::NotFound("lock"))));
    commit(tx).await.unwrap();
    let mut read = f.store.read().await.unwrap();
    assert_eq!(read.standing_locks().await.unwrap(), [lock(2, "researcher")]);
    assert_eq!(read.ended_locks().await.unwrap(), [id(1)]);
    assert_eq!(read.locks(None).await.unwrap().len(), 2);
}

/// Case R05: the database itself holds that one authority of a purpose signs.
pub async fn one_authority_of_a_purpose_is_active(f: Fixture) {
    let mut tx = f.store.begin().await.unwrap();
    for n in [1, 2, 3] {
        tx.create_authority(&authority(n, Purpose::X509Authority, AuthorityState::Prepared)).await.unwrap();
    }
    tx.create_authority(&authority(4, Purpose::JwtAuthority, AuthorityState::Active)).await.unwrap();
    tx.activate_authority(id(1), Purpose::X509Authority).await.unwrap();
    tx.activate_authority(id(2), Purpose::X509Authority).await.unwrap();
    assert!(matches!(tx.activate_authority(id(1), Purpose::X509Authority).await, Err(StoreError::NotFound(_))), "old");
    let states: Vec<_> = tx.authorities().await.unwrap().iter().map(|authority| authority.state).collect();
    assert_eq!(states, [AuthorityState::Old, AuthorityState::Old, AuthorityState::Prepared, AuthorityState::Active]);
    commit(tx).await.unwrap();
    let mut tx = f.other.begin().await.unwrap();
    let second = authority(5, Purpose::JwtAuthority, AuthorityState::Active);
    assert!(matches!(tx.create_authority(&second).await, Err(StoreError::Exists("authority"))));
    drop(tx);
    let mut tx = f.other.begin().await.unwrap();
    assert!(tx.remove_authority(id(4)).await.is_err(), "an active one stays");
    tx.remove_authority(id(1)).await.unwrap();

    let later = Millis(NOW.0 + 1000);
    tx.note_expiry(id(4), later).await.unwrap();
    tx.note_expiry(id(4), NOW).await.unwrap();
    assert!(tx.authorities().await.unwrap().iter().any(|a| a.id == id(4) && a.last_expiry == later));
    assert!(tx.note_expiry(id(3), later).await.is_err(), "what does not sign signed nothing");
}

pub async fn an_instance_stays_with_its_node_and_agent_and_ends_for_good(f: Fixture) {
    f.with_basics().await;
    let mut tx = f.store.begin().await.unwrap();
    tx.create_agent(&agent("intruder")).await.unwrap();
    tx.put_node(&node("other")).await.unwrap();
    let instance = |agent: &str, node: &str| Instance {
        id: id(1),
        agent: name(agent),
        node: name(node),
        started: NOW,
        ended: None,
    };
    tx.put_instances(&[instance("researcher", "laptop")]).await.unwrap();
    tx.put_instances(&[instance("researcher", "laptop")]).await.unwrap();
    assert!(tx.put_instances(&[instance("researcher", "other")]).await.is_err());
    assert!(tx.put_instances(&[instance("intruder", "laptop")]).await.is_err());
    assert!(!tx.end_instance(id(1), &name("other"), NOW).await.unwrap(), "not this node's");
    assert!(tx.end_instance(id(1), &name("laptop"), NOW).await.unwrap());
    assert!(tx.put_instances(&[instance("researcher", "laptop")]).await.is_err(), "ended");
    assert_eq!(tx.instances(&[id(1), id(2)]).await.unwrap().len(), 1);
    assert_eq!(tx.end_instances_of(&name("laptop"), NOW).await.unwrap(), 0);
}

pub async fn batches_of_svids_are_kept_whole_and_never_twice(f: Fixture) {
    f.with_basics().await;
    let svid = |n: u16, seconds: u64| IssuedSvid {
        id: SvidId::X509(Serial([n.to_be_bytes(); 8].concat().try_into().unwrap())),
        agent: name("researcher"),
        instance: id(1),
        node: name("laptop"),
        authority: id(2),
        not_after: NOW.plus(Duration::from_secs(seconds)),
    };
    let batch: Vec<_> = (0..1234).map(|n| svid(n, u64::from(n))).collect();
    let mut tx = f.store.begin().await.unwrap();
    tx.put_svids(&batch).await.unwrap();
    let token = IssuedSvid { id: SvidId::Jwt(id(3)), not_after: NOW.plus(Duration::from_secs(3600)), ..svid(0, 0) };
    tx.put_svids(&[token]).await.unwrap();
    commit(tx).await.unwrap();
    let mut tx = f.store.begin().await.unwrap();
    assert!(matches!(tx.put_svids(&[svid(5000, 1), svid(7, 1)]).await, Err(StoreError::Exists("SVID"))));
    drop(tx);
    let mut read = f.store.read().await.unwrap();
    assert_eq!(read.svid_count().await.unwrap(), 1235);
    let until = read.svids_valid_until(&name("researcher"), NOW).await.unwrap();
    assert_eq!(until, Some(NOW.plus(Duration::from_secs(3600))), "a token is accepted as well");
    assert_eq!(read.svids_valid_until(&name("researcher"), NOW.plus(Duration::from_secs(3601))).await.unwrap(), None);
    drop(read);
    let mut tx = f.store.begin().await.unwrap();
    assert_eq!(tx.prune_svids(NOW.plus(Duration::from_secs(1000))).await.unwrap(), 1000);
}

pub async fn a_spool_goes_on_only_from_where_it_is(f: Fixture) {
    f.with_basics().await;
    let (spool, mut chain) = (SpoolId([3; 16]), Chain::start(SpoolId([3; 16])));
    let sealed: Vec<_> = (0..3).map(|_| chain.seal(HelperEvent::Stopped {}, NOW).unwrap()).collect();
    let mut tx = f.store.begin().await.unwrap();
    tx.create_spool(&spool, &name("laptop"), NOW).await.unwrap();
    commit(tx).await.unwrap();
    let second = SpoolId([4; 16]);
    let mut tx = f.other.begin().await.unwrap();
    assert!(matches!(tx.create_spool(&second, &name("laptop"), NOW).await, Err(StoreError::Exists("spool"))));
    drop(tx);
    let mut tx = f.store.begin().await.unwrap();
    let at = |next: usize| Chain::resume(spool, next as u64, sealed[next - 1].digest);
    tx.advance_spool(&at(2), &[sealed[0].digest, sealed[1].digest]).await.unwrap();
    assert!(tx.advance_spool(&at(2), &[sealed[0].digest, sealed[1].digest]).await.is_err(), "a lost update");
    let ahead = Chain::resume(spool, 9, sealed[2].digest);
    assert!(tx.advance_spool(&ahead, &[sealed[2].digest]).await.is_err(), "a gap");
    tx.advance_spool(&at(3), &[sealed[2].digest]).await.unwrap();
    let record = SpoolRecord::decode(&sealed[2].bytes).unwrap();
    tx.append(Body::Record(record.into()), &node("laptop").id, NOW).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = f.store.begin().await.unwrap();
    assert_eq!(tx.open_spool(&name("laptop")).await.unwrap().unwrap().chain, chain);
    assert_eq!(tx.spool_record(&spool, 1).await.unwrap(), Some(sealed[1].digest));
    assert_eq!(tx.spool_record(&spool, 3).await.unwrap(), None);
    tx.close_spool(&spool, NOW).await.unwrap();
    assert!(tx.advance_spool(&chain, &[]).await.is_err(), "closed");
    tx.create_spool(&second, &name("laptop"), NOW).await.unwrap();
    assert_eq!(tx.spool(&spool).await.unwrap().unwrap().closed, Some(NOW));
}

pub async fn a_node_svid_is_seen_once_and_a_banned_node_stays_banned(f: Fixture) {
    f.with_basics().await;
    let mut tx = f.store.begin().await.unwrap();
    assert!(!tx.see_serial(&name("laptop"), &Serial([9; 16])).await.unwrap());
    assert!(tx.see_serial(&name("laptop"), &Serial([1; 16])).await.unwrap());
    assert!(!tx.see_serial(&name("laptop"), &Serial([1; 16])).await.unwrap());
    tx.ban_node(&name("laptop"), NOW).await.unwrap();
    assert!(tx.ban_node(&name("laptop"), NOW).await.is_err());
    let node = tx.node(&name("laptop")).await.unwrap().unwrap();
    assert_eq!((node.serial_seen, node.banned), (true, Some(NOW)));
}

/// Postgres takes a COMMIT after a statement that failed for a ROLLBACK, and says that all is well.
pub async fn nothing_is_acknowledged_after_a_statement_that_failed(f: Fixture) {
    f.with_basics().await;
    let mut tx = f.store.begin().await.unwrap();
    tx.create_agent(&agent("other")).await.unwrap();
    tx.append(event(), &domain().issuer(), NOW).await.unwrap();
    tx.create_lock(&lock(9, "researcher")).await.unwrap();
    assert!(tx.create_lock(&lock(9, "researcher")).await.is_err());
    assert!(tx.commit().await.is_err());
    assert_eq!(f.other.read().await.unwrap().agent(&name("other")).await.unwrap(), None);
}

/// Names are compared by their bytes, as the issuer does in memory, whatever the database's language.
pub async fn names_come_in_the_order_of_their_bytes(f: Fixture) {
    let mut names = ["ab-c", "a-z", "aa", "a0", "abc", "a", "a-b", "b"];
    let mut tx = f.store.begin().await.unwrap();
    for name in names {
        tx.create_agent(&agent(name)).await.unwrap();
    }
    commit(tx).await.unwrap();
    names.sort_unstable();
    let mut read = f.store.read().await.unwrap();
    let listed: Vec<Name> = read.agents(None).await.unwrap().into_iter().map(|agent| agent.name).collect();
    assert_eq!(listed.iter().map(Name::as_str).collect::<Vec<_>>(), names);
    assert_eq!(read.agents(Some(&name("a-z"))).await.unwrap().len(), 5, "a page begins where the one before ended");
}

pub async fn a_page_has_a_limit_and_the_next_goes_on_from_it(f: Fixture) {
    let mut tx = f.store.begin().await.unwrap();
    for _ in 0..=MAX_PAGE {
        tx.append(event(), &domain().issuer(), NOW).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut read = f.other.read().await.unwrap();
    let page = read.log_entries(0, u32::MAX).await.unwrap();
    assert_eq!(page.len(), MAX_PAGE as usize);
    assert_eq!(read.log_leaves(0).await.unwrap().len(), MAX_PAGE as usize);
    assert_eq!(read.log_entries(u64::from(MAX_PAGE), u32::MAX).await.unwrap().len(), 1);
}

/// A snapshot goes on showing what it showed, and no transaction sees half of another.
pub async fn a_snapshot_stays_as_it_is(f: Fixture) {
    f.with_basics().await;
    let mut read = f.store.read().await.unwrap();
    let before = read.meta().await.unwrap().version;
    let mut tx = f.other.begin().await.unwrap();
    tx.create_agent(&agent("late")).await.unwrap();
    commit(tx).await.unwrap();
    assert_eq!(read.meta().await.unwrap().version, before);
    assert_eq!(read.agents(None).await.unwrap().len(), 1);
    drop(read);
    assert_eq!(f.store.read().await.unwrap().agents(None).await.unwrap().len(), 2);
}
