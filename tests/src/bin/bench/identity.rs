//! Issuing: SVIDs per second beside ring's own bound, the first answer of the Workload API, how soon a start and a
//! registration are felt, and memory at rest.

use crate::proxy::bench_under_run;
use crate::report;
use avouch_tests::{Installation, node};
use avouch_wire::tonic::{Request, transport::Channel};
use avouch_wire::{issuer, workload};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;

const BATCH: usize = 64;
const LANES: usize = 4;
const INSTANCE: &str = "01K9ZQ3M6X5T8W4V2R7N1C0BDE";
const SPAN: Duration = Duration::from_secs(3);

pub async fn measure() -> io::Result<()> {
    let mut made = Installation::prepare()?;
    let begun = Instant::now();
    made.start_both()?;
    let up = begun.elapsed();
    let uid = rustix::process::geteuid().as_raw();
    let selector = format!("unix:uid:{uid}");
    let register =
        ["agent", "create", "bench", "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &selector];
    made.run(&register)?;
    made.run(&["svid", "show", "--socket", &made.path("run/workload.sock").to_string_lossy()])?;
    report(
        "issuer and helper from nothing to the first SVID (aim: issuer start to first SVID 500 ms)",
        json!({ "both_up_enrolled_ms": up.as_millis(), "first_svid_shown_ms": begun.elapsed().as_millis() }),
    );
    memory(&mut made)?;
    let seen = bench_under_run(&made, &["fetch", "300"]).output()?;
    if !seen.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&seen.stderr).into_owned()));
    }
    report(
        "cached FetchX509SVID, first answer (aim: p50 300 us; a new peer 1 ms more)",
        serde_json::from_slice(&seen.stdout)?,
    );
    registration(&made, &selector).await?;
    signing(&made).await
}

fn memory(made: &mut Installation) -> io::Result<()> {
    std::thread::sleep(Duration::from_secs(3));
    let of = |pid: Option<u32>| -> io::Result<Value> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.unwrap_or_default()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        Ok(json!(kib.trim()))
    };
    let (server, helper) = (made.server().map(|child| child.id()), made.helper().map(|child| child.id()));
    report(
        "anonymous memory at rest (aim: issuer 32 MiB, helper 12 MiB)",
        json!({ "issuer": of(server)?, "helper": of(helper)? }),
    );
    Ok(())
}

/// Times the first answer of `count` streams: on one connection, and each on a connection of its own.
pub async fn fetch(count: usize) -> io::Result<()> {
    let endpoint = std::env::var("SPIFFE_ENDPOINT_SOCKET").map_err(io::Error::other)?;
    let path = PathBuf::from(endpoint.trim_start_matches("unix://"));
    let mut kept = SpiffeWorkloadApiClient::new(avouch_wire::unix::dial(&path).await.map_err(io::Error::other)?);
    first_answer(&mut kept).await?;
    let mut same = Vec::new();
    let mut fresh = Vec::new();
    for _ in 0..count {
        same.push(first_answer(&mut kept).await?);
        let begun = Instant::now();
        let mut new = SpiffeWorkloadApiClient::new(avouch_wire::unix::dial(&path).await.map_err(io::Error::other)?);
        first_answer(&mut new).await?;
        fresh.push(begun.elapsed().as_micros());
    }
    let middle = |mut times: Vec<u128>| {
        times.sort_unstable();
        json!({ "p50_us": times[times.len() / 2], "p99_us": times[times.len() * 99 / 100] })
    };
    println!("{}", json!({ "attested connection": middle(same), "new connection": middle(fresh) }));
    Ok(())
}

async fn first_answer(client: &mut SpiffeWorkloadApiClient<Channel>) -> io::Result<u128> {
    let begun = Instant::now();
    let mut stream =
        client.fetch_x509svid(with_header(workload::X509svidRequest {})).await.map_err(io::Error::other)?.into_inner();
    let first = stream.message().await.map_err(io::Error::other)?;
    first.filter(|answer| !answer.svids.is_empty()).ok_or_else(|| io::Error::other("no SVID"))?;
    Ok(begun.elapsed().as_micros())
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("workload.spiffe.io", avouch_wire::tonic::metadata::MetadataValue::from_static("true"));
    request
}

/// From a registration's acknowledgement to the message on a stream that was open before.
async fn registration(made: &Installation, selector: &str) -> io::Result<()> {
    let mut runs = Vec::new();
    let channel = avouch_wire::unix::dial(&made.path("run/workload.sock")).await.map_err(io::Error::other)?;
    let mut client = SpiffeWorkloadApiClient::new(channel);
    let mut stream =
        client.fetch_x509svid(with_header(workload::X509svidRequest {})).await.map_err(io::Error::other)?.into_inner();
    let mut had = stream.message().await.map_err(io::Error::other)?.map_or(0, |first| first.svids.len());
    for n in 0..5 {
        let name = format!("late-{n}");
        made.run(&[
            "agent",
            "create",
            &name,
            "--owner",
            "me@example.test",
            "--node",
            "node:name:n1",
            "--selector",
            selector,
        ])?;
        let begun = Instant::now();
        while had <= n + 1 {
            had = stream.message().await.map_err(io::Error::other)?.map_or(0, |next| next.svids.len());
        }
        runs.push(json!(begun.elapsed().as_micros()));
    }
    report("registration acknowledged to open stream (aim: 100 ms)", json!({ "us": runs }));
    Ok(())
}

/// SignX509 in batches over one node's connection, beside one P-256 verify and one sign on the same cores.
async fn signing(made: &Installation) -> io::Result<()> {
    let channel = node::join(made, "n2").await?.channel;
    let csr = node::request()?.1;
    made.run(&[
        "agent",
        "create",
        "signed",
        "--owner",
        "me@example.test",
        "--node",
        "node:name:n2",
        "--selector",
        "unix:uid:1",
    ])?;
    let asked = [(channel.clone(), "signed".to_owned(), INSTANCE.to_owned())];
    let x509 = x509_rate(&asked, &csr).await?;
    let begun = Instant::now();
    let mut node = issuer::node_client::NodeClient::new(channel);
    let mut tokens = 0;
    while begun.elapsed() < SPAN {
        let request = issuer::SignJwtRequest {
            agent: "signed".to_owned(),
            instance: INSTANCE.to_owned(),
            audience: vec!["bench".to_owned()],
        };
        node.sign_jwt(request).await.map_err(io::Error::other)?;
        tokens += 1;
    }
    let jwt = f64::from(tokens) / begun.elapsed().as_secs_f64();
    let (bound, sign) = tokio::task::spawn_blocking(ring_bound).await.map_err(io::Error::other)??;
    report(
        "X.509-SVIDs signed per second through the RPC, batches of 64 (aim: 80 % of ring's verify + sign)",
        json!({ "per_second": x509, "ring_bound_per_second": bound, "share": x509 / bound }),
    );
    report(
        "JWT-SVIDs signed per second, one RPC after another (aim: 70 % of ring's sign rate)",
        json!({ "per_second": jwt, "ring_sign_per_second": sign, "share": jwt / sign }),
    );
    Ok(())
}

/// How many X.509-SVIDs a second four lanes are given, over these nodes' connections in turn, for an agent and an instance of
/// each.
pub async fn x509_rate(asked: &[(Channel, String, String)], csr: &[u8]) -> io::Result<f64> {
    let mut lanes = Vec::new();
    let begun = Instant::now();
    for (channel, agent, instance) in asked.iter().cycle().take(LANES) {
        let mut node = issuer::node_client::NodeClient::new(channel.clone());
        let order = issuer::X509Order { agent: agent.clone(), instance: instance.clone(), csr: csr.to_vec() };
        lanes.push(tokio::spawn(async move {
            let mut signed = 0;
            while begun.elapsed() < SPAN {
                let request = issuer::SignX509Request { orders: vec![order.clone(); BATCH] };
                let reply = node.sign_x509(request).await.map_err(io::Error::other)?.into_inner();
                for answer in reply.answers {
                    match answer.kind {
                        Some(issuer::x509_answer::Kind::Issued(_)) => signed += 1,
                        other => return Err(io::Error::other(format!("{other:?}"))),
                    }
                }
            }
            Ok::<usize, io::Error>(signed)
        }));
    }
    let mut signed = 0;
    for lane in lanes {
        signed += lane.await.map_err(io::Error::other)??;
    }
    Ok(signed as f64 / begun.elapsed().as_secs_f64())
}

/// One verify and one sign on every core, and signs alone, per second.
fn ring_bound() -> io::Result<(f64, f64)> {
    let cores = std::thread::available_parallelism()?.get();
    let rate = |verify: bool| -> io::Result<f64> {
        let rng = ring::rand::SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng)
            .map_err(|_| io::Error::other("no key"))?;
        let counts: Vec<u64> = std::thread::scope(|scope| {
            let work = || {
                let rng = ring::rand::SystemRandom::new();
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &rng).ok()?;
                let message = [7; 400];
                let signature = key.sign(&rng, &message).ok()?;
                let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref().to_vec());
                let begun = Instant::now();
                let mut count = 0;
                while begun.elapsed() < SPAN {
                    if verify {
                        public.verify(&message, signature.as_ref()).ok()?;
                    }
                    key.sign(&rng, &message).ok()?;
                    count += 1;
                }
                Some(count)
            };
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
        });
        Ok(counts.iter().sum::<u64>() as f64 / SPAN.as_secs_f64())
    };
    Ok((rate(true)?, rate(false)? / cores as f64))
}
