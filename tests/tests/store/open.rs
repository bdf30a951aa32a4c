//! Opening a database on Postgres.

use super::{Ground, PASSWORD, conformance, place};
use avouch_store::{OpenError, Store};
use avouch_tests::servers::{At, Proxy};
use avouch_words::TrustDomain;
use conformance::{NOW, domain};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Case F14: a database that was there and is empty now is never made anew, and another is not taken for it.
#[tokio::test]
async fn a_lost_database_is_not_made_anew() {
    let ground = Ground::new();
    let port = ground.cluster.port();
    ground.open(1, port).await.unwrap().close().await;
    ground.sql("ALTER SCHEMA avouch RENAME TO kept");
    assert!(matches!(ground.open(1, port).await, Err(OpenError::Gone(_))));
    assert_eq!(ground.sql("SELECT to_regclass('avouch.meta') IS NULL"), "t", "nothing was made");

    // Another issuer, which never saw the one before, makes a new one there: the first does not take it for its own.
    ground.open(2, port).await.unwrap().close().await;
    assert!(matches!(ground.open(1, port).await, Err(OpenError::Foreign(_))));
    ground.sql("DROP SCHEMA avouch CASCADE");
    ground.sql("ALTER SCHEMA kept RENAME TO avouch");
    ground.open(1, port).await.unwrap();
    assert!(matches!(ground.open(2, port).await, Err(OpenError::Foreign(_))));

    ground.sql("DELETE FROM avouch.meta");
    assert!(matches!(ground.open(1, port).await, Err(OpenError::Gone(_))), "tables without a name");
}

#[tokio::test]
async fn another_trust_domain_and_an_unfit_server_are_refused_by_name() {
    let ground = Ground::new();
    let port = ground.cluster.port();
    ground.open(1, port).await.unwrap().close().await;
    let other = TrustDomain::parse("other.test").unwrap();
    let refused = Store::open(ground.place("3", port), &other, [3; 16], NOW).await.unwrap_err().to_string();
    assert!(refused.contains("example.test") && refused.contains("other.test"), "{refused}");

    let latin = format!("{}_latin", ground.database);
    let make = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    ground.cluster.sql("postgres", &format!("CREATE DATABASE {latin} OWNER avouch {make}")).unwrap();
    let latin = place(&latin, port, &ground.folder.path().join("latin"));
    let refused = Store::open(latin, &domain(), [1; 16], NOW).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unfit { .. }) && refused.to_string().contains("UTF8"), "{refused}");

    ground.sql("UPDATE avouch._sqlx_migrations SET checksum = 'another' WHERE version = 1");
    let refused = ground.open(1, port).await.unwrap_err();
    assert!(matches!(refused, OpenError::Migration { .. }), "{refused}");
    assert!(!format!("{refused:?}").contains(PASSWORD));
}

/// Case F36: however far it came before the issuer or its connection died, the next start goes on to a whole schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_killed_midway_leaves_nothing_half() {
    let ground = Ground::new();
    let mut whole = None;
    for cut in (0..).step_by(3) {
        let proxy = Proxy::start(ground.cluster.port()).await.unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        // Before the message on even turns, after it on odd ones: the server does what nobody hears of any more.
        proxy.look(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
            at if at != cut / 2 => At::Pass,
            _ if cut % 2 == 0 => At::CutBefore,
            _ => At::CutAfter,
        });
        let through =
            Store::open(ground.place(&format!("{cut}-a"), proxy.address().port()), &domain(), [1; 16], NOW).await;
        let ended = seen.load(Ordering::SeqCst) <= cut / 2;
        assert!(through.is_ok() || !ended, "{through:?}");
        let again =
            Store::open(ground.place(&format!("{cut}-b"), ground.cluster.port()), &domain(), [2; 16], NOW).await;
        again.unwrap().close().await;
        let schema = ground.sql(
            "SELECT string_agg(table_name || '.' || column_name, ' ' ORDER BY table_name, column_name)
             FROM information_schema.columns WHERE table_schema = 'avouch'",
        );
        assert_eq!(*whole.get_or_insert_with(|| schema.clone()), schema, "cut at {cut}");
        if ended {
            assert!(cut > 20, "there was something to cut: {cut}");
            return;
        }
        drop(through);
        ground.sql("DROP SCHEMA avouch CASCADE");
    }
}

/// Two that start at once make one database, and both are of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn issuers_that_start_at_once_make_one_database() {
    let ground = Arc::new(Ground::new());
    let port = ground.cluster.port();
    let starts: Vec<_> = (1..=6)
        .map(|issuer| {
            let ground = Arc::clone(&ground);
            tokio::spawn(async move { ground.open(issuer, port).await.unwrap().read().await.unwrap().meta().await })
        })
        .collect();
    let mut epochs = Vec::new();
    for start in starts {
        epochs.push(start.await.unwrap().unwrap().epoch);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1);
}

/// Case O01: a dump of the database signs nothing, lets nobody join and says nothing in the open.
#[tokio::test]
async fn no_password_reaches_the_database_or_a_message() {
    let ground = Ground::new();
    let mut wrong = ground.place("1", ground.cluster.port());
    if let avouch_store::Place::Postgres { settings, .. } = &mut wrong {
        settings.password = Some(avouch_words::Secret::new("another password of the tests".into()));
    }
    assert!(!format!("{wrong:?}").contains("password of"));
    let refused = Store::open(wrong, &domain(), [1; 16], NOW).await.unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains("password of"), "{refused:?}");
    assert!(refused.to_string().contains("password authentication failed"), "{refused}");
}
