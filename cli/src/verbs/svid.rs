//! `svid show`: asks the Workload API as any workload does.

use super::Context;
use crate::args::SvidVerb;
use crate::endpoints::Socket;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Output, Table, talk};
use crate::workload;
use avouch_words::svid::x509::X509Svid;
use std::path::PathBuf;

/// Shows the caller's X.509-SVIDs; never a key.
pub async fn run(context: &Context, verb: SvidVerb) -> Result<(), Failure> {
    let SvidVerb::Show { socket } = verb;
    let socket = self::socket(context, socket)?;
    let mut client = workload::Client::connect(&socket).await?;
    let mine = client.x509().await?;
    let mut table = Table::new(&["id", "serial", "expires", "chain"]);
    for svid in &mine {
        let checked = svid.check(context.output.now())?;
        table.row(row(&checked, context.output));
    }
    context.output.list(&table)?;
    talk("The private keys are not shown.");
    Ok(())
}

fn row(svid: &X509Svid, output: Output) -> Vec<Cell> {
    let serial: String = svid.serial().iter().map(|byte| format!("{byte:02x}")).collect();
    let count = u64::try_from(svid.chain().len()).unwrap_or(u64::MAX);
    vec![
        Cell::text(svid.id().as_str()),
        Cell::text(serial),
        Cell::moment(svid.not_after(), output.now()),
        Cell::both(format!("{count} certificates"), serde_json::Value::from(count)),
    ]
}

/// The Workload API's socket: the one that is named, the one that a session says, or this host's.
pub fn socket(context: &Context, named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match (named, std::env::var("SPIFFE_ENDPOINT_SOCKET")) {
        (Some(flag), _) => Ok(flag),
        (None, Ok(address)) => endpoint(&address),
        (None, Err(_)) => context.directories.find(Socket::Workload),
    }
}

/// The standard's form: `unix:///absolute/path`, nothing else in it.
fn endpoint(address: &str) -> Result<PathBuf, Failure> {
    let wrong = || {
        let sentence = format!("SPIFFE_ENDPOINT_SOCKET is {address:?}, which names no Unix socket");
        Failure::new(Exit::Usage, sentence).then("Set it as unix:///run/avouch/workload.sock, or use --socket.")
    };
    let path = address.strip_prefix("unix://").filter(|path| path.starts_with('/')).ok_or_else(wrong)?;
    if path.contains(['?', '#']) {
        return Err(wrong());
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_read_as_the_standard_writes_it() {
        assert_eq!(endpoint("unix:///a/b.sock").unwrap(), PathBuf::from("/a/b.sock"));
        for bad in ["/a/b.sock", "unix:/a", "unix://host/a", "tcp://127.0.0.1:1", "unix:///a?x", "unix:///a#x", ""] {
            let failure = endpoint(bad).unwrap_err();
            assert_eq!(failure.code(), 2, "{bad}");
        }
    }
}
