use super::*;
use crate::testing::{Mood, TestAuthority, TimerClock, name};
use avouch_words::Ulid;
use std::collections::BTreeSet;

struct Rig {
    identities: Identities,
    authority: Arc<TestAuthority>,
    clock: Arc<TimerClock>,
    ended: mpsc::Receiver<IdentityKey>,
    _stop: tokio_util::sync::DropGuard,
}

async fn rig() -> Rig {
    let clock = TimerClock::new();
    let authority = TestAuthority::new(clock.clone());
    let (ended, receiver) = mpsc::channel(16);
    let (identities, desk) = Identities::new(authority.clone(), clock.clone(), ended);
    let stop = CancellationToken::new();
    tokio::spawn(desk.run(stop.clone()));
    identities.entitle(researcher(), authority.bundle()).await;
    Rig { identities, authority, clock, ended: receiver, _stop: stop.drop_guard() }
}

fn researcher() -> BTreeMap<Name, IdPath> {
    [(name("researcher"), IdPath::default())].into()
}

fn whose(agent: &str, instance: u8) -> IdentityKey {
    IdentityKey { agent: name(agent), instance: Ulid::new(Millis(1), [instance; 10]) }
}

async fn settled(held: &mut watch::Receiver<Identity>) -> Identity {
    held.wait_for(|identity| !matches!(identity, Identity::Pending)).await.unwrap().clone()
}

fn ready(identity: &Identity) -> Arc<HeldSvid> {
    match identity {
        Identity::Ready(held) => held.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_asked_for_once_and_checked_before_anyone_has_it() {
    let rig = rig().await;
    let mut one = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    let mut two = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    let svid = ready(&settled(&mut one).await);
    assert!(Arc::ptr_eq(&svid, &ready(&settled(&mut two).await)));
    assert_eq!(svid.svid().id().as_str(), "spiffe://example.test/agent/researcher");
    assert_eq!(rig.authority.asked.load(Ordering::SeqCst), 1);
    assert_eq!(format!("{svid:?}"), "HeldSvid(spiffe://example.test/agent/researcher)");
}

#[tokio::test(start_paused = true)]
async fn what_the_issuer_lies_about_is_never_published() {
    for lie in [Mood::OtherAgent, Mood::OtherKey, Mood::Short, Mood::Silent, Mood::Refusing] {
        let rig = rig().await;
        rig.authority.set(lie);
        let mut held = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
        assert!(matches!(settled(&mut held).await, Identity::Unavailable));
        rig.authority.set(Mood::Honest);
        held.wait_for(|identity| matches!(identity, Identity::Ready(_))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_of_rotations_never_leaves_an_expired_identity() {
    let rig = rig().await;
    let mut held = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    let mut serials = BTreeSet::new();
    let end = rig.clock.now().plus(Duration::from_secs(86_400));
    while rig.clock.now() < end {
        let svid = ready(&settled(&mut held).await);
        assert!(rig.clock.now() <= svid.svid().not_after());
        serials.insert(svid.svid().serial().to_vec());
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    // 15 minutes each, renewed between 40 % and 50 %.
    assert!((180..=270).contains(&serials.len()), "{}", serials.len());
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_kept_while_the_issuer_is_away_until_it_really_expires() {
    let rig = rig().await;
    let mut held = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    let first = ready(&settled(&mut held).await);
    rig.authority.set(Mood::Silent);
    tokio::time::sleep(Duration::from_secs(890)).await;
    assert!(Arc::ptr_eq(&first, &ready(&held.borrow())), "still served close to its end");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(matches!(*held.borrow(), Identity::Unavailable), "and not after it");
    rig.authority.set(Mood::Honest);
    held.wait_for(|identity| matches!(identity, Identity::Ready(_))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_not_entitled_loses_and_gets_nothing() {
    let rig = rig().await;
    let mut held = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    settled(&mut held).await;
    rig.identities.entitle(BTreeMap::new(), rig.authority.bundle()).await;
    assert!(matches!(*held.borrow(), Identity::Withdrawn), "withdrawn when the call returns");
    assert_eq!(rig.identities.held(), 0);
    let again = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    assert!(matches!(*again.borrow(), Identity::Withdrawn));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_withdrawal_is_for_nobody() {
    let rig = rig().await;
    // Asked for, withdrawn and entitled again before the desk has the answer.
    let whose = whose("researcher", 1);
    let (first, (), (), second) = tokio::join!(
        rig.identities.follow(&whose),
        rig.identities.entitle(BTreeMap::new(), rig.authority.bundle()),
        rig.identities.entitle(researcher(), rig.authority.bundle()),
        rig.identities.follow(&whose),
    );
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    assert!(matches!(settled(&mut second).await, Identity::Ready(_)));
    assert!(!matches!(settled(&mut first).await, Identity::Ready(_)));
}

#[tokio::test(start_paused = true)]
async fn another_authority_replaces_what_the_old_one_signed_at_once() {
    let rig = rig().await;
    let mut held = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    settled(&mut held).await;
    let asked = rig.authority.asked.load(Ordering::SeqCst);
    let other = TestAuthority::new(rig.clock.clone()).bundle();
    rig.identities.entitle(researcher(), other).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(rig.authority.asked.load(Ordering::SeqCst) > asked, "it is asked for anew without waiting for half life");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_is_forgotten_and_reported() {
    let mut rig = rig().await;
    let mut held = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    settled(&mut held).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(rig.identities.held(), 1, "followed, so kept");
    drop(held);
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(rig.identities.held(), 0);
    assert_eq!(rig.ended.recv().await, Some(whose("researcher", 1)));
}

#[tokio::test(start_paused = true)]
async fn one_identity_over_the_limit_is_refused() {
    let rig = rig().await;
    rig.authority.set(Mood::Silent);
    let mut followed = Vec::new();
    for count in 0..MAX_IDENTITIES {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&count.to_be_bytes());
        let whose = IdentityKey { agent: name("researcher"), instance: Ulid::new(Millis(1), random) };
        followed.push(rig.identities.follow(&whose).await.unwrap());
    }
    assert_eq!(rig.identities.follow(&whose("researcher", 255)).await.err(), Some(NoRoom));
}

/// What the issuer signs for another path is not taken, and what was held under the path before is withdrawn.
#[tokio::test(start_paused = true)]
async fn a_new_path_replaces_the_identity() {
    let rig = rig().await;
    let mut held = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    assert!(matches!(settled(&mut held).await, Identity::Ready(_)));
    let path = IdPath::parse("/team/{agent}").unwrap();
    rig.identities.entitle([(name("researcher"), path)].into(), rig.authority.bundle()).await;
    assert!(matches!(*held.borrow(), Identity::Withdrawn));
    let mut again = rig.identities.follow(&whose("researcher", 1)).await.unwrap();
    assert!(matches!(settled(&mut again).await, Identity::Unavailable), "the test's issuer signs for /agent only");
}
