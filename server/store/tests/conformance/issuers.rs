//! What issuers of one database must agree on.

use super::{Fixture, agent, commit, name};
use avouch_store::{Presence, StoreError};
use avouch_words::{Millis, SpiffeId};
use std::net::SocketAddr;
use std::time::Duration;

const ONE: [u8; 16] = [1; 16];
const TWO: [u8; 16] = [2; 16];

/// Case R05: what a former leader still wants to write is refused in its own transaction, however late it comes.
pub async fn the_lead_is_one_issuers_and_the_former_writes_nothing(f: Fixture) {
    let life = Duration::from_millis(300);
    let mut tx = f.store.begin().await.unwrap();
    let first = tx.take_lead(ONE, life).await.unwrap().unwrap();
    assert_eq!(tx.take_lead(ONE, life).await.unwrap(), Some(first), "it is kept under the same number");
    tx.commit().await.unwrap();
    let mut tx = f.other.begin().await.unwrap();
    let early = tx.take_lead(TWO, life).await.unwrap();
    assert_eq!(early.is_none(), f.other.is_shared(), "nobody takes it before its end, where another may be");
    drop(tx);

    tokio::time::sleep(life * 2).await;
    // Its time is over, but nobody else has it: there is nothing that could be done twice.
    let mut tx = f.store.begin().await.unwrap();
    tx.check_lead(first).await.unwrap();
    drop(tx);
    let mut tx = f.other.begin().await.unwrap();
    let second = tx.take_lead(TWO, Duration::from_secs(60)).await.unwrap().unwrap();
    assert_ne!(first, second);
    tx.commit().await.unwrap();
    let mut tx = f.store.begin().await.unwrap();
    tx.create_agent(&agent("late")).await.unwrap();
    assert!(matches!(tx.check_lead(first).await, Err(StoreError::Fenced)));
    drop(tx);
    let mut tx = f.other.begin().await.unwrap();
    tx.check_lead(second).await.unwrap();
    tx.leave_lead(second).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = f.store.begin().await.unwrap();
    let third = tx.take_lead(ONE, life).await.unwrap().unwrap();
    assert!(third != second && third != first, "a number never comes back");
    commit(tx).await.unwrap();
}

pub async fn an_issuer_tells_how_its_nodes_stand(f: Fixture) {
    let address: SocketAddr = "127.0.0.1:8443".parse().unwrap();
    let before = f.store.read().await.unwrap().database_time().await.unwrap();
    let pulse = f.store.pulse(address).await.unwrap();
    assert_eq!(pulse.version, 1);
    assert!(pulse.database_time >= before);
    if !f.store.is_shared() {
        return;
    }
    let node = |text: &str| SpiffeId::parse(&format!("spiffe://example.test/node/join_token/{text}")).unwrap();
    let presence = |text: &str, streams, applied| Presence { node: node(text), streams, applied, heard: None };
    assert!(f.other.report(&[presence("a", 1, 1)]).await.is_err(), "an issuer that did not say that it is there");
    f.other.pulse(address).await.unwrap();
    f.store.report(&[presence("a", 1, 7), presence("b", 0, 6)]).await.unwrap();
    f.store.report(&[presence("a", 2, 8)]).await.unwrap();
    let own = f.store.run_id();
    assert_eq!(f.store.read().await.unwrap().elsewhere(own).await.unwrap(), []);
    let mut seen = f.other.read().await.unwrap().elsewhere(f.other.run_id()).await.unwrap();
    seen.sort_by(|one, other| one.node.as_str().cmp(other.node.as_str()));
    let heard = Some(pulse.database_time);
    assert_eq!(seen, [Presence { heard, ..presence("a", 2, 8) }, presence("b", 0, 6)]);
    f.store.depart().await.unwrap();
    let seen = f.other.read().await.unwrap().elsewhere(f.other.run_id()).await.unwrap();
    assert!(seen.iter().all(|presence| presence.streams == 0));
    let mut read = f.other.read().await.unwrap();
    assert_eq!(read.issuers().await.unwrap().len(), 2);
    drop(read);
    let mut tx = f.other.begin().await.unwrap();
    assert_eq!(tx.prune_issuers().await.unwrap(), 0, "none is old");
    assert_eq!(tx.agent(&name("nobody")).await.unwrap(), None);
    assert!(Millis(0) < before);
}
