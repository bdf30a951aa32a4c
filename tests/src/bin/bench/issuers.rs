//! Issuing through one issuer on SQLite, through one on Postgres, and through two on the same Postgres.

use crate::identity::x509_rate;
use crate::report;
use avouch_tests::servers::Postgres;
use avouch_tests::{Installation, node};
use serde_json::json;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// Measures all; says so where there is no Postgres.
pub async fn measure() -> io::Result<()> {
    let Ok(server) = Postgres::start_durable() else {
        println!("not run: issuers on Postgres: AVOUCH_POSTGRES names no server, as it does under tests/run");
        return Ok(());
    };
    let alone = rate(&mut [Installation::prepare()?]).await?;
    let url = server.database()?;
    let (login, name) = url.trim_start_matches("postgres://").split_once('@').unwrap_or_default();
    let user = login.split(':').next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    let database = format!(
        "[database]\nhost = \"{}\"\nport = {}\nuser = \"{user}\"\ndbname = \"{name}\"\n",
        server.socket_folder().display(),
        server.port()
    );
    let first = Installation::prepare_with(&database, "")?;
    let second = Installation::prepare_with(&database, "")?;
    // Authorities are shared, so what seals them is.
    let file = second.path("server.toml");
    let own = second.path("keys/server.key").display().to_string();
    fs::write(&file, fs::read_to_string(&file)?.replace(&own, &first.path("keys/server.key").display().to_string()))?;
    let mut both = [first, second];
    let one = rate(&mut both[..1]).await?;
    let two = rate(&mut both).await?;
    report(
        "X.509-SVIDs signed per second, batches of 64: issuers on one database, on the same cores",
        json!({ "one on SQLite": alone, "one on Postgres": one, "two on Postgres": two }),
    );
    Ok(())
}

/// Starts the issuers that do not run yet, joins a node at each, and has all of them sign.
async fn rate(issuers: &mut [Installation]) -> io::Result<f64> {
    let mut asked = Vec::new();
    for (n, issuer) in issuers.iter_mut().enumerate().rev() {
        if issuer.server().is_none() {
            issuer.start_server(&[])?;
        }
        let name = format!("n-{}-{n}", number());
        let register = [
            "agent",
            "create",
            &name,
            "--owner",
            "me@example.test",
            "--node",
            &format!("node:name:{name}"),
            "--selector",
            "unix:uid:1",
        ];
        issuer.run(&register)?;
        let instance = format!("01K9ZQ3M6X5T8W4V2R7N{:06}", number());
        asked.push((node::join(issuer, &name).await?.channel, name, instance));
    }
    x509_rate(&asked, &node::request()?.1).await
}

/// A number that is not given twice.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
