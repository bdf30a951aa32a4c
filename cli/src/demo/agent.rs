//! The demo's agents: a program that does what it is told on stdin, and reports on stdout everything it has and
//! everything it read, so that the demo can search it. It knows its environment, and nothing else.

use super::client::{Client, Open};
use super::order::{Order, Report};
use super::tries;
use crate::failure::{Exit, Failure};
use crate::workload;
use avouch_words::{Clock as _, SystemClock};
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::thread::JoinHandle;

/// Carries out orders until stdin ends.
pub fn run() -> Result<(), Failure> {
    let client = Client::from_environment(|name| std::env::var(name).ok());
    let client = client.map_err(|error| failed("set up an HTTP client", error))?;
    let mut held = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| failed("read an order", error))?;
        let order = serde_json::from_str(&line).map_err(|error| failed("read an order", error.into()))?;
        let report = match carry_out(order, &client, &mut held) {
            Ok(report) => report,
            Err(error) => Report { error: Some(error.to_string()), ..Report::default() },
        };
        let mut text = serde_json::to_vec(&report).map_err(|error| failed("report", error.into()))?;
        text.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&text).and_then(|()| out.flush()).map_err(|error| failed("report", error))?;
    }
    Ok(())
}

/// A connection that is read in the background until somebody cuts it.
type Held = JoinHandle<(Vec<u8>, String)>;

fn carry_out(order: Order, client: &Client, held: &mut Vec<Held>) -> io::Result<Report> {
    match order {
        Order::Own => own(),
        Order::Identity { audience, reserved } => identity(&audience, &reserved),
        Order::Call { method, url } => {
            let answer = client.call(&method, &url)?;
            let mut report = Report::read(vec![answer.raw, answer.body.clone()]);
            report.status = answer.status;
            report.body = String::from_utf8_lossy(&answer.body).into_owned();
            Ok(report)
        }
        Order::HoldStream { url } => {
            let mut open = client.open("GET", &url, false)?;
            while open.status() == 200 && !contains(open.raw(), b"tick 2") && open.read_more()? > 0 {}
            Ok(hold(open, held))
        }
        Order::HoldTunnel { url } => {
            let mut open = client.open("GET", &url, true)?;
            open.read_body()?;
            Ok(hold(open, held))
        }
        Order::UntilRefused { url } => until_refused(client, &url),
        Order::AwaitCut => {
            let mut report = Report::default();
            for one in held.drain(..) {
                let (raw, how) = one.join().map_err(|_| io::Error::other("a reader was lost"))?;
                report = report.and_read(raw);
                report.notes.insert(format!("cut {}", report.notes.len()), how);
            }
            report.at_us = boot_us();
            Ok(report)
        }
        Order::GoRound(target) => Ok(tries::all(&target)),
    }
}

/// Everything that a program can see of itself.
fn own() -> io::Result<Report> {
    let arguments: Vec<u8> = std::env::args_os().flat_map(|one| one.into_vec().into_iter().chain([0])).collect();
    let environment = std::env::vars_os().flat_map(|(name, value)| {
        [name.into_vec(), vec![b'='], value.into_vec(), vec![0]].into_iter().flatten().collect::<Vec<_>>()
    });
    let mut all = vec![arguments, environment.collect()];
    for file in ["environ", "cmdline", "status", "maps"] {
        all.push(std::fs::read(format!("/proc/self/{file}"))?);
    }
    for name in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
        if let Some(file) = std::env::var_os(name) {
            all.push(std::fs::read(file)?);
        }
    }
    Ok(Report::read(all))
}

fn identity(audience: &str, reserved: &[String]) -> io::Result<Report> {
    let address = std::env::var("SPIFFE_ENDPOINT_SOCKET").map_err(io::Error::other)?;
    let socket = PathBuf::from(address.trim_start_matches("unix://"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut api = workload::Client::connect(&socket).await.map_err(io::Error::other)?;
        let mut notes = BTreeMap::new();
        let x509 = api.x509().await.map_err(io::Error::other)?;
        let [only] = &x509[..] else {
            return Err(io::Error::other(format!("{} X.509-SVIDs came instead of one", x509.len())));
        };
        let now = SystemClock.now();
        let svid = only.check(now).map_err(io::Error::other)?;
        let left = svid.not_after().since(now).as_secs();
        notes.insert("x509".to_owned(), svid.id().to_string());
        notes.insert("x509 seconds".to_owned(), left.to_string());
        notes.insert("x509 key".to_owned(), only.has_key.to_string());
        let token = api.jwt(audience).await.map_err(io::Error::other)?;
        let jwt = api.check_jwt(&token, audience, now).await.map_err(io::Error::other)?;
        notes.insert("jwt".to_owned(), jwt.id().to_string());
        notes.insert("jwt seconds".to_owned(), jwt.expires().since(now).as_secs().to_string());
        let missing: Vec<_> = CLAIMS.into_iter().filter(|name| !jwt.claims().contains_key(*name)).collect();
        notes.insert("jwt claims missing".to_owned(), missing.join(" "));
        for one in reserved {
            let said = match api.jwt(one).await {
                Ok(_) => "given".to_owned(),
                Err(status) => format!("{:?}", status.code()),
            };
            notes.insert(format!("reserved {one}"), said);
        }
        Ok(Report { notes, ..Report::default() })
    })
}

fn hold(mut open: Open, held: &mut Vec<Held>) -> Report {
    let mut report = Report::read(vec![open.raw().to_vec()]);
    report.status = open.status();
    held.push(std::thread::spawn(move || {
        let how = loop {
            match open.read_more() {
                Ok(0) => break "ended".to_owned(),
                Ok(_) => {}
                Err(error) => break format!("{:?}", error.kind()),
            }
        };
        (open.raw().to_vec(), how)
    }));
    report
}

fn until_refused(client: &Client, url: &str) -> io::Result<Report> {
    let mut report = Report::default();
    for _ in 0..CALLS_MAX {
        // A call that the lock meets on its way is cut, which is no answer.
        let Ok(answer) = client.call("GET", url) else { continue };
        report.at_us = boot_us();
        report.status = answer.status;
        if answer.status != 200 {
            report.body = String::from_utf8_lossy(&answer.body).into_owned();
            return Ok(report.and_read(answer.raw));
        }
        report = report.and_read(answer.raw);
    }
    Err(io::Error::other(format!("{CALLS_MAX} calls were not refused")))
}

/// A clock that all processes of a machine share.
fn boot_us() -> u64 {
    u64::try_from(SystemClock.boot().as_micros()).unwrap_or(u64::MAX)
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

fn failed(what: &str, error: io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("the demo's agent could not {what}: {error}"))
}

/// What others look for in a JWT-SVID of ours.
const CLAIMS: [&str; 6] = ["sub", "aud", "exp", "iat", "iss", "jti"];
/// When an agent gives up waiting for a refusal.
const CALLS_MAX: usize = 2_000;
