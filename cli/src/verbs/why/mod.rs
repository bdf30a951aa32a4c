//! `why`: a decision as the log holds it, what would be decided now, and the commands that would let it through.

mod commands;
mod record;
mod tell;

use super::{Context, node};
use crate::failure::{Exit, Failure};
use crate::output::relative;
use crate::{progress, replies};
use avouch_wire::admin::{Credential, ListCredentialsRequest, ListLocksRequest, Lock, WhyReply, WhyRequest};
use avouch_wire::tonic::Code;
use avouch_words::{Clock as _, SystemClock, Ulid};
use record::Record;
use std::time::Duration;

/// All that is told of one decision.
struct Found {
    record: Record,
    reply: WhyReply,
    /// The lock that stood against it, if it is known.
    lock: Option<Lock>,
    /// What an operator can type, in this order, so that it is let through.
    commands: Vec<String>,
    /// One sentence where no command is enough.
    advice: Option<String>,
}

/// Tells why.
pub async fn run(context: &Context, decision: &str) -> Result<(), Failure> {
    let id = Ulid::parse(decision).map_err(|_| {
        Failure::new(Exit::Usage, format!("{decision:?} is not a decision's id: those have 26 letters and digits"))
            .then("It is in what the agent was shown (\"decision\"); `avouch status` lists what was refused lately.")
    })?;
    let reply = ask(context, id).await?;
    let record = Record::read(decision, &reply)?;
    let lock = match &record.lock {
        Some(lock) => find_lock(context, lock).await?,
        None => None,
    };
    let credentials = match record.credential_without_value() {
        Some(name) => find_credential(context, name).await?.into_iter().collect(),
        None => Vec::new(),
    };
    let (commands, advice) = commands::all(&record, &reply, &credentials);
    let found = Found { record, reply, lock, commands, advice };
    context.output.tell(|| tell::text(&found, context.output.now()), || tell::json(&found))
}

/// Asks until the record is there, for as long as it may be on its way.
async fn ask(context: &Context, id: Ulid) -> Result<WhyReply, Failure> {
    progress::during("The record of this decision has not arrived yet; waiting for it", patiently(context, id)).await
}

async fn patiently(context: &Context, id: Ulid) -> Result<WhyReply, Failure> {
    let mut admin = context.admin().await?;
    loop {
        match admin.why(WhyRequest { decision: id.to_string() }).await {
            Ok(reply) => return Ok(reply.into_inner()),
            Err(status) if status.code() != Code::NotFound => return Err(replies::failure(&status)),
            Err(_) => {}
        }
        let age = SystemClock.now().since(id.moment());
        if age >= ON_ITS_WAY {
            return Err(missing(context, id).await?);
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Why there is no record, as far as can be seen from here.
async fn missing(context: &Context, id: Ulid) -> Result<Failure, Failure> {
    let now = SystemClock.now();
    let sentence =
        format!("no record of decision {id} has arrived: it would have been made {}", relative(id.moment(), now));
    let nodes = node::all(context).await?;
    let silent: Vec<&str> = nodes.iter().filter(|node| !node.connected).map(|node| node.id.as_str()).collect();
    let action = match silent[..] {
        [] => "Every node is connected, and what a helper has recorded is here within a second: look at the id again."
            .to_owned(),
        _ => format!("It may be on a node that is not connected and keeps its records: {}.", silent.join(", ")),
    };
    Ok(Failure::new(Exit::NotFound, sentence).then(action))
}

async fn find_lock(context: &Context, id: &str) -> Result<Option<Lock>, Failure> {
    let reply = context.admin().await?.list_locks(ListLocksRequest { all: true }).await;
    let locks = reply.map_err(|status| replies::failure(&status))?.into_inner().locks;
    Ok(locks.into_iter().find(|lock| lock.id == id))
}

async fn find_credential(context: &Context, name: &str) -> Result<Option<Credential>, Failure> {
    let reply = context.admin().await?.list_credentials(ListCredentialsRequest {}).await;
    let credentials = reply.map_err(|status| replies::failure(&status))?.into_inner().credentials;
    Ok(credentials.into_iter().find(|credential| credential.name == name))
}

/// How long after a decision its record may still be on its way from the helper.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// How long between two questions.
const STEP: Duration = Duration::from_millis(200);
