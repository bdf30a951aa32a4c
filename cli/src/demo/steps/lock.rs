//! Step 8: the lock, and how soon it is felt.

use super::refusals::refused;
use super::{Actors, expect, get};
use crate::demo::order::Order;
use crate::demo::world::{IssuerPart, Tool};
use crate::failure::{Exit, Failure};
use crate::output::span;
use crate::replies;
use avouch_wire::admin::CreateLockRequest;
use avouch_wire::admin::lock_progress::Kind;
use avouch_words::{Clock as _, Millis, SystemClock};
use std::time::Duration;

/// Locks the researcher while it calls, and has a stream and a tunnel open. The value is the lock's id.
pub(super) async fn lock(
    issuer: &mut IssuerPart,
    actors: &mut Actors,
    tool: &Tool,
) -> Result<(String, String), Failure> {
    let Actors { researcher, witness, .. } = actors;
    let stream = witness.hear(researcher.order(&Order::HoldStream { url: tool.http("?mode=stream") }).await?);
    let tunnel = witness.hear(researcher.order(&Order::HoldTunnel { url: tool.https("") }).await?);
    expect(stream.status == 200 && tunnel.status == 200, "the stream and the tunnel could not be opened")?;
    let request =
        CreateLockRequest { agent: "researcher".to_owned(), reason: "the demo locks it".to_owned(), ttl_seconds: 0 };
    let reply = issuer.admin.create_lock(request).await.map_err(|status| replies::failure(&status))?;
    let mut progress = reply.into_inner();
    let first = progress.message().await.map_err(|status| replies::failure(&status))?;
    let acknowledged = SystemClock.boot();
    let committed = first.and_then(|message| message.kind);
    let Some(Kind::Committed(committed)) = committed else {
        return Err(Failure::new(Exit::Failure, "the lock was not acknowledged first"));
    };
    let id = committed.lock.map(|lock| lock.id).unwrap_or_default();
    let report = witness.hear(researcher.order(&Order::UntilRefused { url: tool.http("") }).await?);
    refused(&report)?;
    let felt = Duration::from_micros(report.at_us).saturating_sub(acknowledged);
    let cut = witness.hear(researcher.order(&Order::AwaitCut).await?);
    expect(cut.notes.len() == 2, "the stream and the tunnel are still open")?;
    expect(felt <= FELT_WITHIN, &format!("the lock was felt after {} ms only", felt.as_millis()))?;
    let mut applied = Vec::new();
    while let Some(message) = progress.message().await.map_err(|status| replies::failure(&status))? {
        if let Some(Kind::Applied(one)) = message.kind {
            applied.push(one);
        }
    }
    expect(applied.len() == 1, "the node did not acknowledge the lock")?;
    // Calls that were on their way when the lock came have reached the tool; those after it do not.
    let before = tool.log.seen().len();
    for url in [tool.http(""), tool.https(""), tool.http("?mode=echo")] {
        refused(&witness.hear(researcher.order(&get(&url)).await?))?;
    }
    expect(tool.log.seen().len() == before, "the tool saw a call of the locked researcher")?;
    witness.saw_none_of(&tool.secrets())?;
    let until = span(Millis(committed.svids_valid_until_ms).since(SystemClock.now()));
    let line = format!(
        "The operator locked the researcher: its next call was refused {:.1} ms after the lock's acknowledgement, its \
         open stream and tunnel were cut; verifiers that ask no one accept its SVIDs for {until} more.",
        felt.as_secs_f64() * 1_000.0
    );
    Ok((id, line))
}

/// How soon a lock has to be felt (DESIGN §5).
const FELT_WITHIN: Duration = Duration::from_secs(2);
