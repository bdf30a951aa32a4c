use super::*;
use crate::conformance::Ledger;
use crate::testing::{name, wanted_by};
use crate::{ObligationKind, Part, Who};
use avouch_words::{Secret, SystemClock, Ulid};
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const CANARY: &str = "canary-in-the-reply";
const LOGIN: &str = r#"{"auth":{"client_token":"s.token","accessor":"acc","lease_duration":300,"renewable":true}}"#;

/// A store that answers what a test says, and writes down what it was asked: method and path, the token, the body.
struct Liar {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answer = (u16, &'static str, String);

impl Liar {
    async fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move {
                    let Some(line) = request(&mut stream).await else { return };
                    log.lock().unwrap().push(line.clone());
                    let (status, headers, body) = answer(&line);
                    let length = match headers.contains("chunked") {
                        true => String::new(),
                        false => format!("content-length: {}\r\n", body.len()),
                    };
                    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}{length}\r\n");
                    stream.write_all(head.as_bytes()).await.ok();
                    stream.write_all(body.as_bytes()).await.ok();
                });
            }
        });
        Self { address, asked }
    }

    /// One that lets in and then answers so.
    async fn reading(status: u16, headers: &'static str, body: impl Into<String>) -> Self {
        let body = body.into();
        Self::start(move |line| match line.contains("/login") {
            true => (200, "", LOGIN.to_owned()),
            false => (status, headers, body.clone()),
        })
        .await
    }

    fn source(&self) -> OpenBao {
        self.source_at(Arc::new(SystemClock))
    }

    fn source_at(&self, clock: Arc<dyn Clock>) -> OpenBao {
        OpenBao::new(name("vault"), settings(&self.address), &RootCertStore::empty(), None, clock).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn logins(&self) -> usize {
        self.asked().iter().filter(|line| line.contains("/login")).count()
    }
}

/// The request's first line and its token.
async fn request(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let header = |wanted: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case(wanted).then(|| value.to_owned())
        })
    };
    let first = text.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    Some(
        [Some(first), header("x-vault-token"), header("x-vault-namespace")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "),
    )
}

fn settings(address: &str) -> Settings {
    Settings { address: address.to_owned(), ca_file: None, namespace: None, login: jwt("{agent}") }
}

fn jwt(role: &str) -> Login {
    let [mount, role, revoke_role, audience] = ["jwt", role, "avouch-revoke", "openbao"].map(str::to_owned);
    Login::Jwt { mount, role, revoke_role, audience }
}

struct Researcher(Who);

impl Researcher {
    fn enters() -> Arc<dyn Entrant> {
        Arc::new(Self(Who::Agent { agent: name("researcher"), instance: Ulid::new(Millis(0), [1; 10]) }))
    }
}

impl Entrant for Researcher {
    fn who(&self) -> &Who {
        &self.0
    }

    fn jwt<'a>(&'a self, _: &'a str) -> Doing<'a, Secret> {
        Box::pin(async { Ok(Secret::new(b"a.b.c".to_vec())) })
    }
}

fn kv2() -> Wanted {
    wanted_by("kv2:secret/ci/github#token", Researcher::enters())
}

fn secret(value: &str) -> String {
    format!(r#"{{"data":{{"data":{{"token":{value}}},"metadata":{{"version":1}}}}}}"#)
}

async fn read(source: &OpenBao, wanted: &Wanted) -> Result<String, SourceFault> {
    let lease = source.read(wanted, &Ledger::default()).await?;
    Ok(String::from_utf8(lease.part(Part::Value).unwrap().expose().to_vec()).unwrap())
}

/// A clock that a test sets.
#[derive(Default)]
struct Hands(Mutex<Duration>);

impl Hands {
    fn turn(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for Hands {
    fn now(&self) -> Millis {
        Millis(0).plus(self.boot())
    }

    fn boot(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn what_is_no_answer_is_garbage_and_nothing_of_it_is_told() {
    let deep = format!("{}{CANARY}", r#"{"data":{"data":{"token":"#.to_owned() + &"[".repeat(100_000));
    // Good, but for its length.
    let padded = secret(r#""long-enough""#) + &" ".repeat(REPLY_MAX);
    let chunks = format!("{:x}\r\n{padded}\r\n0\r\n\r\n", padded.len());
    for (headers, body) in [
        ("", CANARY.to_owned()),
        ("", String::new()),
        ("", format!("[\"{CANARY}\"]")),
        ("", format!(r#"{{"data":"{CANARY}"}}"#)),
        ("", r#"{"data":null}"#.to_owned()),
        ("", format!(r#"{{"data":{{"data":{{"token":"{CANARY}"}}}}}}"#)),
        ("", format!(r#"{{"data":{{"data":{{"token":"{CANARY}"}},"metadata":{{"version":-1}}}}}}"#)),
        ("", format!(r#"{{"data":{{"data":{{"token":"{CANARY}"}},"metadata":{{"version":1e400}}}}}}"#)),
        ("", secret(r#""seven77""#)),
        ("", secret(r#""with-a-nul-\u0000-in-it""#)),
        ("", secret(r#""with-a-line-\r\n-end""#)),
        ("", secret("12345678")),
        ("", deep),
        ("", padded),
        ("transfer-encoding: chunked\r\n", chunks),
    ] {
        let shown = body.chars().take(60).collect::<String>();
        let liar = Liar::reading(200, headers, body).await;
        let fault = read(&liar.source(), &kv2()).await.unwrap_err();
        assert_eq!(fault, SourceFault::Garbage, "{shown}");
        assert!(!format!("{fault} {fault:?}").contains(CANARY));
    }
}

#[tokio::test]
async fn leases_that_cannot_be_are_garbage() {
    let database = wanted_by("database:database/readonly", Researcher::enters());
    let with = |lease: &str| format!(r#"{{{lease},"data":{{"username":"v-1","password":"long-enough"}}}}"#);
    for lease in [
        r#""lease_id":"","lease_duration":60"#,
        r#""lease_id":null,"lease_duration":60"#,
        r#""lease_id":"a b","lease_duration":60"#,
        r#""lease_id":7,"lease_duration":60"#,
        r#""lease_id":"a","lease_duration":-1"#,
        r#""lease_id":"a","lease_duration":"60""#,
        r#""lease_id":"a","lease_duration":18446744073709551616"#,
    ] {
        let liar = Liar::reading(200, "", with(lease)).await;
        assert_eq!(read(&liar.source(), &database).await.unwrap_err(), SourceFault::Garbage, "{lease}");
    }
    let liar = Liar::reading(200, "", with(r#""lease_id":"a","lease_duration":18446744073709551615"#)).await;
    let lease = liar.source().read(&database, &Ledger::default()).await.unwrap();
    let end = SystemClock.now().plus(Duration::from_secs(300));
    assert!(lease.expires.unwrap() <= end, "a lease outlives its login");
}

/// What was taken is owed, though it cannot be used: somebody has to give it back.
#[tokio::test]
async fn a_lease_with_a_useless_value_is_recorded_and_not_given() {
    let body = r#"{"lease_id":"a","lease_duration":60,"data":{"username":"v-1","password":"short"}}"#;
    let (liar, ledger) = (Liar::reading(200, "", body).await, Ledger::default());
    let database = wanted_by("database:database/readonly", Researcher::enters());
    assert_eq!(liar.source().read(&database, &ledger).await.unwrap_err(), SourceFault::Garbage);
    assert_eq!(ledger.find("a").unwrap().kind, ObligationKind::Lease);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_stays_here() {
    let elsewhere = Liar::reading(200, "", secret(r#""given-elsewhere""#)).await;
    let location: &'static str = Box::leak(format!("location: {}/v1/x\r\n", elsewhere.address).into_boxed_str());
    for status in [301, 302, 303, 307, 308] {
        let liar = Liar::reading(status, location, "").await;
        assert_eq!(read(&liar.source(), &kv2()).await.unwrap_err(), SourceFault::Unavailable);
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn what_the_store_says_of_itself_is_told_apart() {
    let patient = Liar::reading(429, "retry-after: 7\r\n", "").await;
    assert_eq!(read(&patient.source(), &kv2()).await.unwrap_err(), SourceFault::Busy(Duration::from_secs(7)));
    for (sealed, fault) in [("true", SourceFault::Sealed), ("false", SourceFault::Unavailable)] {
        let liar = Liar::start(move |line| match line {
            line if line.contains("/login") => (200, "", LOGIN.to_owned()),
            line if line.contains("seal-status") => (200, "", format!(r#"{{"sealed":{sealed}}}"#)),
            _ => (503, "", "no healthy upstream".to_owned()),
        })
        .await;
        assert_eq!(read(&liar.source(), &kv2()).await.unwrap_err(), fault);
        let asked = liar.asked().into_iter().find(|line| line.contains("seal-status")).unwrap();
        assert!(!asked.contains("s.token"), "whether it is sealed is asked without a token");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let source = OpenBao::new(
        name("vault"),
        settings(&format!("http://{gone}")),
        &RootCertStore::empty(),
        None,
        Arc::new(SystemClock),
    );
    assert_eq!(read(&source.unwrap(), &kv2()).await.unwrap_err(), SourceFault::Unavailable);
}

#[tokio::test]
async fn a_login_is_recorded_before_anything_is_read_with_it() {
    let liar = Liar::reading(200, "", secret(r#""long-enough""#)).await;
    let (source, ledger) = (liar.source(), Ledger::default());
    ledger.refuse(true);
    assert_eq!(source.read(&kv2(), &ledger).await.unwrap_err(), SourceFault::NotRecorded);
    assert_eq!(liar.asked(), ["POST /v1/auth/jwt/login", "POST /v1/auth/token/revoke-self s.token"]);
    ledger.refuse(false);
    source.read(&kv2(), &ledger).await.unwrap();
    let owed = ledger.find("acc").unwrap();
    assert_eq!((owed.kind, owed.agent, owed.renewable), (ObligationKind::Token, Some(name("researcher")), true));
    assert_eq!(liar.asked()[3], "GET /v1/secret/data/ci/github? s.token");
    assert!(ledger.owed().iter().all(|owed| !format!("{owed:?}").contains("s.token")));
}

#[tokio::test]
async fn a_login_serves_many_until_half_its_life_is_over() {
    let liar = Liar::reading(200, "", secret(r#""long-enough""#)).await;
    let hands = Arc::new(Hands::default());
    let source = liar.source_at(hands.clone());
    let wanted = kv2();
    let all = futures_util::future::join_all((0..16).map(|_| read(&source, &wanted))).await;
    assert!(all.iter().all(Result::is_ok));
    hands.turn(Duration::from_secs(149));
    read(&source, &wanted).await.unwrap();
    assert_eq!(liar.logins(), 1);
    hands.turn(Duration::from_secs(2));
    read(&source, &wanted).await.unwrap();
    assert_eq!(liar.logins(), 2);
    let other = Arc::new(Researcher(Who::Agent { agent: name("researcher"), instance: Ulid::new(Millis(0), [2; 10]) }));
    read(&source, &Wanted { entrant: other, ..wanted }).await.unwrap();
    assert_eq!(liar.logins(), 3, "an instance enters for itself alone");
}

#[tokio::test]
async fn a_refused_login_is_made_anew_once_and_never_in_a_loop() {
    let hands = Arc::new(Hands::default());
    let liar = Liar::reading(403, "", "").await;
    let source = liar.source_at(hands.clone());
    for (after, logins) in [(0, 1), (0, 1), (900, 1), (200, 2), (0, 2), (1100, 3)] {
        hands.turn(Duration::from_millis(after));
        assert_eq!(read(&source, &kv2()).await.unwrap_err(), SourceFault::Denied);
        assert_eq!(liar.logins(), logins, "after {after} ms more");
    }
    let (closed, hands) = (Liar::start(|_| (400, "", String::new())).await, Arc::new(Hands::default()));
    let source = closed.source_at(hands.clone());
    for (after, logins) in [(0, 1), (0, 1), (999, 1), (2, 2)] {
        hands.turn(Duration::from_millis(after));
        assert_eq!(read(&source, &kv2()).await.unwrap_err(), SourceFault::Denied);
        assert_eq!(closed.logins(), logins, "after {after} ms more");
    }
}

#[tokio::test]
async fn logins_that_nobody_could_take_back_or_send_are_not_used() {
    let with = |token: &str, accessor: &str| {
        format!(r#"{{"auth":{{"client_token":{token},"accessor":{accessor},"lease_duration":300}}}}"#)
    };
    for (body, fault) in [
        (with(r#""s.token""#, r#""""#), SourceFault::Denied),
        (with(r#""s.token""#, "null"), SourceFault::Denied),
        (with(r#""""#, r#""acc""#), SourceFault::Garbage),
        (with(r#""a\r\nx-other: b""#, r#""acc""#), SourceFault::Garbage),
        (with("7", r#""acc""#), SourceFault::Garbage),
        (with(r#""s.token""#, r#""a b""#), SourceFault::Garbage),
        ("{}".to_owned(), SourceFault::Garbage),
    ] {
        let said = body.clone();
        let liar = Liar::start(move |_| (200, "", body.clone())).await;
        assert_eq!(read(&liar.source(), &kv2()).await.unwrap_err(), fault, "{said}");
        assert_eq!(liar.asked().len(), 1, "something was asked with it");
    }
}

#[tokio::test]
async fn everything_is_asked_in_the_namespace() {
    let liar = Liar::reading(200, "", secret(r#""long-enough""#)).await;
    let settings = Settings { namespace: Some("team/a".to_owned()), ..settings(&liar.address) };
    let source = OpenBao::new(name("vault"), settings, &RootCertStore::empty(), None, Arc::new(SystemClock)).unwrap();
    read(&source, &kv2()).await.unwrap();
    assert!(liar.asked().iter().all(|line| line.ends_with(" team/a")), "{:?}", liar.asked());
}

/// Not a test of its own: reads once, with what the environment says of proxies.
#[tokio::test]
async fn in_an_environment_with_a_proxy() {
    let liar = Liar::reading(200, "", secret(r#""long-enough""#)).await;
    read(&liar.source(), &kv2()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_the_environment_is_not_used() {
    let proxy = Liar::reading(200, "", secret(r#""long-enough""#)).await;
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "openbao::tests::in_an_environment_with_a_proxy"]);
    for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(variable, &proxy.address);
    }
    let ended = again.output().unwrap();
    assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"), "{ended:?}");
    assert!(proxy.asked().is_empty());
}

#[test]
fn settings_that_would_open_the_store_wider_are_refused() {
    let good = settings("https://vault.example.test:8200");
    assert_eq!(good.check(), Ok(()));
    for address in ["http://127.0.0.1:8200", "http://[::1]:8200", "https://vault", "https://vault/"] {
        assert_eq!(settings(address).check(), Ok(()), "{address}");
    }
    for address in [
        "http://vault:8200",
        "http://localhost:8200",
        "http://127.0.0.1.example.test",
        "http://10.0.0.1",
        "https://vault/v1",
        "https://vault?x=1",
        "https://user:password@vault",
        "ftp://vault",
        "vault:8200",
        "",
    ] {
        assert!(settings(address).check().is_err(), "{address}");
    }
    let with = |login: Login| Settings { login, ..good.clone() };
    for role in ["everybody", "", "{agent}/x", "{agent} "] {
        assert!(with(jwt(role)).check().is_err(), "{role}");
    }
    let file = |path: &str| with(Login::TokenFile { token_file: path.to_owned() });
    assert!(file("/run/token").check().is_ok() && file("token").check().is_err());
    let role =
        |mount: &str| Login::Cert { mount: mount.to_owned(), role: "{agent}".to_owned(), revoke_role: "r".to_owned() };
    assert!(with(role("team/cert")).check().is_ok());
    assert!(with(role("../sys")).check().is_err());
    let plain = Settings { login: role("cert"), ..settings("http://127.0.0.1:8200") };
    assert!(plain.check().is_err(), "a certificate is shown over TLS alone");
    assert!(Settings { namespace: Some("a\r\nb".to_owned()), ..good }.check().is_err());
}
