//! What is leased, and how it ends.

use crate::rig::{Rig, wanted};
use avouch_sources::conformance::Ledger;
use avouch_sources::{Lease, Obligation, ObligationKind, Part, Source as _, SourceFault};
use avouch_words::{Clock as _, Name, SystemClock};
use std::time::{Duration, Instant};

fn login(ledger: &Ledger) -> Obligation {
    ledger.owed().into_iter().find(|owed| owed.kind == ObligationKind::Token).expect("a login")
}

/// What hangs on a login that has ended is taken back soon after.
async fn until_closed(rig: &Rig, lease: &Lease) {
    let begun = Instant::now();
    while rig.opens_the_database(lease) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it outlives its login");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_user_lives_as_long_as_its_lease_and_its_login() {
    let rig = Rig::start(false, &["jwt", "database"]);
    let (source, ledger) = (rig.source(rig.jwt()), Ledger::default());
    let (agent, node) = (rig.authority.agent("researcher"), rig.authority.node());
    let asked = wanted("database:database/readonly", &agent);
    let (first, second) = tokio::join!(source.read(&asked, &ledger), source.read(&asked, &ledger));
    let (first, second) = (first.expect("a lease"), second.expect("a lease"));
    assert_ne!(
        first.part(Part::Username).expect("a name").expose(),
        second.part(Part::Username).expect("a name").expose()
    );
    let owed = ledger.find(first.id.as_deref().expect("an id")).expect("recorded");
    let end = SystemClock.now().plus(Duration::from_secs(300));
    assert!(owed.renewable && owed.expires <= end && owed.expires.since(SystemClock.now()) > Duration::from_secs(290));
    let until = source.renew(&owed, &*agent).await.expect("renewed");
    assert!(until.since(SystemClock.now()) > Duration::from_secs(290));
    source.revoke(&owed, &*node).await.expect("given back");
    assert!(!rig.opens_the_database(&first) && rig.opens_the_database(&second));
    assert_eq!(source.renew(&owed, &*agent).await.expect_err("it is gone"), SourceFault::Denied);
    // The login is given back by its accessor, and what is left goes with it.
    source.revoke(&login(&ledger), &*node).await.expect("given back");
    until_closed(&rig, &second).await;
    source.revoke(&login(&ledger), &*node).await.expect("given back before");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_an_agent_leaves_its_login_and_its_leases_end() {
    let rig = Rig::start(false, &["jwt", "database"]);
    let (source, ledger) = (rig.source(rig.jwt()), Ledger::default());
    let agent = rig.authority.agent("researcher");
    let lease = source.read(&wanted("database:database/readonly", &agent), &ledger).await.expect("a lease");
    source.leave(&Name::parse("intruder").expect("a name")).await.expect("nothing");
    assert!(rig.opens_the_database(&lease));
    source.leave(&Name::parse("researcher").expect("a name")).await.expect("left");
    until_closed(&rig, &lease).await;
    let lookup = rig.bao.run(&["token", "lookup", "-accessor", &login(&ledger).id]);
    assert!(lookup.is_err(), "the login lives: {lookup:?}");
}

/// A node that is lost renews nothing: its leases die with the login that they were made with.
#[tokio::test(flavor = "multi_thread")]
async fn leases_of_a_lost_node_die_with_their_login() {
    let rig = Rig::start(false, &["jwt", "database"]);
    rig.bao
        .run(&["patch", "auth/jwt/role/researcher", "token_period=2s"])
        .or_else(|_| {
            rig.bao.shell(
                "bao write auth/jwt/role/researcher role_type=jwt user_claim=sub bound_audiences=openbao \
             bound_subject=spiffe://example.test/brokered/agent/researcher token_type=service \
             token_policies=avouch-researcher token_period=2s",
                &[],
            )
        })
        .expect("a role of two seconds");
    let (source, ledger) = (rig.source(rig.jwt()), Ledger::default());
    let agent = rig.authority.agent("researcher");
    let lease = source.read(&wanted("database:database/readonly", &agent), &ledger).await.expect("a lease");
    let (owed, end) = (login(&ledger), lease.expires.expect("an end"));
    assert!(end <= SystemClock.now().plus(Duration::from_secs(2)), "the lease of five minutes ends with its login");
    // As long as somebody renews it, it lives.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        source.renew(&owed, &*agent).await.expect("renewed");
    }
    assert!(rig.opens_the_database(&lease));
    drop(source);
    until_closed(&rig, &lease).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_comes_with_its_key_and_is_revoked_with_its_lease() {
    let rig = Rig::start(false, &["jwt", "pki"]);
    let (source, ledger) = (rig.source(rig.jwt()), Ledger::default());
    let agent = rig.authority.agent("researcher");
    let asked = wanted("pki:pki/tools?common_name=a.tools.example.test&ttl=10m", &agent);
    let lease = source.read(&asked, &ledger).await.expect("a certificate");
    for (part, begins) in [
        (Part::Certificate, "-----BEGIN CERTIFICATE-----"),
        (Part::PrivateKey, "-----BEGIN PRIVATE KEY-----"),
        (Part::CaChain, "-----BEGIN CERTIFICATE-----"),
    ] {
        assert!(lease.part(part).expect("a part").expose().starts_with(begins.as_bytes()), "{part:?}");
    }
    let serial = lease.version.clone().expect("a serial number");
    let revoked =
        || rig.bao.run(&["read", "-field=revocation_time", &format!("pki/cert/{serial}")]).expect("the certificate");
    assert_eq!(revoked().trim(), "0");
    let owed = ledger.find(lease.id.as_deref().expect("an id")).expect("recorded");
    source.revoke(&owed, &*rig.authority.node()).await.expect("given back");
    assert_ne!(revoked().trim(), "0");
    let foreign = wanted("pki:pki/tools?common_name=a.example.org", &agent);
    assert!(source.read(&foreign, &ledger).await.is_err(), "the role allows no such name");
}

/// The node's role can give back, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_role_reads_nothing() {
    let rig = Rig::start(false, &["jwt", "database"]);
    let (source, ledger) = (rig.source(rig.jwt()), Ledger::default());
    for reference in ["kv2:secret/ci/github#token", "database:database/readonly"] {
        let asked = wanted(reference, &rig.authority.node());
        assert_eq!(source.read(&asked, &ledger).await.expect_err("refused"), SourceFault::Denied, "{reference}");
    }
}
