//! The nine steps.

use super::child::{Agent, HelperProcess};
use super::order::{Order, Report};
use super::place::Place;
use super::witness::Witness;
use super::world::{IssuerPart, Tool, helper_client};
use super::{canary, client};
use crate::failure::{Exit, Failure};
use crate::output::{data, span};
use crate::replies;
use crate::verbs::audit::{Row, row, table};
use avouch_audit::entry::Entry;
use avouch_audit::export::{Part, read_parts, write_part};
use avouch_audit::verify::verify;
use avouch_policy::binding::Plain;
use avouch_policy::{BindingSpec, SlotSpec};
use avouch_wire::admin::CreateLockRequest;
use avouch_wire::admin::lock_progress::Kind;
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::tonic::transport::Channel;
use avouch_words::{Clock as _, Millis, SystemClock};
use std::path::Path;
use std::time::Duration;

/// Runs all nine, and ends everything that was started.
pub async fn run(place: &Place) -> Result<(), Failure> {
    let mut issuer = step(1, "issuer", start_issuer(place)).await?;
    let (helper_process, mut helper) = step(2, "enrolment", enrol(place, &mut issuer)).await?;
    step(3, "agents", register(&mut issuer, &mut helper)).await?;
    let mut actors = step(4, "identity", identities(place, &issuer)).await?;
    let tool = step(5, "credentials", bind(&mut issuer, &mut helper)).await?;
    step(6, "calls", calls(&mut actors, &tool)).await?;
    step(7, "refusals", refusals(&mut actors, &tool)).await?;
    step(8, "lock", lock(&mut issuer, &mut actors, &tool)).await?;
    actors.researcher.end().await?;
    actors.intruder.end().await?;
    step(9, "audit", audit(place, &mut issuer, &mut helper, &tool)).await?;
    drop(helper);
    helper_process.stop().await?;
    issuer.stop().await?;
    tool.stop();
    Ok(())
}

/// The two agents, and what they have seen.
struct Actors {
    researcher: Agent,
    intruder: Agent,
    witness: Witness,
}

/// Does a step and says what it proved; a failure names the step.
async fn step<T>(
    number: u8,
    name: &str,
    doing: impl Future<Output = Result<(T, String), Failure>>,
) -> Result<T, Failure> {
    let (value, proved) = doing
        .await
        .map_err(|failure| Failure::with_code(failure.code(), format!("step {number} ({name}) failed: {failure}")))?;
    data(format!("{number}. {proved}\n"))?;
    Ok(value)
}

async fn start_issuer(place: &Place) -> Result<(IssuerPart, String), Failure> {
    let issuer = IssuerPart::start(place).await?;
    let (state, seal) = (place.paths().server_state(), place.paths().server_seal_key());
    expect(state.join(avouch_config::DATABASE_FILE).is_file(), "the issuer made no database")?;
    expect(seal.is_file() && !seal.starts_with(&state), "the seal key is not apart from the state")?;
    let said = format!(
        "The issuer serves the new trust domain {} at {}; its authorities are sealed with a key in another directory.",
        issuer.trust_domain, issuer.address
    );
    Ok((issuer, said))
}

async fn enrol(
    place: &Place,
    issuer: &mut IssuerPart,
) -> Result<((HelperProcess, HelperClient<Channel>), String), Failure> {
    let token = issuer.token(NODE).await?;
    crate::files::create_private(&place.file("join.token"), format!("{token}\n").as_bytes())?;
    let config = helper_config(place, issuer, "helper", place.dir())?;
    let mut process = HelperProcess::start(place, &config, "helper.log")?;
    let node = issuer.node_connected(&mut process).await?;
    let again = helper_config(place, issuer, "second", &place.file("second"))?;
    let mut second = HelperProcess::start(place, &again, "second.log")?;
    let status = second.wait().await?;
    expect(!status.success(), "a second helper enrolled with the same token")?;
    let said = std::fs::read_to_string(place.file("second.log")).unwrap_or_default();
    expect(said.contains("token"), &format!("the second helper failed for another reason: {said}"))?;
    let line = format!(
        "A helper, process of its own, enrolled as {node} with a one-time token that pins the issuer; \
         the token's second use was refused."
    );
    Ok(((process, helper_client(place).await?), line))
}

/// Settings of a helper below a directory.
fn helper_config(place: &Place, issuer: &IssuerPart, name: &str, dir: &Path) -> Result<std::path::PathBuf, Failure> {
    let paths = avouch_config::Paths::below(dir);
    let settings = [
        ("trust_domain", issuer.trust_domain.to_string()),
        ("issuer", issuer.address.to_string()),
        ("state_dir", paths.helper_state().display().to_string()),
        ("runtime_dir", paths.helper_runtime().display().to_string()),
        ("seal_key_file", paths.helper_seal_key().display().to_string()),
        ("join_token_file", place.file("join.token").display().to_string()),
    ];
    let file = place.file(&format!("{name}.toml"));
    crate::files::create_private(&file, toml(&settings).as_bytes())?;
    Ok(file)
}

async fn register(issuer: &mut IssuerPart, helper: &mut HelperClient<Channel>) -> Result<((), String), Failure> {
    let researcher = issuer.register("researcher", NODE).await?;
    let intruder = issuer.register("intruder", NODE).await?;
    issuer.caught_up(helper).await?;
    let line = format!(
        "{researcher} and {intruder} are registered, each with an owner and the node it may run on, and told apart \
         by their sessions: without containment a fence, not a wall, as one uid can trace its own processes."
    );
    Ok(((), line))
}

async fn identities(place: &Place, issuer: &IssuerPart) -> Result<(Actors, String), Failure> {
    let runtime_dir = place.paths().helper_runtime();
    let mut actors = Actors {
        researcher: Agent::start(place, &runtime_dir, "researcher")?,
        intruder: Agent::start(place, &runtime_dir, "intruder")?,
        witness: Witness::default(),
    };
    let reserved = issuer.trust_domain.issuer().to_string();
    let order = Order::Identity { audience: "https://elsewhere.test".to_owned(), reserved: vec![reserved.clone()] };
    let report = actors.researcher.order(&order).await?;
    let id = format!("spiffe://{}/agent/researcher", issuer.trust_domain);
    expect(report.note("x509") == id && report.note("jwt") == id, "the researcher is somebody else")?;
    expect(report.note("x509 key") == "true", "the X.509-SVID came without its key")?;
    expect(
        report.note("jwt claims missing").is_empty(),
        &format!("the JWT-SVID lacks {}", report.note("jwt claims missing")),
    )?;
    let refused = report.note(&format!("reserved {reserved}"));
    expect(refused == "PermissionDenied", &format!("the reserved audience was answered with {refused}"))?;
    let life = |name: &str| span(Duration::from_secs(report.note(name).parse().unwrap_or_default()));
    let line = format!(
        "The researcher fetched its X.509-SVID (good for {}) and a JWT-SVID (good for {}), chains, profiles and \
         signatures checked; the issuer's own audience was refused to it.",
        life("x509 seconds"),
        life("jwt seconds")
    );
    Ok((actors, line))
}

async fn bind(issuer: &mut IssuerPart, helper: &mut HelperClient<Channel>) -> Result<(Tool, String), Failure> {
    let tool = Tool::start(HOST).await?;
    let plain = BindingSpec {
        to: format!("http://{}", tool.plain),
        methods: vec!["GET".to_owned()],
        paths: vec![PATH.to_owned()],
        query: vec!["mode".to_owned()],
        slot: SlotSpec::Bearer,
        plain: Some(Plain::Loopback),
        address: None,
        ca: None,
    };
    let tls = BindingSpec {
        to: format!("https://{HOST}:{}", tool.tls.port()),
        slot: SlotSpec::Basic { username: "demo".to_owned() },
        plain: None,
        address: Some(tool.tls.to_string()),
        ca: Some(tool.ca_pem.clone()),
        ..plain.clone()
    };
    issuer.credential(helper, "tool-plain", &plain, &tool.plain_secret).await?;
    issuer.credential(helper, "tool-tls", &tls, &tool.tls_secret).await?;
    issuer.caught_up(helper).await?;
    let line = format!(
        "Two secrets are sealed on the node, bound to GET {PATH} of {} (bearer) and of {} (basic), and granted to \
         the researcher alone.",
        plain.to, tls.to
    );
    Ok((tool, line))
}

async fn calls(actors: &mut Actors, tool: &Tool) -> Result<((), String), Failure> {
    let Actors { researcher, intruder, witness } = actors;
    for url in [tool.http(""), tool.https(""), tool.http("?mode=echo"), tool.https("?mode=echo")] {
        let report = witness.hear(researcher.order(&get(&url)).await?);
        expect(report.status == 200, &format!("{url} was answered with {}: {}", report.status, report.body))?;
        let wanted = if url.ends_with("echo") { "that was all" } else { "the tool has done it" };
        expect(report.body.contains(wanted), &format!("{url} was answered with {}", report.body))?;
    }
    let seen = tool.log.seen();
    expect(
        seen.len() == 4 && seen.iter().all(|one| one.authorized),
        "the tool was not shown its credential each time",
    )?;
    for agent in [researcher, intruder] {
        witness.hear(agent.order(&Order::Own).await?);
    }
    witness.saw_none_of(&tool.secrets())?;
    let forms = gives_away(tool).await?;
    let line = format!(
        "The researcher's ordinary client called the tool by HTTP_PROXY and, intercepted, by HTTPS_PROXY, and the tool \
         was shown its credential each time. Asked directly the tool's echo gives the secret away in {forms} spellings; \
         in the {} bytes that the agents had or read there is none of them.",
        witness.size()
    );
    Ok(((), line))
}

/// Asks the tool past avouch, with the credential in hand: the spellings that come back show that the search of
/// the agent's bytes could have found something.
async fn gives_away(tool: &Tool) -> Result<usize, Failure> {
    let (url, secret) = (tool.plain, tool.plain_secret.expose().to_vec());
    let value = String::from_utf8_lossy(&secret).into_owned();
    let answer = tokio::task::spawn_blocking(move || client::ask_directly(url, &format!("{PATH}?mode=echo"), &value));
    let answer = answer.await.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    let answer = answer.map_err(|error| Failure::new(Exit::Failure, format!("the tool did not answer: {error}")))?;
    let body = String::from_utf8_lossy(&answer).into_owned();
    let found = canary::spellings(&secret).iter().filter(|(_, form)| body.contains(form.as_str())).count();
    expect(canary::find(body.as_bytes(), &secret).is_some() && found >= 10, "the tool's echo gives nothing away")?;
    Ok(found)
}

async fn refusals(actors: &mut Actors, tool: &Tool) -> Result<((), String), Failure> {
    let before = tool.log.seen().len();
    let Actors { researcher, intruder, witness } = actors;
    let report = witness.hear(intruder.order(&get(&tool.http(""))).await?);
    let refusal = refused(&report)?;
    let tls = witness.hear(intruder.order(&get(&tool.https(""))).await?);
    refused(&tls)?;
    let post = Order::Call { method: "POST".to_owned(), url: tool.http("") };
    let elsewhere = format!("http://elsewhere.demo.test:{}{PATH}", tool.plain.port());
    for order in [get(&tool.http("/other")), get(&elsewhere), post, get(&tool.http("?unlisted=1"))] {
        refused(&witness.hear(researcher.order(&order).await?))?;
    }
    let after = tool.log.seen().len();
    expect(after == before, &format!("the tool saw {} of the refused calls", after - before))?;
    witness.saw_none_of(&tool.secrets())?;
    let line = format!(
        "The intruder's same calls were refused (\"{} {}\", retry: {}), and so were the researcher's to another path, \
         host, method and query; the tool saw none of them.",
        refusal.message, refusal.action, refusal.retry
    );
    Ok(((), line))
}

/// A refusal as a model reads it.
#[derive(Debug, serde::Deserialize)]
struct Refusal {
    code: String,
    message: String,
    action: String,
    retry: String,
    decision: String,
}

#[derive(Debug, serde::Deserialize)]
struct Refused {
    error: Refusal,
}

fn refused(report: &Report) -> Result<Refusal, Failure> {
    let parsed: Result<Refused, _> = serde_json::from_str(&report.body);
    let Ok(Refused { error }) = parsed else {
        let sentence = format!("a call was not refused as it should be: {} {}", report.status, report.body);
        return Err(Failure::new(Exit::Failure, sentence));
    };
    let complete = [&error.code, &error.message, &error.action, &error.retry, &error.decision];
    expect(report.status >= 400 && complete.iter().all(|text| !text.is_empty()), "a refusal says too little")?;
    Ok(error)
}

async fn lock(issuer: &mut IssuerPart, actors: &mut Actors, tool: &Tool) -> Result<((), String), Failure> {
    let Actors { researcher, witness, .. } = actors;
    let stream = witness.hear(researcher.order(&Order::HoldStream { url: tool.http("?mode=stream") }).await?);
    let tunnel = witness.hear(researcher.order(&Order::HoldTunnel { url: tool.https("") }).await?);
    expect(stream.status == 200 && tunnel.status == 200, "the stream and the tunnel could not be opened")?;
    let before = tool.log.seen().len();
    let request =
        CreateLockRequest { agent: "researcher".to_owned(), reason: "the demo locks it".to_owned(), ttl_seconds: 0 };
    let reply = issuer.admin.create_lock(request).await.map_err(|status| replies::failure(&status))?;
    let mut progress = reply.into_inner();
    let first = progress.message().await.map_err(|status| replies::failure(&status))?;
    let acknowledged = SystemClock.boot();
    let committed = first.and_then(|message| message.kind);
    let Some(Kind::Committed(committed)) = committed else {
        return Err(Failure::new(Exit::Failure, "the lock was not acknowledged first"));
    };
    let report = witness.hear(researcher.order(&Order::UntilRefused { url: tool.http("") }).await?);
    refused(&report)?;
    let felt = Duration::from_micros(report.at_us).saturating_sub(acknowledged);
    let cut = witness.hear(researcher.order(&Order::AwaitCut).await?);
    expect(cut.notes.len() == 2, "the stream and the tunnel are still open")?;
    expect(felt <= FELT_WITHIN, &format!("the lock was felt after {} ms only", felt.as_millis()))?;
    let mut applied = Vec::new();
    while let Some(message) = progress.message().await.map_err(|status| replies::failure(&status))? {
        if let Some(Kind::Applied(one)) = message.kind {
            applied.push(one);
        }
    }
    expect(applied.len() == 1, "the node did not acknowledge the lock")?;
    let passed: usize = report.note("passed before").parse().unwrap_or(usize::MAX);
    expect(tool.log.seen().len() == before + passed, "the tool saw a call that was refused")?;
    let until = span(Millis(committed.svids_valid_until_ms).since(SystemClock.now()));
    let line = format!(
        "The operator locked the researcher: its next call was refused {:.1} ms after the lock's acknowledgement, its \
         open stream and tunnel were cut; verifiers that ask no one accept its SVIDs for {until} more.",
        felt.as_secs_f64() * 1_000.0
    );
    Ok(((), line))
}

async fn audit(
    place: &Place,
    issuer: &mut IssuerPart,
    helper: &mut HelperClient<Channel>,
    tool: &Tool,
) -> Result<((), String), Failure> {
    let parts = issuer.audit(helper).await?;
    let mut export = Vec::new();
    for part in &parts {
        write_part(part, &mut export).map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    }
    for secret in tool.secrets() {
        expect(canary::find(&export, secret.expose()).is_none(), "the audit log holds a secret")?;
    }
    crate::files::create_private(&place.file("audit.jsonl"), &export)?;
    let report = verify(read_parts(export.as_slice()), None, None)
        .map_err(|fault| Failure::new(Exit::Failure, format!("the log does not verify: {fault}")))?;
    expect(report.is_clean(), "the log holds alarms")?;
    let rows: Vec<Row> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Entry(bytes) => Entry::decode(bytes).ok(),
            Part::Key(_) | Part::Checkpoint(_) => None,
        })
        .map(|entry| row(&entry))
        .filter(|row| TOLD.contains(&row.event))
        .collect();
    for event in TOLD {
        expect(rows.iter().any(|row| row.event == event), &format!("the log has no {event}"))?;
    }
    let changed = changed(&parts, &export)?;
    let named = verify(read_parts(changed.bytes.as_slice()), None, None).err().and_then(|fault| fault.index());
    let named = named.ok_or_else(|| Failure::new(Exit::Failure, "a changed byte was not noticed"))?;
    expect(named == changed.index, &format!("entry {} was changed, and entry {named} was named", changed.index))?;
    let shown = table(&rows, SystemClock.now()).to_text();
    let line = format!(
        "The audit log, exported and verified offline, is whole: {} entries under {} signed heads. With one byte of \
         entry {} changed in a copy, verify names entry {named}. What it says of the above:\n\n{}",
        report.size,
        report.checkpoints,
        changed.index,
        indented(&shown)
    );
    Ok(((), line))
}

struct Changed {
    bytes: Vec<u8>,
    index: u64,
}

/// A copy of the export in which one byte of a record of the above is another.
fn changed(parts: &[Part], export: &[u8]) -> Result<Changed, Failure> {
    let none = || Failure::new(Exit::Failure, "the log holds no intent that could be changed");
    let intent = |part: &Part| match part {
        Part::Entry(bytes) => {
            let entry = Entry::decode(bytes).ok().filter(|entry| entry.body.code() == "broker.intent")?;
            Some((entry.index, bytes.clone()))
        }
        Part::Key(_) | Part::Checkpoint(_) => None,
    };
    let (index, bytes) = parts.iter().find_map(intent).ok_or_else(none)?;
    let start = export.windows(bytes.len()).position(|window| window == bytes).ok_or_else(none)?;
    let path = bytes.windows(PATH.len()).position(|window| window == PATH.as_bytes()).ok_or_else(none)?;
    let mut copy = export.to_vec();
    // The last letter of the path that was called.
    copy[start + path + PATH.len() - 1] ^= 1;
    Ok(Changed { bytes: copy, index })
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   {line}\n")).collect::<String>().trim_end().to_owned()
}

fn get(url: &str) -> Order {
    Order::Call { method: "GET".to_owned(), url: url.to_owned() }
}

fn expect(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(Exit::Failure, otherwise)) }
}

impl Tool {
    fn http(&self, rest: &str) -> String {
        format!("http://{}{PATH}{rest}", self.plain)
    }

    fn https(&self, rest: &str) -> String {
        format!("https://{HOST}:{}{PATH}{rest}", self.tls.port())
    }
}

const NODE: &str = "demo-node";
const HOST: &str = "tools.demo.test";
const PATH: &str = "/v1/report";
/// How soon a lock has to be felt (DESIGN §5).
const FELT_WITHIN: Duration = Duration::from_secs(2);
/// What the log has to say of the steps before.
const TOLD: [&str; 12] = [
    "authority.created",
    "token.used",
    "token.replayed",
    "agent.registered",
    "credential.put",
    "grant.created",
    "session.opened",
    "broker.intent",
    "broker.outcome",
    "broker.denied",
    "lock.created",
    "locks.applied",
];

/// Settings as TOML, one line each; the values are quoted as JSON, which TOML's basic strings read the same.
fn toml(settings: &[(&str, String)]) -> String {
    settings.iter().map(|(key, value)| format!("{key} = {}\n", serde_json::Value::from(value.as_str()))).collect()
}
