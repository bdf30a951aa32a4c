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
const SPAN: &str = "3";
const SECRET: &[u8] = b"bench-secret-3f9c0a7d51";

/// Tool and forwarders, as a process of their own so that their CPU time can be told apart.
pub async fn serve_peers() -> io::Result<()> {
    let outer = peers::certificate(HOST)?;
    let inner = peers::certificate(HOST)?;
    let plain = peers::tool(None).await?;
    let secure = peers::tool(Some(outer.acceptor.clone())).await?;
    println!("{}", json!({ "plain": plain.port(), "secure": secure.port(), "ca": outer.pem }));
    let forward = peers::forwarder(plain, HOST.to_owned(), None, None).await?;
    let inner_pem = inner.pem.clone();
    let intercept = peers::forwarder(secure, HOST.to_owned(), Some(inner), Some(outer.connector)).await?;
    println!("{}", json!({ "forward": forward.port(), "intercept": intercept.port(), "ca": inner_pem }));
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await.map_err(io::Error::other)?.map(drop)
}

pub async fn measure() -> io::Result<()> {
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

fn run() -> io::Result<()> {
    let peers = Peers::start()?;
    let mut made = Installation::start()?;
    let ca = made.path("upstream.pem");
    fs::write(&ca, peers.text("upstream", "ca"))?;
    let forwarder_ca = made.path("forwarder.pem");
    fs::write(&forwarder_ca, peers.text("forwarder", "ca"))?;
    let uid = rustix::process::geteuid().as_raw();
    made.run(&[
        "agent",
        "create",
        "bench",
        "--owner",
        "me@example.test",
        "--node",
        "node:name:n1",
        "--selector",
        &format!("unix:uid:{uid}"),
    ])?;
    let (plain, secure) = (peers.port("upstream", "plain"), peers.port("upstream", "secure"));
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
            let bare = peers.measure(|| {
                forwarded_load(&url, connections, peers.port("forwarder", through), trust.map(|path| path.as_path()))
            })?;
            let ours = with_cpu(helper, || brokered_load(&made, &url, connections))?;
            report(
                &format!("proxy {kind}, {connections} connections, an intent for each request"),
                json!({ "direct": direct, "bare hyper forwarder (with its tool in one process)": bare, "avouch": ours,
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

struct Peers {
    child: Child,
    said: [Value; 2],
}

impl Peers {
    fn start() -> io::Result<Self> {
        let mut child =
            Command::new(std::env::current_exe()?).arg("peers").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let mut line = || -> io::Result<Value> {
            let line = lines.next().ok_or_else(|| io::Error::other("the peers ended"))??;
            Ok(serde_json::from_str(&line)?)
        };
        let said = [line()?, line()?];
        Ok(Self { child, said })
    }

    fn of(&self, part: &str) -> &Value {
        &self.said[usize::from(part == "forwarder")]
    }

    fn port(&self, part: &str, name: &str) -> u64 {
        self.of(part)[name].as_u64().unwrap_or_default()
    }

    fn text(&self, part: &str, name: &str) -> String {
        self.of(part)[name].as_str().unwrap_or_default().to_owned()
    }

    fn measure(&self, work: impl FnOnce() -> io::Result<Value>) -> io::Result<Value> {
        with_cpu(self.child.id(), work)
    }
}

impl Drop for Peers {
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

fn bench(arguments: &[&str]) -> Command {
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

fn answer(command: &mut Command) -> io::Result<Value> {
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
fn cpu_us(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    Ok((ticks(11) + ticks(12)) * 10_000)
}

fn number(value: &Value, name: &str) -> f64 {
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
