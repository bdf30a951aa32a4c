//! What containment costs: until the program runs, beside plain exec, a session without walls and bare namespaces; and
//! on the request path, where it should cost nothing.

use crate::proxy::{Peer, SECRET, SPAN, answer, number, register};
use crate::report;
use avouch_tests::Installation;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often each is started; some more come first and are not counted.
const STARTS: usize = 60;
const WARM: usize = 5;
/// What the design gives for a contained session over plain exec.
const AIM_MS: u32 = 30;

/// Measures both.
pub async fn measure() -> io::Result<()> {
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

fn run() -> io::Result<()> {
    let made = Installation::start()?;
    register(&made)?;
    let work = made.path("work");
    fs::create_dir(&work)?;
    start_up(&made, &work)?;
    request_path(&made, &work)
}

fn start_up(made: &Installation, work: &Path) -> io::Result<()> {
    let echo = ["/bin/echo", "x"];
    let under_run = |words: &[&str]| {
        let mut command = made.command(&["run", "--agent", "bench"]);
        command.args(words).arg("--").args(echo).current_dir(work);
        command
    };
    let plain = p50(|| plain(&echo))?;
    let bare = p50(|| {
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--net",
            "--fork",
            "--mount-proc",
        ]);
        command.args(echo);
        command
    })?;
    let loose = p50(|| under_run(&["--no-contain"]))?;
    let mut figures = json!({
        "plain exec p50 ms": ms(plain),
        "unshare with the same namespaces, over plain exec, p50 ms": ms(bare.saturating_sub(plain)),
        "avouch run, not contained, over plain exec, p50 ms": ms(loose.saturating_sub(plain)),
        "aim over plain exec, p50 ms": AIM_MS,
    });
    for profile in ["open", "work", "strict"] {
        let contained = p50(|| under_run(&[&format!("--contain={profile}")]))?;
        figures[format!("avouch run, {profile}, over plain exec, p50 ms")] = json!(ms(contained.saturating_sub(plain)));
    }
    report("start of a session's program, to its first byte", figures);
    Ok(())
}

fn plain(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// The middle of the times to the first byte that the program writes.
fn p50(make: impl Fn() -> Command) -> io::Result<Duration> {
    let mut times = Vec::new();
    for count in 0..STARTS + WARM {
        let mut command = make();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let mut byte = [0];
        let read = child.stdout.as_mut().ok_or_else(|| io::Error::other("no output"))?.read(&mut byte)?;
        let took = begun.elapsed();
        let ended = child.wait_with_output()?;
        if read == 0 || !ended.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&ended.stderr).into_owned()));
        }
        if count >= WARM {
            times.push(took);
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn request_path(made: &Installation, work: &Path) -> io::Result<()> {
    let tool = Peer::start(&["tool"])?;
    let origin = format!("http://127.0.0.1:{}", tool.port("plain"));
    let binding = ["--to", &origin, "--plain", "loopback", "--method", "GET", "--path", "/**", "--as", "bearer"];
    made.put_secret("plain", SECRET, &binding)?;
    made.run(&["grant", "create", "--agent", "bench", "--credential", "plain"])?;
    // Where every profile sees it.
    let program = work.join("avouch-bench");
    fs::copy(std::env::current_exe()?, &program)?;
    let url = format!("{origin}/small");
    for connections in ["1", "8"] {
        let load = |contain: &str| -> io::Result<Value> {
            let mut command = made.command(&["run", "--agent", "bench", contain, "--"]);
            command.arg(&program).args(["load", &url, connections, SPAN]).current_dir(work);
            answer(&mut command)
        };
        // Twice each, in turn, so that what else the machine does falls on both.
        let (loose, contained) = (load("--no-contain")?, load("--contain=work")?);
        let (loose_again, contained_again) = (load("--no-contain")?, load("--contain=work")?);
        let p50 = |one: &Value, other: &Value| f64::midpoint(number(one, "p50_us"), number(other, "p50_us"));
        let (without, with) = (p50(&loose, &loose_again), p50(&contained, &contained_again));
        report(
            &format!("request path, plain, {connections} connections, contained beside not contained"),
            json!({ "not contained p50 us": without, "contained p50 us": with, "contained / not contained": with / without,
                "not contained": [loose, loose_again], "contained": [contained, contained_again] }),
        );
    }
    Ok(())
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 100_000.0).round() / 100.0
}
