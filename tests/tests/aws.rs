//! Secrets in AWS Secrets Manager, entered with the policies of `docs/sources.md`, by way of an STS that verifies.

#[path = "aws/rig.rs"]
mod rig;
#[path = "aws/whole.rs"]
mod whole;

use avouch_sources::aws::{Binary, Login, MARGIN};
use avouch_sources::conformance::{Had, Ledger, Step, Store, hold};
use avouch_sources::{AwsSource, Entrant, Found, Lease, Part, Shown, Source, SourceFault, Wanted, Who};
use avouch_words::{Clock, Millis, Name, Reference, Secret, SystemClock, Ulid};
use rig::{AUDIENCE, Rig, VALUE, wanted};
use serde_json::json;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

async fn read(source: &AwsSource, reference: &str, entrant: &Arc<dyn Entrant>) -> Result<Lease, SourceFault> {
    source.read(&wanted(reference, entrant), &Ledger::default()).await
}

async fn value(source: &AwsSource, reference: &str, entrant: &Arc<dyn Entrant>) -> Result<String, SourceFault> {
    let lease = read(source, reference, entrant).await?;
    Ok(String::from_utf8(lease.part(Part::Value).expect("a value").expose().to_vec()).expect("text"))
}

/// The account for the suite.
struct Held {
    rig: Rig,
    source: AwsSource,
    agent: Arc<dyn Entrant>,
    value: Mutex<&'static str>,
}

impl Store for Held {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn held(&self) -> (Wanted, Secret) {
        let value = self.value.lock().expect("a value").as_bytes().to_vec();
        (wanted("ci/github", &self.agent), Secret::new(value))
    }

    fn missing(&self) -> Wanted {
        wanted("ci/none", &self.agent)
    }

    fn unreadable(&self) -> Vec<Reference> {
        ["", "#key", "ci/github#", "ci/github@", "a?b"].map(|text| Reference::parse(text).expect("text")).into()
    }

    fn node(&self) -> Arc<dyn Entrant> {
        self.rig.authority.node()
    }

    fn denied(&self) -> Step<'_, Had<Wanted>> {
        Box::pin(async {
            self.rig.aws.moto.create("prod/github", "not-for-this-agent").map_err(|error| error.to_string())?;
            Ok(Had::Done(wanted("prod/github", &self.agent)))
        })
    }

    fn garbage(&self) -> Step<'_, Had<Vec<(&'static str, Wanted)>>> {
        Box::pin(async {
            let long = "x".repeat(16 * 1024 + 1);
            let fields =
                json!({"number": 12_345_678, "list": ["of-a-list"], "map": {"value": "of-a-map"}, "null": null});
            for (name, text) in [
                ("ci/short", "seven77"),
                ("ci/line", "first line\nsecond line"),
                ("ci/umlaut", "gr\u{fc}n-und-lang"),
                ("ci/long", &long),
                ("ci/fields", &fields.to_string()),
            ] {
                self.rig.aws.moto.create(name, text).map_err(|error| error.to_string())?;
            }
            let binary = json!({"Name": "ci/binary", "SecretBinary": "//79/Pv6+fj39g=="});
            self.rig.aws.moto.run("CreateSecret", &binary).map_err(|error| error.to_string())?;
            let all = [
                ("a value too short to be scrubbed", "ci/short"),
                ("a value of two lines", "ci/line"),
                ("a value outside ASCII", "ci/umlaut"),
                ("a value that is too long", "ci/long"),
                ("bytes that are no text", "ci/binary"),
                ("a number", "ci/fields#number"),
                ("a list", "ci/fields#list"),
                ("a map", "ci/fields#map"),
                ("null", "ci/fields#null"),
                ("a key of what is no object", "ci/line#key"),
            ];
            Ok(Had::Done(all.map(|(what, reference)| (what, wanted(reference, &self.agent))).into()))
        })
    }

    fn rotate(&self) -> Step<'_, Had<Secret>> {
        Box::pin(async {
            *self.value.lock().expect("a value") = "another-horse-staple-github";
            let put = json!({"SecretId": "ci/github", "SecretString": "another-horse-staple-github"});
            self.rig.aws.moto.run("PutSecretValue", &put).map_err(|error| error.to_string())?;
            Ok(Had::Done(self.held().1))
        })
    }

    fn stall(&self) -> Step<'_, Had<()>> {
        self.rig.aws.stall();
        Box::pin(async { Ok(Had::Done(())) })
    }

    fn go_on(&self) -> Step<'_, ()> {
        self.rig.aws.go_on();
        Box::pin(async { Ok(()) })
    }

    fn seal(&self) -> Step<'_, Had<()>> {
        // As when the secret's key in KMS is disabled.
        self.rig.aws.instead(400, "DecryptionFailure");
        Box::pin(async { Ok(Had::Done(())) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_holds_what_sources_must_hold() {
    let rig = Rig::start();
    let source = rig.source(rig.web_identity());
    let agent = rig.authority.agent("researcher");
    let not = hold(&Held { rig, source, agent, value: Mutex::new(VALUE) }).await.expect("what sources must hold");
    let words: Vec<&str> = not.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["other_binding", "revoked"], "{not:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_keys_stages_and_binaries_are_read() {
    let rig = Rig::start();
    let (source, agent) = (rig.source(rig.web_identity()), rig.authority.agent("researcher"));
    let moto = &rig.aws.moto;
    moto.create("ci/db", r#"{"username":"app","password":"first-password-of-db"}"#).expect("a secret");
    assert_eq!(value(&source, "ci/db#password", &agent).await.expect("a key"), "first-password-of-db");
    assert_eq!(read(&source, "ci/db#other", &agent).await.expect_err("no such key"), SourceFault::Missing);
    let put = json!({"SecretId": "ci/db", "SecretString": r#"{"password":"second-password-of-db"}"#});
    moto.run("PutSecretValue", &put).expect("put");
    assert_eq!(value(&source, "ci/db#password", &agent).await.expect("current"), "second-password-of-db");
    assert_eq!(value(&source, "ci/db#password@AWSPREVIOUS", &agent).await.expect("previous"), "first-password-of-db");
    assert_eq!(read(&source, "ci/db@AWSPENDING", &agent).await.expect_err("no such stage"), SourceFault::Missing);
    let versions: Vec<_> =
        [read(&source, "ci/db#password", &agent).await, read(&source, "ci/db#password@AWSPREVIOUS", &agent).await]
            .map(|lease| lease.expect("a lease").version.expect("a version"))
            .into();
    assert_ne!(versions[0], versions[1]);

    moto.run("CreateSecret", &json!({"Name": "ci/text", "SecretBinary": "YmluYXJ5LWJ1dC10ZXh0"})).expect("a secret");
    assert_eq!(value(&source, "ci/text", &agent).await.expect("text"), "binary-but-text");
    moto.run("CreateSecret", &json!({"Name": "ci/bytes", "SecretBinary": "//79/Pv6+fj39g=="})).expect("a secret");
    let coded = rig.source_with(rig.web_identity(), Binary::Base64, Arc::new(SystemClock));
    assert_eq!(value(&coded, "ci/bytes", &agent).await.expect("base64"), "//79/Pv6+fj39g==");
    assert_eq!(value(&coded, "ci/github", &agent).await.expect("a string is a string"), VALUE);

    moto.run("DeleteSecret", &json!({"SecretId": "ci/db"})).expect("deleted");
    assert_eq!(read(&source, "ci/db#password", &agent).await.expect_err("marked for deletion"), SourceFault::Missing);
}

/// The same with another instance.
fn another(rig: &Rig, agent: &str) -> Arc<dyn Entrant> {
    let who = Who::Agent { agent: Name::parse(agent).expect("a name"), instance: Ulid::new(Millis(0), [2; 10]) };
    rig.authority.entrant(who, &format!("brokered/agent/{agent}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instance_has_a_session_in_the_agents_name_that_can_only_read() {
    let rig = Rig::start();
    // Its role could do everything; the session cannot.
    let everything = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
    rig.aws.role("avouch-researcher", &rig::page("trust", avouch_tests::Authority::DOMAIN), &everything);
    let source = rig.source(rig.web_identity());
    let agent = rig.authority.agent("researcher");
    for _ in 0..3 {
        read(&source, "ci/github", &agent).await.expect("a value");
    }
    let session = rig.aws.sessions();
    assert_eq!(session.len(), 1, "kept from read to read");
    assert_eq!((session[0].name.as_str(), session[0].seconds), ("researcher", 900));
    assert_eq!(session[0].subject, "spiffe://example.test/brokered/agent/researcher");
    assert_eq!(session[0].role, "arn:aws:iam::123456789012:role/avouch-researcher");
    read(&source, "ci/github", &another(&rig, "researcher")).await.expect("a value");
    assert_eq!(rig.aws.sessions().len(), 2, "one for each instance");
    assert_eq!(rig.aws.allowed("secretsmanager:DeleteSecret"), 0);
    assert_eq!(rig.aws.allowed("secretsmanager:GetSecretValue"), 2);

    // Forgotten with the agent; and an agent without a role of its own is refused by STS.
    source.leave(&Name::parse("researcher").expect("a name")).await.expect("left");
    read(&source, "ci/github", &agent).await.expect("a value");
    assert_eq!(rig.aws.sessions().len(), 3);
    let other = rig.authority.agent("writer");
    assert_eq!(read(&source, "ci/github", &other).await.expect_err("no role"), SourceFault::Denied);
    let node = rig.authority.node();
    assert_eq!(read(&source, "ci/github", &node).await.expect_err("no agent"), SourceFault::NoIdentity);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_brokered_identity_for_this_audience_opens_a_session() {
    let rig = Rig::start();
    let source = rig.source(rig.web_identity());
    let who =
        || Who::Agent { agent: Name::parse("researcher").expect("a name"), instance: Ulid::new(Millis(0), [3; 10]) };
    for (path, fault) in [
        ("agent/researcher", SourceFault::Denied),
        ("brokered/agent/writer", SourceFault::Denied),
        ("brokered/node/n1", SourceFault::Denied),
        ("brokered/agent/researcher/x", SourceFault::Denied),
    ] {
        let entrant = rig.authority.entrant(who(), path);
        assert_eq!(read(&source, "ci/github", &entrant).await.expect_err(path), fault, "{path}");
    }
    // Another authority's keys, and another audience.
    let foreign = avouch_tests::Authority::new().agent("researcher");
    assert_eq!(read(&source, "ci/github", &foreign).await.expect_err("foreign"), SourceFault::Denied);
    let Login::WebIdentity { role_arn, sts_endpoint, .. } = rig.web_identity() else { unreachable!() };
    let elsewhere = rig.source(Login::WebIdentity { role_arn, sts_endpoint, audience: "avouch.other".to_owned() });
    let agent = rig.authority.agent("researcher");
    assert_eq!(read(&elsewhere, "ci/github", &agent).await.expect_err("audience"), SourceFault::Denied);
    assert!(rig.aws.sessions().is_empty());
    assert_eq!(value(&source, "ci/github", &agent).await.expect("the brokered one"), VALUE);
}

/// A clock that is put forward.
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Millis {
        Millis(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        SystemClock.boot()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_replaced_before_its_end_and_once_more_when_aws_ends_it() {
    let rig = Rig::start();
    let clock = Arc::new(Ahead(AtomicI64::new(0)));
    let source = rig.source_with(rig.web_identity(), Binary::Text, clock.clone());
    let agent = rig.authority.agent("researcher");
    read(&source, "ci/github", &agent).await.expect("a value");
    let margin = i64::try_from(MARGIN.as_millis()).expect("a number");
    clock.0.store(900_000 - margin - 30_000, Ordering::SeqCst);
    read(&source, "ci/github", &agent).await.expect("a value");
    assert_eq!(rig.aws.sessions().len(), 1);
    clock.0.store(900_000 - margin + 1_000, Ordering::SeqCst);
    read(&source, "ci/github", &agent).await.expect("a value");
    assert_eq!(rig.aws.sessions().len(), 2, "five minutes before its end");

    clock.0.store(0, Ordering::SeqCst);
    rig.aws.end_sessions();
    read(&source, "ci/github", &agent).await.expect("a value, with a new session");
    assert_eq!(rig.aws.sessions().len(), 3);
    // Whatever it does, AWS calls it ended: two tries and no more (case T13).
    let before = rig.aws.asked().len();
    for _ in 0..3 {
        rig.aws.instead(400, "ExpiredTokenException");
    }
    assert_eq!(read(&source, "ci/github", &agent).await.expect_err("ended"), SourceFault::Denied);
    assert_eq!(rig.aws.asked().len() - before, 3, "a read, a login, a read");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_aws_has_its_fault_and_is_asked_for_once() {
    let rig = Rig::start();
    let (source, agent) = (rig.source(rig.web_identity()), rig.authority.agent("researcher"));
    read(&source, "ci/github", &agent).await.expect("a value");
    let two = r#"{"SecretString":"long-enough-text","SecretBinary":"bG9uZy1lbm91Z2gtdGV4dA=="}"#;
    for (status, said, fault) in [
        (400, "ThrottlingException", SourceFault::Busy(Duration::from_secs(7))),
        (400, "AccessDeniedException", SourceFault::Denied),
        (400, "ResourceNotFoundException", SourceFault::Missing),
        (400, "InvalidParameterException", SourceFault::Reference),
        (500, "InternalServiceError", SourceFault::Unavailable),
        (503, "ServiceUnavailable", SourceFault::Unavailable),
        (307, "TemporaryRedirect", SourceFault::Unavailable),
        (200, "not json", SourceFault::Garbage),
        (200, "{}", SourceFault::Garbage),
        (200, two, SourceFault::Garbage),
        (200, &format!("{{\"SecretString\":\"{}\"}}", "x".repeat(avouch_sources::aws::BODY_MAX)), SourceFault::Garbage),
    ] {
        let before = rig.aws.asked().len();
        rig.aws.instead(status, said);
        assert_eq!(
            read(&source, "ci/github", &agent).await.expect_err(said),
            fault,
            "{status} {}",
            &said[..said.len().min(40)]
        );
        assert_eq!(rig.aws.asked().len() - before, 1, "{said}: no retry and no redirect of the SDK's own");
    }
    assert_eq!(value(&source, "ci/github", &agent).await.expect("a value"), VALUE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_verified_is_told_nothing() {
    let (rig, foreign) = (Rig::start(), Rig::start());
    let settings = avouch_sources::AwsSettings {
        region: "eu-west-1".to_owned(),
        endpoint: Some(rig.aws.address()),
        ca_pem: Some(std::fs::read(foreign.aws.ca()).expect("a file")),
        login: rig.web_identity(),
        binary: Binary::Text,
    };
    let clock = Arc::new(SystemClock);
    let source = AwsSource::new(Name::parse("aws").expect("a name"), settings, None, clock).expect("a source");
    let agent = rig.authority.agent("researcher");
    assert_eq!(read(&source, "ci/github", &agent).await.expect_err("foreign"), SourceFault::Unavailable);
    assert!(rig.aws.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_cannot_federate_is_read_from_a_private_file_or_the_machines_service() {
    use std::os::unix::fs::PermissionsExt as _;

    let rig = Rig::start();
    let agent = rig.authority.agent("researcher");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    let write = |permissions: &serde_json::Value, mode: u32| {
        let keys = rig.aws.user("helper", permissions);
        let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", keys.id, keys.secret);
        std::fs::write(&path, text).expect("keys");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let source = rig.source(Login::File(path.display().to_string()));
    assert_eq!(read(&source, "ci/github", &agent).await.expect_err("no file"), SourceFault::NoIdentity);
    write(&rig::page("permissions", ""), 0o644);
    assert_eq!(read(&source, "ci/github", &agent).await.expect_err("open to others"), SourceFault::Denied);
    write(&rig::page("permissions", ""), 0o600);
    assert_eq!(value(&source, "ci/github", &agent).await.expect("a value"), VALUE);
    // Other keys are seen at once.
    write(&json!({"Statement": []}), 0o600);
    assert_eq!(read(&source, "ci/github", &agent).await.expect_err("other keys"), SourceFault::Denied);
    assert!(rig.aws.sessions().is_empty(), "STS is not asked");
    assert_eq!(source.about().shown, Shown::Nothing);

    for (version_two, so) in [(true, Ok(VALUE.to_owned())), (false, Err(SourceFault::NoIdentity))] {
        let machine =
            rig.aws.metadata(&rig.aws.user("machine", &rig::page("permissions", "")), version_two).expect("IMDS");
        let source = rig.source(Login::Instance { endpoint: Some(machine) });
        assert_eq!(value(&source, "ci/github", &agent).await, so, "version 2: {version_two}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_logs_in_anew_and_says_who_one_is_and_what_is_there() {
    let rig = Rig::start();
    let (source, agent) = (rig.source(rig.web_identity()), rig.authority.agent("researcher"));
    let about = source.about();
    assert_eq!((about.place, about.login), (rig.aws.address(), "web_identity"));
    assert_eq!(about.shown, Shown::Jwt { audience: AUDIENCE.to_owned() });
    let sought = wanted("ci/github", &agent);
    for logins in 1..=2 {
        let entered = source.try_entry(&*agent, Some(&sought), &Ledger::default()).await.expect("entered");
        assert_eq!(
            entered.seen_as.as_deref(),
            Some("arn:aws:sts::123456789012:assumed-role/avouch-researcher/researcher")
        );
        let Some(Ok(Found::Value { bytes, version: Some(_) })) = entered.found else { panic!("nothing found") };
        assert_eq!((bytes, rig.aws.sessions().len()), (VALUE.len(), logins));
    }
    let missing = wanted("ci/none", &agent);
    let entered = source.try_entry(&*agent, Some(&missing), &Ledger::default()).await.expect("entered");
    assert_eq!(entered.found, Some(Err(SourceFault::Missing)));
    let own = rig.authority.entrant(agent.who().clone(), "agent/researcher");
    let refused = source.try_entry(&*own, None, &Ledger::default()).await;
    assert_eq!(refused.expect_err("its own identity"), SourceFault::Denied);
}
