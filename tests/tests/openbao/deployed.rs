//! The whole of it: an issuer whose discovery the store reads, a helper that enters the store by token and by
//! certificate, agents that use what lies there, and agents that try to enter themselves.

use crate::rig::lines;
use avouch_tests::Installation;
use avouch_tests::servers::{Bao, Postgres};
use avouch_wire::tonic::{Request, metadata::MetadataValue};
use avouch_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use avouch_wire::workload::{JwtsvidRequest, X509svid, X509svidRequest};
use base64::Engine as _;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const VALUE: &str = "value-that-lies-in-openbao";
/// What OpenBao says of a certificate that a role has let in and that has no subject to call its bearer by.
const LET_IN: &str = "missing name in alias";

/// Issuer, helper, store, database, and a tool that writes down which credentials it was shown.
struct Deployed {
    made: Installation,
    bao: Bao,
    postgres: Postgres,
    tool: Tool,
}

impl Deployed {
    fn start() -> Self {
        let (bao, postgres) = (Bao::start_tls().expect("OpenBao"), Postgres::start().expect("Postgres"));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let issuer = format!("http://127.0.0.1:{port}");
        let server = format!(
            "reserved_audiences = [\"openbao\"]\n[public]\nurl = \"{issuer}\"\nlisten = \"127.0.0.1:{port}\"\ntls = \"off\"\n"
        );
        let (address, ca) = (bao.address(), bao.ca().expect("its authority"));
        let source = |name: &str, login: &str| {
            let ca = ca.display();
            format!(
                "[[source]]\nname = \"{name}\"\nkind = \"openbao\"\naddress = \"{address}\"\nca_file = \"{ca}\"\nlogin = {{ {login} }}\n"
            )
        };
        let by_token = source("vault", "method = \"jwt\", audience = \"openbao\"");
        let by_certificate = source("vault-by-certificate", "method = \"cert\"");
        let mut made = Installation::prepare_with(&server, &format!("{by_token}{by_certificate}")).expect("settings");
        made.start_both().expect("started");
        let deployed = Self { made, bao, postgres, tool: Tool::start() };
        let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
        deployed.avouch(&[
            "agent",
            "create",
            "researcher",
            "--owner",
            "me@example.test",
            "--node",
            "node:name:n1",
            "--selector",
            &uid,
        ]);
        std::fs::write(deployed.bao.folder().join("bundle.pem"), pem("CERTIFICATE", &deployed.svid().bundle))
            .expect("a file");
        let nodes = "spiffe://example.test/brokered/node/";
        let host = format!("127.0.0.1:{}", deployed.postgres.port());
        let variables = [
            ("ISSUER", issuer.as_str()),
            ("NODES", nodes),
            ("POSTGRES", &host),
            ("PASSWORD", deployed.postgres.password()),
        ];
        for part in ["jwt", "database", "cert"] {
            deployed.bao.shell(&lines(part), &variables).expect("the page's lines");
        }
        deployed.bao.run(&["kv", "put", "-mount=secret", "ci/github", &format!("token={VALUE}")]).expect("put");
        deployed
    }

    fn avouch(&self, arguments: &[&str]) -> String {
        self.made.run(arguments).expect("a verb").stdout
    }

    /// A credential that lies there, for paths of the tool that begin so; granted.
    fn bind(&self, name: &str, source: &str, reference: &str) {
        let (to, path) = (format!("http://127.0.0.1:{}", self.tool.port), format!("/{name}/**"));
        let line = ["credential", "create", name, "--source", source, "--ref", reference, "--to", &to];
        let narrow = ["--plain", "loopback", "--method", "GET", "--path", &path, "--as", "bearer"];
        self.avouch(&[&line[..], &narrow[..]].concat());
        self.avouch(&["grant", "create", "--agent", "researcher", "--credential", name]);
    }

    /// A call of the agent; what came back, the status last.
    fn call(&self, name: &str) -> String {
        let url = format!("http://127.0.0.1:{}/{name}/x", self.tool.port);
        let line =
            ["run", "--agent", "researcher", "--", "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", &url];
        let said = self.made.avouch(&line).expect("curl");
        format!("{}{}", said.stderr, said.stdout)
    }

    /// An agent that makes the same call and stays.
    fn stay(&self, name: &str) -> Child {
        let url = format!("http://127.0.0.1:{}/{name}/x", self.tool.port);
        let shell = format!("curl -sS --max-time 20 -o /dev/null {url}; exec sleep 120");
        let mut run = self.made.command(&["run", "--agent", "researcher", "--", "sh", "-c", &shell]);
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("an agent")
    }

    /// Waits for something that is to be so soon.
    fn until(&self, what: &str, so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !so() {
            assert!(begun.elapsed() < Duration::from_secs(20), "waiting until {what}\n{}", self.made.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// This process's own X.509-SVID, as the agent that it is.
    fn svid(&self) -> X509svid {
        let fetched = self.workload(async |mut client| {
            let mut stream =
                client.fetch_x509svid(asked(X509svidRequest {})).await.map_err(io::Error::other)?.into_inner();
            stream.message().await.map_err(io::Error::other)
        });
        fetched.expect("an SVID").and_then(|message| message.svids.into_iter().next()).expect("an SVID")
    }

    /// This process's own JWT-SVID for audiences.
    fn token(&self, audience: &[&str]) -> io::Result<String> {
        let audience: Vec<String> = audience.iter().map(|one| (*one).to_owned()).collect();
        self.workload(async |mut client| {
            let request = asked(JwtsvidRequest { audience: audience.clone(), spiffe_id: String::new() });
            let reply = client.fetch_jwtsvid(request).await.map_err(io::Error::other)?.into_inner();
            reply.svids.into_iter().next().map(|svid| svid.svid).ok_or(io::ErrorKind::NotFound.into())
        })
    }

    /// Asks until the helper knows of the agent; what it refuses for good is told.
    fn workload<T>(
        &self,
        ask: impl AsyncFn(SpiffeWorkloadApiClient<avouch_wire::tonic::transport::Channel>) -> io::Result<T>,
    ) -> io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let begun = Instant::now();
        loop {
            let answer = runtime.block_on(async {
                let channel = avouch_wire::unix::dial(&self.made.path("run/workload.sock")).await;
                ask(SpiffeWorkloadApiClient::new(channel.map_err(io::Error::other)?)).await
            });
            if answer.is_ok() || begun.elapsed() > Duration::from_secs(5) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a token lets somebody in by a role.
    fn enters_by_token(&self, role: &str, token: &str) -> io::Result<String> {
        self.bao.run(&["write", "auth/jwt/login", &format!("role={role}"), &format!("jwt={token}")])
    }

    /// Whether a certificate lets somebody in by a role.
    fn enters_by_certificate(&self, role: &str, svid: &X509svid) -> io::Result<String> {
        let (certificate, key) = (self.bao.folder().join("own.pem"), self.bao.folder().join("own.key"));
        std::fs::write(&certificate, pem("CERTIFICATE", &svid.x509_svid))?;
        std::fs::write(&key, pem("PRIVATE KEY", &svid.x509_svid_key))?;
        let shown = [format!("-client-cert={}", certificate.display()), format!("-client-key={}", key.display())];
        let name = format!("name={role}");
        self.bao.run(&["login", "-no-store", "-token-only", "-method=cert", &shown[0], &shown[1], &name])
    }
}

fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

/// One or more DER certificates, or a key, as PEM.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = der;
    while let [0x30, 0x82, high, low, ..] = rest {
        let (one, after) = rest.split_at(4 + usize::from(u16::from_be_bytes([*high, *low])));
        text += &block(label, one);
        rest = after;
    }
    // A key is short: its length has one byte.
    if rest.is_empty() { text } else { text + &block(label, rest) }
}

fn block(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A tool that answers with the credential that it was shown, and writes it down.
struct Tool {
    port: u16,
    shown: Arc<Mutex<Vec<String>>>,
}

impl Tool {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, shown) = (listener.local_addr().expect("its address").port(), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&shown);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &log).ok();
            }
        });
        Self { port, shown }
    }

    fn shown(&self) -> Vec<String> {
        self.shown.lock().expect("what was shown").clone()
    }
}

fn answer(mut stream: TcpStream, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut shown = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(token) = line.to_ascii_lowercase().starts_with("authorization: bearer ").then(|| &line[22..]) {
            shown = token.to_owned();
        }
    }
    log.lock().expect("what was shown").push(shown.clone());
    let length = shown.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{shown}")
}

#[test]
fn what_lies_in_openbao_is_injected_scrubbed_audited_and_taken_back() {
    let world = Deployed::start();
    world.bind("token", "vault", "kv2:secret/ci/github#token");
    world.bind("certificate", "vault-by-certificate", "kv2:secret/ci/github#token");
    world.bind("database", "vault", "database:database/readonly");
    for name in ["token", "certificate"] {
        let said = world.call(name);
        assert!(said.ends_with("200") && !said.contains(VALUE), "{said}\n{}", world.made.logs());
        assert_eq!(world.tool.shown().pop().expect("a credential"), VALUE, "{name}");
    }
    // A user that goes with the process for which it was made, and one that goes with a lock.
    let users =
        || world.postgres.sql("postgres", "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'").expect("users");
    assert!(world.call("database").ends_with("200"));
    world.until("no user is left", || users().is_empty());
    let mut agent = world.stay("database");
    world.until("the call was made", || world.tool.shown().len() == 4);
    let password = world.tool.shown().pop().expect("a credential");
    let user = users();
    let logs_in = || world.postgres.sql_as(&user, &password, "postgres", "SELECT 1").is_ok();
    assert!(!user.is_empty() && logs_in(), "{user:?}");
    let audit = world.avouch(&["audit", "export", "--out", "-"]);
    assert!(audit.contains("\"credential\":\"database\"") && audit.contains("\"source\":\"vault\""), "{audit}");
    world.avouch(&["lock", "create", "--agent", "researcher", "--reason", "odd calls"]);
    world.until("the user is gone", || users().is_empty());
    assert!(!logs_in() && !world.call("token").ends_with("200"));
    agent.kill().and_then(|()| agent.wait()).expect("ended");

    let everything =
        format!("{}{}{}", world.avouch(&["audit", "export", "--out", "-"]), world.made.logs(), world.bao.log());
    for secret in [VALUE, password.as_str()] {
        assert!(!everything.contains(secret), "a secret is in a log");
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        let files = world.made.files().expect("files");
        let found: Vec<_> = files.iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect();
        assert!(found.is_empty(), "a secret is in {found:?}");
    }
}

/// Invariant 10: the attack is made with everything that the agent can get, and then with a role that is set up
/// carelessly, which shows that the attack would work.
#[test]
fn nothing_that_an_agent_can_get_opens_openbao() {
    let world = Deployed::start();
    for audiences in [&["openbao"][..], &["api.example.test", "openbao"]] {
        assert!(world.token(audiences).is_err(), "a token for {audiences:?}");
    }
    let address = world.bao.address();
    let audiences = ["vault", "api.example.test", "OPENBAO", "openbao ", "spiffe://example.test", address.as_str()];
    for audience in audiences {
        let Ok(token) = world.token(&[audience]) else { continue };
        for role in ["researcher", "avouch-revoke"] {
            let entered = world.enters_by_token(role, &token);
            assert!(entered.is_err(), "{audience} {role}: {entered:?}");
        }
    }
    let svid = world.svid();
    assert_eq!(svid.spiffe_id, "spiffe://example.test/agent/researcher");
    for role in ["researcher", "avouch-revoke"] {
        let refused = world.enters_by_certificate(role, &svid).expect_err(role).to_string();
        assert!(!refused.contains(LET_IN), "{role}: {refused}");
    }
    // The same documents are let in by roles that ask for less than the page says.
    world
        .bao
        .shell(
            "bao write auth/jwt/role/careless role_type=jwt user_claim=sub bound_audiences=vault
             bao write auth/cert/certs/careless certificate=@bundle.pem",
            &[],
        )
        .expect("careless roles");
    world.enters_by_token("careless", &world.token(&["vault"]).expect("a token")).expect("let in");
    let entered = world.enters_by_certificate("careless", &svid);
    assert!(entered.is_ok() || entered.as_ref().is_err_and(|error| error.to_string().contains(LET_IN)), "{entered:?}");
    // And the brokered identity, which no agent is given, is let in by those of the page.
    for (name, source) in [("token", "vault"), ("certificate", "vault-by-certificate")] {
        world.bind(name, source, "kv2:secret/ci/github#token");
        let said = world.call(name);
        assert!(said.ends_with("200"), "{said}\n{}", world.made.logs());
        assert_eq!(world.tool.shown().pop().expect("a credential"), VALUE);
    }
}
