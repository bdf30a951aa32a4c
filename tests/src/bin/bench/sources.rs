//! What a lease costs, source by source: the first call with a credential, for which its value is fetched, and the next one,
//! beside the same call without avouch and the source asked directly.

use crate::load::HEADER;
use crate::proxy::{Peer, SECRET, answer, bench, bench_under_run, register};
use crate::report;
use avouch_tests::Installation;
use avouch_tests::servers::Bao;
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Credentials of each source; each is fetched once.
const CREDENTIALS: usize = 50;

/// Measures all.
pub async fn measure() -> io::Result<()> {
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

fn run() -> io::Result<()> {
    let made = Installation::prepare()?;
    let value = made.write_private("value", SECRET)?;
    let value = value.display().to_string();
    let cat = ["/bin/cat", &value];
    let settings = format!(
        "[[source]]\nname = \"file\"\nkind = \"file\"\npath = \"{value}\"\n\
         [[source]]\nname = \"exec\"\nkind = \"exec\"\ncommand = [{:?}, {:?}]\n",
        cat[0], cat[1]
    );
    let bao = Bao::start_tls().ok();
    let kept = match bao.as_ref().and_then(|bao| Some((bao, bao.ca()?))) {
        Some((bao, ca)) => keep(&made, bao, &ca)?,
        None => String::new(),
    };
    let settings = settings + &kept;
    let file = made.path("helper.toml");
    std::fs::write(&file, std::fs::read_to_string(&file)? + &settings)?;
    let mut made = made;
    made.start_both()?;
    register(&made)?;
    let tool = Peer::start(&["tool"])?;
    let origin = format!("http://127.0.0.1:{}", tool.port("plain"));
    for source in ["sealed", "file", "exec", "openbao"] {
        if source == "openbao" && bao.is_none() {
            println!("not run: the source openbao: AVOUCH_BAO names no server, as it does under tests/run");
            continue;
        }
        for n in 0..CREDENTIALS {
            let (name, path) = (format!("{source}-{n}"), format!("/{source}/{n}"));
            let binding =
                ["--to", &origin, "--plain", "loopback", "--method", "GET", "--path", &path, "--as", "bearer"];
            match source {
                "sealed" => made.put_secret(&name, SECRET, &binding)?,
                _ => {
                    let place = format!("kv2:secret/bench/{n}#value");
                    let place: &[&str] = if source == "openbao" { &["--ref", &place] } else { &[] };
                    let create = [&["credential", "create", &name, "--source", source][..], place].concat();
                    made.run(&[&create[..], &binding].concat()).map(drop)?;
                }
            }
            made.run(&["grant", "create", "--agent", "bench", "--credential", &name])?;
        }
        let count = CREDENTIALS.to_string();
        let below = format!("{origin}/{source}");
        let direct = answer(&mut bench(&["each", &below, &count]))?;
        let ours = answer(&mut bench_under_run(&made, &["each", &below, &count]))?;
        let raw = match (source, &bao) {
            ("openbao", Some(bao)) => {
                let mut command = bench(&["each", &format!("{}/v1/secret/data/bench", bao.address()), &count]);
                command.env("SSL_CERT_FILE", bao.ca().unwrap_or_default());
                let seen = answer(command.env(HEADER, format!("X-Vault-Token: {}", bao.root())))?;
                json!(middle(&seen[1]))
            }
            ("sealed", _) => Value::Null,
            ("file", _) => json!(p50((0..CREDENTIALS)
                .map(|_| timed(|| std::fs::read(&value).map(drop)))
                .collect::<io::Result<_>>()?)),
            _ => {
                let command = || Command::new(cat[0]).arg(cat[1]).stdout(Stdio::null()).status().map(drop);
                json!(p50((0..CREDENTIALS).map(|_| timed(command)).collect::<io::Result<_>>()?))
            }
        };
        report(
            &format!("a call with a credential of the source {source}, fetched and then at hand"),
            json!({
                "cold_p50_us": middle(&ours[0]), "warm_p50_us": middle(&ours[1]),
                "direct_p50_us": middle(&direct[1]), "source_asked_directly_p50_us": raw,
            }),
        );
    }
    Ok(())
}

/// Puts the secret into OpenBao as often as there are credentials; the helper's settings for it.
fn keep(made: &Installation, bao: &Bao, ca: &Path) -> io::Result<String> {
    let value = String::from_utf8_lossy(SECRET);
    let all = format!("for n in $(seq 0 {CREDENTIALS}); do bao kv put secret/bench/$n value={value}; done >/dev/null");
    bao.shell(&all, &[])?;
    let token = made.write_private("bao-token", bao.root().as_bytes())?;
    Ok(format!(
        "[[source]]\nname = \"openbao\"\nkind = \"openbao\"\naddress = \"{}\"\nca_file = \"{}\"\n\
         login = {{ method = \"token_file\", token_file = \"{}\" }}\n",
        bao.address(),
        ca.display(),
        token.display()
    ))
}

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<u64> {
    let begun = Instant::now();
    work()?;
    Ok(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX))
}

fn middle(times: &Value) -> u64 {
    p50(times.as_array().into_iter().flatten().filter_map(Value::as_u64).collect())
}

fn p50(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
