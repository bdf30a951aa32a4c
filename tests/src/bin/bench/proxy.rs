//! The proxy beside a direct connection and a bare hyper forwarder: throughput, added latency, CPU per request, and
//! how long a lock takes to be felt.

use crate::{peers, report};
use avouch_tests::Installation;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HOST: &str = "tools.bench.test";
pub const SPAN: &str = "3";
pub const SECRET: &[u8] = b"bench-secret-3f9c0a7d51";

/// The tool, as a process of its own so that its CPU time is not the forwarder's.
pub async fn serve_tool() -> io::Result<()> {
    let certificate = peers::certificate(HOST)?;
    let plain = peers::tool(None).await?;
    let secure = peers::tool(Some(certificate.acceptor)).await?;
    println!("{}", json!({ "plain": plain.port(), "secure": secure.port(), "ca": certificate.pem }));
    until_told().await
}

/// The forwarders, as a process of their own.
pub async fn serve_forwarders(plain: u16, secure: u16, ca: &str) -> io::Result<()> {
    let loopback = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let inner = peers::certificate(HOST)?;
    let pem = inner.pem.clone();
    let forward = peers::forwarder(loopback(plain), HOST.to_owned(), None, None).await?;
    let outer = peers::trusting(ca)?;
    let intercept = peers::forwarder(loopback(secure), HOST.to_owned(), Some(inner), Some(outer)).await?;
    println!("{}", json!({ "forward": forward.port(), "intercept": intercept.port(), "ca": pem }));
    until_told().await
}

async fn until_told() -> io::Result<()> {
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await.map_err(io::Error::other)?.map(drop)
}

pub async fn measure() -> io::Result<()> {
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

fn run() -> io::Result<()> {
    let mut made = Installation::start()?;
    let tool = Peer::start(&["tool"])?;
    let ca = made.path("upstream.pem");
    fs::write(&ca, tool.text("ca"))?;
    let (plain, secure) = (tool.port("plain"), tool.port("secure"));
    let forwarders = Peer::start(&["forwarders", &plain.to_string(), &secure.to_string(), &ca.to_string_lossy()])?;
    let forwarder_ca = made.path("forwarder.pem");
    fs::write(&forwarder_ca, forwarders.text("ca"))?;
    register(&made)?;
    let plain_origin = format!("http://127.0.0.1:{plain}");
    let secure_origin = format!("https://{HOST}:{secure}");
    made.put_secret(
        "plain",
        SECRET,
        &["--to", &plain_origin, "--plain", "loopback", "--method", "GET", "--path", "/**", "--as", "bearer"],
    )?;
    let secure_binding = [
        "--to",
        &secure_origin,
        "--method",
        "GET",
        "--path",
        "/**",
        "--as",
        "bearer",
        "--address",
        "127.0.0.1",
        "--ca",
        &ca.to_string_lossy(),
    ];
    made.put_secret("secure", SECRET, &secure_binding)?;
    for credential in ["plain", "secure"] {
        made.run(&["grant", "create", "--agent", "bench", "--credential", credential])?;
    }
    let helper = made.helper().map(|child| child.id()).unwrap_or_default();

    for connections in [1, 8] {
        for (kind, path, url, through, trust) in [
            ("plain", "small", &plain_origin, "forward", None),
            ("intercepted", "small", &secure_origin, "intercept", Some(&forwarder_ca)),
            ("intercepted 1 MiB", "large", &secure_origin, "intercept", Some(&forwarder_ca)),
        ] {
            if path == "large" && connections == 1 {
                continue;
            }
            let url = format!("{url}/{path}");
            let direct = direct_load(&url, connections, &ca)?;
            let bare = with_cpu(forwarders.child.id(), || {
                forwarded_load(&url, connections, forwarders.port(through), trust.map(|path| path.as_path()))
            })?;
            let ours = with_cpu(helper, || brokered_load(&made, &url, connections))?;
            report(
                &format!("proxy {kind}, {connections} connections, an intent for each request"),
                json!({ "direct": direct, "bare hyper forwarder": bare, "avouch": ours,
                    "share of the bare forwarder": number(&ours, "per_second") / number(&bare, "per_second"),
                    "added p50 us": number(&ours, "p50_us") - number(&direct, "p50_us"),
                    "added p99 us": number(&ours, "p99_us") - number(&direct, "p99_us") }),
            );
        }
    }
    report("fdatasync of this disk", json!({ "p50_us": fdatasync(&made.path("fdatasync"))? }));
    lock_to_refusal(&mut made, &plain_origin)?;
    Ok(())
}

/// Registers the bench's agent.
pub fn register(made: &Installation) -> io::Result<()> {
    let uid = format!("session:uid:{}", rustix::process::geteuid().as_raw());
    let who = ["agent", "create", "bench", "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &uid];
    made.run(&who).map(drop)
}

/// From the lock's acknowledgement to the first refusal, by an agent that calls without pause.
fn lock_to_refusal(made: &mut Installation, origin: &str) -> io::Result<()> {
    let mut runs = Vec::new();
    for _ in 0..5 {
        let url = format!("{origin}/small");
        let mut agent =
            bench_under_run(made, &["load", &url, "1", "20"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        std::thread::sleep(Duration::from_millis(700));
        let begun = Instant::now();
        let said = made.run(&["lock", "create", "--agent", "bench", "--reason", "bench", "-o", "json"])?;
        let verb = begun.elapsed();
        agent.wait()?;
        runs.push(
            json!({ "verb_ms": verb.as_millis(), "load_ended_after_verb_began_ms": begun.elapsed().as_millis() }),
        );
        let list: Value = serde_json::from_str(&made.run(&["lock", "list", "-o", "json"])?.stdout)?;
        let id = list[0]["id"].as_str().unwrap_or_default().to_owned();
        made.run(&["lock", "release", &id])?;
        drop(said);
    }
    report("lock, felt by a running agent (limit 2 s)", json!({ "runs": runs }));
    Ok(())
}

/// The tool or the forwarders, as a process; what it said first is where it listens.
pub struct Peer {
    child: Child,
    said: Value,
}

impl Peer {
    pub fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { child, said: serde_json::from_str(&line)? })
    }

    pub fn port(&self, name: &str) -> u64 {
        self.said[name].as_u64().unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        self.said[name].as_str().unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn direct_load(url: &str, connections: u32, ca: &Path) -> io::Result<Value> {
    // Without a name server for the bench's name, the load goes to loopback by itself.
    answer(bench(&["load", url, &connections.to_string(), SPAN]).env("SSL_CERT_FILE", ca))
}

fn forwarded_load(url: &str, connections: u32, port: u64, ca: Option<&Path>) -> io::Result<Value> {
    let mut command = bench(&["load", url, &connections.to_string(), SPAN]);
    let proxy = format!("http://127.0.0.1:{port}");
    command.env("HTTP_PROXY", &proxy).env("HTTPS_PROXY", &proxy);
    if let Some(ca) = ca {
        command.env("SSL_CERT_FILE", ca);
    }
    answer(&mut command)
}

fn brokered_load(made: &Installation, url: &str, connections: u32) -> io::Result<Value> {
    answer(&mut bench_under_run(made, &["load", url, &connections.to_string(), SPAN]))
}

pub fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.args(arguments).env_remove("HTTP_PROXY").env_remove("HTTPS_PROXY");
    command
}

/// The bench's own program as the agent `bench`.
pub fn bench_under_run(made: &Installation, arguments: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap_or_default();
    let mut command = made.command(&["run", "--agent", "bench", "--"]);
    command.arg(program).args(arguments).stdin(Stdio::null());
    command
}

pub fn answer(command: &mut Command) -> io::Result<Value> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Adds the CPU time that a process used, for each request.
fn with_cpu(pid: u32, work: impl FnOnce() -> io::Result<Value>) -> io::Result<Value> {
    let before = cpu_us(pid)?;
    let mut seen = work()?;
    let used = cpu_us(pid)? - before;
    seen["cpu_us_per_request"] = json!(used as f64 / number(&seen, "requests"));
    Ok(seen)
}

/// User and system time of a process in microseconds; the kernel counts in ticks of 10 ms.
pub fn cpu_us(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    Ok((ticks(11) + ticks(12)) * 10_000)
}

pub fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(f64::NAN)
}

/// The middle of 200 appends of 512 bytes with fdatasync, in microseconds.
fn fdatasync(path: &Path) -> io::Result<u128> {
    use std::io::Write;
    let mut file = fs::File::create(path)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[b'x'; 512])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_micros());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
