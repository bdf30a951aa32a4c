use super::*;
use crate::testing::{HandClock, Mood, TestAuthority, name};
use avouch_words::Ulid;
use std::sync::atomic::Ordering;

fn rig() -> (JwtSvids, Arc<TestAuthority>, Arc<HandClock>, IdentityKey) {
    let clock = HandClock::new();
    let authority = TestAuthority::new(clock.clone());
    let whose = IdentityKey { agent: name("researcher"), instance: Ulid::new(Millis(1), [1; 10]) };
    (JwtSvids::new(authority.clone(), clock.clone()), authority, clock, whose)
}

fn id() -> SpiffeId {
    SpiffeId::parse("spiffe://example.test/agent/researcher").unwrap()
}

fn audience(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_token_is_kept_for_its_audiences_until_half_life() {
    let (svids, authority, clock, whose) = rig();
    let bundle = authority.bundle();
    let first = svids.fetch(&whose, &id(), &audience(&["a", "b"]), &bundle).await.unwrap();
    let again = svids.fetch(&whose, &id(), &audience(&["a", "b"]), &bundle).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    svids.fetch(&whose, &id(), &audience(&["b", "a"]), &bundle).await.unwrap();
    assert_eq!(authority.asked.load(Ordering::SeqCst), 2, "other audiences, another token");
    clock.forward(Duration::from_secs(151));
    let later = svids.fetch(&whose, &id(), &audience(&["a", "b"]), &bundle).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &later));
    assert_eq!(format!("{later:?}"), "Token(spiffe://example.test/agent/researcher)");
}

#[tokio::test]
async fn what_is_withdrawn_or_ended_is_not_kept() {
    let (svids, authority, _, whose) = rig();
    let bundle = authority.bundle();
    svids.fetch(&whose, &id(), &audience(&["a"]), &bundle).await.unwrap();
    svids.forget_others(|_| false);
    svids.fetch(&whose, &id(), &audience(&["a"]), &bundle).await.unwrap();
    svids.forget(&whose);
    svids.fetch(&whose, &id(), &audience(&["a"]), &bundle).await.unwrap();
    assert_eq!(authority.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_token_of_another_agent_or_authority_is_not_handed_on() {
    let (svids, authority, clock, whose) = rig();
    authority.set(Mood::OtherAgent);
    let refused = svids.fetch(&whose, &id(), &audience(&["a"]), &authority.bundle()).await;
    assert_eq!(refused.err(), Some(NoToken::Inadmissible));
    authority.set(Mood::Honest);
    let foreign = TestAuthority::new(clock).bundle();
    assert_eq!(svids.fetch(&whose, &id(), &audience(&["a"]), &foreign).await.err(), Some(NoToken::Inadmissible));
}

/// Its registration has another path now: what was kept is another's.
#[tokio::test]
async fn a_token_of_another_id_is_neither_kept_nor_taken() {
    let (svids, authority, _, whose) = rig();
    svids.fetch(&whose, &id(), &audience(&["a"]), &authority.bundle()).await.unwrap();
    let other = SpiffeId::parse("spiffe://example.test/team/researcher").unwrap();
    let refused = svids.fetch(&whose, &other, &audience(&["a"]), &authority.bundle()).await;
    assert_eq!(refused.err(), Some(NoToken::Inadmissible));
    assert_eq!(authority.asked.load(Ordering::SeqCst), 2);
}
