//! Connections that are cut and servers that hang.

use super::{Ground, conformance};
use avouch_store::{Store, StoreError, Wake};
use avouch_tests::servers::{At, Mode, Proxy};
use avouch_words::Name;
use conformance::{agent, commit, name};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A store behind a proxy, and one that reaches the server straight.
async fn two(ground: &Ground) -> (Proxy, Store, Store) {
    let proxy = Proxy::start(ground.cluster.port()).await.unwrap();
    let far = ground.open(1, proxy.address().port()).await.unwrap();
    let near = ground.open(2, ground.cluster.port()).await.unwrap();
    (proxy, far, near)
}

fn is_commit(bytes: &[u8]) -> bool {
    bytes.windows(7).any(|window| window == b"COMMIT\0")
}

async fn has(store: &Store, agent: &Name) -> bool {
    store.read().await.unwrap().agent(agent).await.unwrap().is_some()
}

/// Case F05: whatever is said of a commit is true, wherever the connection was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_commit_that_lost_its_connection_is_true() {
    let ground = Ground::new();
    let (proxy, far, near) = two(&ground).await;
    for round in 0..20 {
        let at = if round % 2 == 0 { At::CutBefore } else { At::CutAfter };
        let left = Arc::new(AtomicUsize::new(1));
        let cuts = Arc::clone(&left);
        proxy.look(move |bytes| {
            let cut =
                is_commit(bytes) && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            if cut { at } else { At::Pass }
        });
        let agent_name = name(&format!("agent-{round}"));
        let mut tx = far.begin().await.unwrap();
        tx.create_agent(&agent(agent_name.as_str())).await.unwrap();
        let said = commit(tx).await;
        assert_eq!(left.load(Ordering::SeqCst), 0, "the connection was cut");
        match (&said, at) {
            (Ok(_), At::CutAfter) | (Err(StoreError::Busy(_)), At::CutBefore) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(has(&near, &agent_name).await, said.is_ok());
    }
    let read = near.read().await.unwrap().log().await.unwrap();
    assert_eq!(read.next(), 10, "as many events as changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_which_nothing_can_be_learnt_is_unknown_and_never_denied() {
    let ground = Ground::new();
    let (proxy, far, near) = two(&ground).await;
    let mut tx = far.begin().await.unwrap();
    tx.create_agent(&agent("lost")).await.unwrap();
    // The commit goes through, and after it nothing does.
    let mut over = false;
    proxy.look(move |bytes| match (over, is_commit(bytes)) {
        (true, _) => At::CutBefore,
        (false, false) => At::Pass,
        (false, true) => {
            over = true;
            At::CutAfter
        }
    });
    let said = commit(tx).await;
    assert!(matches!(said, Err(StoreError::Unknown)), "{said:?}");
    assert!(has(&near, &name("lost")).await, "it was there all the time");
    proxy.look(|_| At::Pass);
    assert!(has(&far, &name("lost")).await);
}

/// Case F06: nobody waits long for a server or a network that hangs, and all is well when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_not_waited_for() {
    let ground = Ground::new();
    let (proxy, far, near) = two(&ground).await;
    far.read().await.unwrap().meta().await.unwrap();
    let tx = far.begin().await.unwrap();
    proxy.set(Mode::Hang);
    let begun = Instant::now();
    let said = commit(tx).await;
    assert!(said.is_err());
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let store = far.clone();
            tokio::spawn(async move {
                let begun = Instant::now();
                let read = async { store.read().await?.meta().await };
                (read.await.is_err(), begun.elapsed())
            })
        })
        .collect();
    for call in calls {
        let (failed, took) = call.await.unwrap();
        assert!(failed && took < Duration::from_secs(6), "{failed} after {took:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
    // Nobody else is held up by it for longer than the server's patience.
    let mut tx = near.begin().await.unwrap();
    tx.create_agent(&agent("near")).await.unwrap();
    commit(tx).await.unwrap();
    proxy.set(Mode::Pass);
    let healed = Instant::now();
    while far.read().await.is_err() {
        assert!(healed.elapsed() < Duration::from_secs(10));
    }
    assert!(has(&far, &name("near")).await);
}

/// An issuer whose machine vanishes in a transaction holds the others up for a few seconds at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_vanishes_lets_go() {
    let ground = Ground::new();
    let (proxy, far, near) = two(&ground).await;
    let mut tx = far.begin().await.unwrap();
    tx.create_agent(&agent("half")).await.unwrap();
    proxy.set(Mode::Hang);
    let begun = Instant::now();
    loop {
        match near.begin().await {
            Ok(mut tx) => {
                tx.create_agent(&agent("whole")).await.unwrap();
                commit(tx).await.unwrap();
                break;
            }
            Err(StoreError::Busy(_)) => assert!(begun.elapsed() < Duration::from_secs(10)),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!has(&near, &name("half")).await);
    proxy.set(Mode::Pass);
    assert!(commit(tx).await.is_err(), "its transaction is over");
    assert!(!has(&near, &name("half")).await);
}

/// Case F04: connections that died while nobody used them are no caller's trouble.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_unused_are_replaced() {
    let ground = Ground::new();
    let (proxy, far, near) = two(&ground).await;
    for round in 0..3 {
        let open: Vec<_> = futures(&far, 6).await;
        drop(open);
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.set(Mode::Cut);
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.set(Mode::Pass);
        let mut tx = far.begin().await.unwrap();
        tx.create_agent(&agent(&format!("agent-{round}"))).await.unwrap();
        commit(tx).await.unwrap();
        assert!(has(&far, &name(&format!("agent-{round}"))).await);
    }
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'avouch' AND datname = current_database()";
    assert_ne!(ground.sql(kill), "0");
    assert!(has(&far, &name("agent-2")).await && has(&near, &name("agent-2")).await);
}

async fn futures(store: &Store, reads: usize) -> Vec<avouch_store::Read> {
    let mut open = Vec::new();
    for _ in 0..reads {
        open.push(store.read().await.unwrap());
    }
    open
}

/// Case F34: a change wakes the other issuer; where the wake is lost, the break itself wakes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_wakes_the_other_issuer_and_so_does_a_break() {
    let ground = Ground::new();
    let (proxy, far, near) = two(&ground).await;
    let mut changes = far.changes();
    let next = async |changes: &mut avouch_store::Changes| {
        tokio::time::timeout(Duration::from_secs(5), changes.next()).await.unwrap()
    };
    assert_eq!(next(&mut changes).await, Wake::Anything, "something may have been missed before it began to listen");
    let mut tx = near.begin().await.unwrap();
    tx.create_agent(&agent("one")).await.unwrap();
    commit(tx).await.unwrap();
    assert_eq!(next(&mut changes).await, Wake::State);
    proxy.set(Mode::Cut);
    let mut tx = near.begin().await.unwrap();
    tx.create_agent(&agent("two")).await.unwrap();
    commit(tx).await.unwrap();
    proxy.set(Mode::Pass);
    assert_eq!(next(&mut changes).await, Wake::Anything);
}
