//! Measures what the design gives numbers for, each beside its limit in the same run, one JSON line each.
//! `tests/bench` builds everything with `--release` and runs this.

mod contained;
mod identity;
mod issuers;
mod load;
mod peers;
mod proxy;
mod scale;
mod sources;

use std::io;
use std::time::Duration;

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => {
            identity::measure().await?;
            proxy::measure().await?;
            sources::measure().await?;
            scale::measure().await?;
            contained::measure().await?;
            issuers::measure().await
        }
        ["contained"] => contained::measure().await,
        ["identity"] => identity::measure().await,
        ["issuers"] => issuers::measure().await,
        ["proxy"] => proxy::measure().await,
        ["scale"] => scale::measure().await,
        ["sources"] => sources::measure().await,
        // Those below are processes that the bench starts itself.
        ["tool"] => proxy::serve_tool().await,
        ["forwarders", plain, secure, ca] => {
            let port = |text: &str| text.parse().map_err(io::Error::other);
            proxy::serve_forwarders(port(plain)?, port(secure)?, ca).await
        }
        ["fetch", count] => identity::fetch(count.parse().map_err(io::Error::other)?).await,
        ["watch", seconds] => scale::watch(seconds.parse().map_err(io::Error::other)?).await,
        ["each", origin, count] => {
            let count: usize = count.parse().map_err(io::Error::other)?;
            let urls: Vec<String> = (0..count).map(|n| format!("{origin}/{n}")).collect();
            println!("{}", serde_json::to_string(&[load::each(&urls).await?, load::each(&urls).await?])?);
            Ok(())
        }
        ["load", url, connections, seconds] => {
            let connections = connections.parse().map_err(io::Error::other)?;
            let span = Duration::from_secs_f64(seconds.parse().map_err(io::Error::other)?);
            let seen = load::run(url, connections, span).await?;
            println!("{}", serde_json::to_string(&seen)?);
            Ok(())
        }
        _ => Err(io::Error::other("usage: avouch-bench [identity|issuers|proxy|sources|scale|contained]")),
    }
}

/// One figure, beside what it is measured against.
fn report(what: &str, figures: serde_json::Value) {
    println!("{}", serde_json::json!({ "bench": what, "figures": figures }));
}
