//! Every way in, and who stays outside.

use crate::rig::{Rig, VALUE, source, wanted};
use avouch_sources::conformance::Ledger;
use avouch_sources::openbao::{Login, Settings};
use avouch_sources::{Lease, ObligationKind, OpenBao, Part, Source as _, SourceFault, Who};
use avouch_words::{Millis, Name, Ulid};

async fn read(source: &OpenBao, rig: &Rig, ledger: &Ledger) -> Result<Lease, SourceFault> {
    source.read(&wanted("kv2:secret/ci/github#token", &rig.authority.agent("researcher")), ledger).await
}

fn value(lease: &Lease) -> &[u8] {
    lease.part(Part::Value).expect("a value").expose()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lets_its_own_agent_in_and_nobody_else() {
    let rig = Rig::start(true, &["jwt", "database", "cert"]);
    let (source, ledger) = (rig.source(rig.cert()), Ledger::default());
    let agent = rig.authority.agent("researcher");
    assert_eq!(value(&read(&source, &rig, &ledger).await.expect("a value")), VALUE.as_bytes());
    // Renewed though the certificate of the login has been replaced, and given back by the node's own certificate.
    let lease = source.read(&wanted("database:database/readonly", &agent), &ledger).await.expect("a lease");
    let owed = ledger.find(lease.id.as_deref().expect("an id")).expect("recorded");
    let login = ledger.find(owed.parent.as_deref().expect("a login")).expect("recorded");
    source.renew(&login, &*agent).await.expect("renewed");
    source.renew(&owed, &*agent).await.expect("renewed");
    source.revoke(&owed, &*rig.authority.node()).await.expect("given back");
    assert!(!rig.opens_the_database(&lease));
    let instance = Ulid::new(Millis(0), [9; 10]);
    let as_researcher = |path: &str| {
        let who = Who::Agent { agent: Name::parse("researcher").expect("a name"), instance };
        rig.authority.entrant(who, path)
    };
    for other in ["agent/researcher", "brokered/agent/intruder", "brokered/agent/researcher/x", "brokered/node/n1"] {
        let asked = wanted("kv2:secret/ci/github#token", &as_researcher(other));
        assert_eq!(
            rig.source(rig.cert()).read(&asked, &ledger).await.expect_err("refused"),
            SourceFault::Denied,
            "{other}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_its_own_agent_in_and_nobody_else() {
    let rig = Rig::start(false, &["jwt"]);
    let (instance, ledger) = (Ulid::new(Millis(0), [9; 10]), Ledger::default());
    for other in ["agent/researcher", "brokered/agent/intruder", "brokered/node/n1", "node/join_token/n1"] {
        let who = Who::Agent { agent: Name::parse("researcher").expect("a name"), instance };
        let asked = wanted("kv2:secret/ci/github#token", &rig.authority.entrant(who, other));
        assert_eq!(
            rig.source(rig.jwt()).read(&asked, &ledger).await.expect_err("refused"),
            SourceFault::Denied,
            "{other}"
        );
    }
    let Login::Jwt { mount, role, revoke_role, .. } = rig.jwt() else { unreachable!() };
    let foreign = Login::Jwt { mount, role, revoke_role, audience: "another-store".to_owned() };
    assert_eq!(read(&rig.source(foreign), &rig, &ledger).await.expect_err("refused"), SourceFault::Denied);
    assert!(ledger.owed().is_empty());
    assert_eq!(value(&read(&rig.source(rig.jwt()), &rig, &ledger).await.expect("a value")), VALUE.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_id_or_a_token_is_read_from_its_file_when_it_is_used() {
    let rig = Rig::start(false, &["jwt", "approle"]);
    let ledger = Ledger::default();
    let role_id = rig.bao.run(&["read", "-field=role_id", "auth/approle/role/avouch/role-id"]).expect("a role id");
    let secret_id =
        || rig.bao.run(&["write", "-f", "-field=secret_id", "auth/approle/role/avouch/secret-id"]).expect("one");
    let secret_id_file = rig.private("secret-id", "0000-is-no-secret-id");
    let by_role = rig.source(Login::AppRole { mount: "approle".to_owned(), role_id, secret_id_file });
    assert_eq!(read(&by_role, &rig, &ledger).await.expect_err("refused"), SourceFault::Denied);
    rig.private("secret-id", &format!("{}\n", secret_id()));
    // Not before the pause after a refused login is over.
    tokio::time::sleep(avouch_sources::openbao::PAUSE).await;
    assert_eq!(value(&read(&by_role, &rig, &ledger).await.expect("a value")), VALUE.as_bytes());
    assert_eq!(ledger.owed().len(), 1);

    let token_file = rig.private("token", "s.is-no-token\n");
    let by_token = rig.source(Login::TokenFile { token_file: token_file.clone() });
    assert_eq!(read(&by_token, &rig, &ledger).await.expect_err("refused"), SourceFault::Denied);
    rig.private(
        "token",
        rig.bao.run(&["token", "create", "-policy=avouch-researcher", "-field=token"]).expect("one").trim(),
    );
    assert_eq!(value(&read(&by_token, &rig, &ledger).await.expect("a value")), VALUE.as_bytes());
    std::fs::set_permissions(&token_file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("its mode");
    assert_eq!(read(&by_token, &rig, &ledger).await.expect_err("others could read it"), SourceFault::Denied);
    assert_eq!(ledger.owed().len(), 1, "somebody else's token is not owed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_was_ended_at_the_store_is_made_anew() {
    let rig = Rig::start(false, &["jwt"]);
    let (source, ledger) = (rig.source(rig.jwt()), Ledger::default());
    read(&source, &rig, &ledger).await.expect("a value");
    let accessor = ledger.owed()[0].id.clone();
    rig.bao.run(&["token", "revoke", "-accessor", &accessor]).expect("ended");
    tokio::time::sleep(avouch_sources::openbao::PAUSE).await;
    read(&source, &rig, &ledger).await.expect("a value with another login");
    assert_eq!(ledger.owed().iter().filter(|owed| owed.kind == ObligationKind::Token).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_verified_is_told_nothing() {
    let rig = Rig::start(true, &["jwt"]);
    let ledger = Ledger::default();
    let unknown = Settings { ca_file: None, ..rig.settings(rig.jwt()) };
    assert_eq!(read(&source(unknown), &rig, &ledger).await.expect_err("unknown"), SourceFault::Unavailable);
    let other = Settings { ca_file: Some(rig.bao.folder().join("bundle.pem")), ..rig.settings(rig.jwt()) };
    assert_eq!(read(&source(other), &rig, &ledger).await.expect_err("another"), SourceFault::Unavailable);
    assert!(ledger.owed().is_empty());
    read(&rig.source(rig.jwt()), &rig, &ledger).await.expect("a value");
}

/// The store's own names of things are the same in each namespace, and what lies there is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_secrets_and_roles_of_its_own() {
    let rig = Rig::start(false, &["jwt"]);
    rig.bao.run(&["namespace", "create", "team"]).expect("a namespace");
    let jwt = crate::rig::lines("jwt").replace(r#"oidc_discovery_url="$ISSUER""#, "jwt_validation_pubkeys=@keys.pem");
    rig.run(&format!("export BAO_NAMESPACE=team\n{jwt}\nbao secrets enable -path=secret -version=1 kv"));
    rig.run("export BAO_NAMESPACE=team\nbao kv put -mount=secret ci/tool token=of-the-namespace team=of-the-field");
    rig.run("export BAO_NAMESPACE=team\nbao policy write avouch-researcher - <<< 'path \"secret/*\" { capabilities = [\"read\"] }'");
    let ledger = Ledger::default();
    let inside = source(Settings { namespace: Some("team".to_owned()), ..rig.settings(rig.jwt()) });
    let asked = wanted("kv1:secret/ci/tool#token", &rig.authority.agent("researcher"));
    assert_eq!(value(&inside.read(&asked, &ledger).await.expect("a value")), b"of-the-namespace");
    assert_eq!(read(&inside, &rig, &ledger).await.expect_err("of another namespace"), SourceFault::Missing);
}
