//! What grows with numbers: looking up one of many registrations, a thousand agents on one helper, and what a helper
//! itself needs.

use crate::proxy::{cpu_us, number};
use crate::report;
use avouch_tests::{Installation, node, program};
use avouch_wire::admin::{CreateAgentRequest, admin_client::AdminClient};
use avouch_wire::tonic::{Request, transport::Channel};
use avouch_wire::{issuer, workload};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const LOOKS: usize = 300;
/// Registrations are made by so many at once, for so long at most; the figures say how many there were.
const LANES: usize = 16;
const FILLING: Duration = Duration::from_secs(180);

/// Agents of one uid, within what one process may have, and uids: a good thousand agents.
const OF_UID: usize = 63;
const UIDS: u32 = 16;
const FIRST_UID: u32 = 20_000;
const RENEWING: u64 = 60;

/// Measures all.
pub async fn measure() -> io::Result<()> {
    helper_alone().await?;
    lookup().await?;
    renewing().await
}

/// One order signed, one registration of so many.
async fn lookup() -> io::Result<()> {
    let mut made = Installation::prepare()?;
    made.start_server(&[])?;
    let joined = node::join(&made, "n2").await?;
    let admin = admin(&made).await?;
    let csr = node::request()?.1;
    let mut figures = serde_json::Map::new();
    let mut registered = 0;
    for (turn, size) in SIZES.into_iter().enumerate() {
        let begun = Instant::now();
        registered = fill(&admin, registered, size, begun).await?;
        let mut node = issuer::node_client::NodeClient::new(joined.channel.clone());
        let mut times = Vec::new();
        for look in 0..LOOKS {
            // Another agent each time, so that none is at hand from the look before.
            let agent = format!("agent-{}", look * (registered / LOOKS));
            let instance = instance(turn * 1_000 + look);
            let order = issuer::X509Order { agent, instance, csr: csr.clone() };
            let sent = Instant::now();
            let reply = node.sign_x509(issuer::SignX509Request { orders: vec![order] }).await;
            let answers = reply.map_err(io::Error::other)?.into_inner().answers;
            times.push(sent.elapsed().as_micros());
            let kind = answers.into_iter().next().and_then(|answer| answer.kind);
            if !matches!(kind, Some(issuer::x509_answer::Kind::Issued(_))) {
                return Err(io::Error::other(format!("{kind:?}")));
            }
        }
        times.sort_unstable();
        figures.insert(
            format!("{registered} registered"),
            json!({ "p50_us": times[LOOKS / 2], "p99_us": times[LOOKS * 99 / 100], "filled_in_s": begun.elapsed().as_secs() }),
        );
    }
    report("an X.509-SVID of one agent among many, one RPC after another (aim: flat)", Value::Object(figures));
    Ok(())
}

async fn fill(admin: &AdminClient<Channel>, from: usize, to: usize, begun: Instant) -> io::Result<usize> {
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let mut admin = admin.clone();
        lanes.push(tokio::spawn(async move {
            let mut next = from + lane;
            while next < to && begun.elapsed() < FILLING {
                let request = agent(&format!("agent-{next}"), "node:name:n2", "unix:uid:7", 0);
                admin.create_agent(request).await.map_err(io::Error::other)?;
                next += LANES;
            }
            Ok::<usize, io::Error>(next)
        }));
    }
    let mut reached = to;
    for lane in lanes {
        reached = reached.min(lane.await.map_err(io::Error::other)??);
    }
    Ok(reached)
}

fn instance(n: usize) -> String {
    // 20 characters of one ULID, and six digits.
    format!("01K9ZQ3M6X5T8W4V2R7N{n:06}")
}

/// A thousand agents on one helper, each with an SVID of 30 s, watched by processes of 16 users for a minute.
async fn renewing() -> io::Result<()> {
    if !avouch_tests::needs_root() {
        return Ok(());
    }
    let mut made = Installation::prepare()?;
    made.start_both()?;
    let admin = admin(&made).await?;
    for k in 0..UIDS {
        for n in 0..OF_UID {
            let selector = format!("unix:uid:{}", FIRST_UID + k);
            let request = agent(&format!("agent-{k}-{n}"), "node:name:n1", &selector, 30);
            admin.clone().create_agent(request).await.map_err(io::Error::other)?;
        }
    }
    fs::set_permissions(made.path(""), fs::Permissions::from_mode(0o711))?;
    fs::set_permissions(made.path("run"), fs::Permissions::from_mode(0o755))?;
    // Where its own uid can read it.
    let copy = made.path("bench");
    fs::copy(std::env::current_exe()?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let pids = [made.server().map(|child| child.id()), made.helper().map(|child| child.id())];
    let [issuer, helper] = pids.map(Option::unwrap_or_default);
    let (issuer_before, helper_before, begun) = (cpu_us(issuer)?, cpu_us(helper)?, Instant::now());
    let mut watchers = Vec::new();
    for k in 0..UIDS {
        let uid = (FIRST_UID + k).to_string();
        let mut watcher = Command::new("setpriv");
        watcher.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]).arg(&copy);
        watcher.args(["watch", &RENEWING.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let socket = format!("unix://{}", made.path("run/workload.sock").display());
        watchers.push(watcher.env("SPIFFE_ENDPOINT_SOCKET", socket).spawn()?);
    }
    let (mut agents, mut svids, mut lapsed, mut first) = (0.0, 0.0, 0.0, 0.0_f64);
    for watcher in watchers {
        let output = tokio::task::spawn_blocking(|| watcher.wait_with_output()).await.map_err(io::Error::other)??;
        let seen: Value = serde_json::from_slice(&output.stdout)?;
        agents += number(&seen, "agents");
        svids += number(&seen, "svids");
        lapsed += number(&seen, "lapsed");
        first = first.max(number(&seen, "all_after_ms"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    report(
        "a thousand agents on one helper, SVIDs of 30 s (aim: none lapsed)",
        json!({
            "agents": agents, "all_had_one_after_ms": first, "svids": svids, "svids_per_second": svids / seconds,
            "moments without a valid one": lapsed,
            "helper_cpu_share_of_one_core": (cpu_us(helper)? - helper_before) as f64 / 1e6 / seconds,
            "issuer_cpu_share_of_one_core": (cpu_us(issuer)? - issuer_before) as f64 / 1e6 / seconds,
            "helper_cpu_us_per_svid": (cpu_us(helper)? - helper_before) as f64 / svids,
            "helper_anonymous_memory": anonymous(helper)?,
        }),
    );
    Ok(())
}

/// Watches the SVIDs of this process for so long, and prints what it saw.
pub async fn watch(seconds: u64) -> io::Result<()> {
    let endpoint = std::env::var("SPIFFE_ENDPOINT_SOCKET").map_err(io::Error::other)?;
    let path = PathBuf::from(endpoint.trim_start_matches("unix://"));
    let begun = Instant::now();
    let channel = avouch_wire::unix::dial(&path).await.map_err(io::Error::other)?;
    let mut client = SpiffeWorkloadApiClient::new(channel);
    let mut request = Request::new(workload::X509svidRequest {});
    let yes = avouch_wire::tonic::metadata::MetadataValue::from_static("true");
    request.metadata_mut().insert("workload.spiffe.io", yes);
    let mut stream = client.fetch_x509svid(request).await.map_err(io::Error::other)?.into_inner();
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    let mut serials: BTreeSet<Vec<u8>> = BTreeSet::new();
    let (mut all_after, mut lapsed) = (0, 0);
    let mut looks = tokio::time::interval(Duration::from_millis(500));
    while begun.elapsed() < Duration::from_secs(seconds) {
        tokio::select! {
            message = stream.message() => {
                let message = message.map_err(io::Error::other)?.ok_or_else(|| io::Error::other("the stream ended"))?;
                for svid in message.svids {
                    let (serial, end) = read(&svid.x509_svid)?;
                    serials.insert(serial);
                    ends.insert(svid.spiffe_id, end);
                }
                if ends.len() == OF_UID && all_after == 0 {
                    all_after = begun.elapsed().as_millis();
                }
            }
            _ = looks.tick() => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
                let now = i64::try_from(now.as_secs()).map_err(io::Error::other)?;
                lapsed += ends.values().filter(|end| **end < now).count();
            }
        }
    }
    println!(
        "{}",
        json!({ "agents": ends.len(), "svids": serials.len(), "lapsed": lapsed, "all_after_ms": all_after })
    );
    Ok(())
}

/// Serial number and end of the first certificate.
fn read(chain: &[u8]) -> io::Result<(Vec<u8>, i64)> {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (_, leaf) = X509Certificate::from_der(chain).map_err(io::Error::other)?;
    Ok((leaf.raw_serial().to_vec(), leaf.validity().not_after.timestamp()))
}

/// `avouch-helper` that has joined: until it says that it serves, and its memory at rest.
async fn helper_alone() -> io::Result<()> {
    let mut made = Installation::prepare()?;
    made.start_both()?;
    let mut figures = Vec::new();
    let alone = program().with_file_name("avouch-helper");
    for _ in 0..5 {
        if let Some(helper) = made.helper() {
            rustix::process::kill_process(rustix::process::Pid::from_child(helper), rustix::process::Signal::TERM)?;
            helper.wait()?;
        }
        made.kill_helper().ok();
        let socket = made.path("notify");
        fs::remove_file(&socket).ok();
        let told = UnixDatagram::bind(&socket)?;
        told.set_read_timeout(Some(Duration::from_secs(20)))?;
        let begun = Instant::now();
        let mut helper = Command::new(&alone)
            .arg("--config")
            .arg(made.path("helper.toml"))
            .env("NOTIFY_SOCKET", &socket)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let (mut message, mut serves, mut injects) = ([0; 256], None, None);
        while injects.is_none() {
            let length = told.recv(&mut message)?;
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            serves = serves.or(text.contains("READY=1").then(|| begun.elapsed()));
            injects = text.contains("STATUS=ready").then(|| begun.elapsed());
        }
        std::thread::sleep(Duration::from_secs(2));
        let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        figures.push(json!({ "serves_ms": ms(serves), "injects_ms": ms(injects), "memory": anonymous(helper.id())? }));
        helper.kill()?;
        helper.wait()?;
    }
    report("avouch-helper that has joined (aim: ready 100 ms after start, 12 MiB anonymous)", json!(figures));
    Ok(())
}

fn anonymous(pid: u32) -> io::Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default().trim().to_owned())
}

async fn admin(made: &Installation) -> io::Result<AdminClient<Channel>> {
    avouch_wire::unix::dial(&made.path("run/admin.sock")).await.map(AdminClient::new).map_err(io::Error::other)
}

fn agent(name: &str, node: &str, selector: &str, x509_ttl_seconds: u32) -> CreateAgentRequest {
    CreateAgentRequest {
        name: name.to_owned(),
        owner: "me@example.test".to_owned(),
        nodes: vec![node.to_owned()],
        selectors: vec![selector.to_owned()],
        x509_ttl_seconds,
        ..CreateAgentRequest::default()
    }
}
