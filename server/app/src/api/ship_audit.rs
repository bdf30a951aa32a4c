//! Records of a node's open spool come into the log, in order and without gaps. What does not follow is not taken and
//! is an alarm; what is in the log is never overwritten.

use super::open_spool::position;
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use crate::state::State;
use avouch_audit::entry::Body;
use avouch_audit::field::Count;
use avouch_audit::record::IssuerEvent;
use avouch_audit::spool::{Chain, ChainFault, SpoolId, SpoolRecord};
use avouch_core::{Node, node};
use avouch_store::Tx;
use avouch_wire::issuer;
use avouch_words::Digest;

/// Why the rest of a shipment is not taken.
enum Stop {
    /// An event, the number it is about, and what the helper is told.
    Alarm(Box<IssuerEvent>, u64, &'static str),
}

#[tracing::instrument(name = "issuer.spool.ship", skip_all, fields(node = %caller.node.name, records = request.records.len()))]
pub(super) async fn ship_audit(
    app: &App,
    caller: NodeCaller,
    request: issuer::ShipAuditRequest,
) -> Result<issuer::SpoolPosition, Failure> {
    let id = SpoolId::from_slice(&request.spool).ok_or(Failure::malformed("spool", "must be 16 bytes long"))?;
    if request.records.len() > MAX_RECORDS {
        return Err(Failure::malformed("records", format!("must be at most {MAX_RECORDS}")));
    }
    let state = app.state();
    let mut tx = app.store.begin().await?;
    let held = tx.spool(&id).await?.filter(|spool| spool.node == caller.node.name && spool.closed.is_none());
    let held = held.ok_or(Failure::Spool("This spool is not open."))?;
    let mut chain = held.chain;
    let mut digests = Vec::new();
    let mut stop = None;
    for bytes in &request.records {
        match take(&mut tx, &caller.node, &state, &mut chain, bytes).await? {
            Ok(None) => {}
            Ok(Some((record, digest))) => {
                tx.append(Body::Record(Box::new(record)), &caller.node.id, app.now()).await?;
                digests.push(digest);
            }
            Err(found) => {
                stop = Some(found);
                break;
            }
        }
    }
    if !digests.is_empty() {
        tx.advance_spool(&chain, &digests).await?;
    }
    let told = match stop {
        Some(Stop::Alarm(event, seq, told)) => {
            tracing::error!(code = event.code(), spool = %id, seq, "a node's spool does not go on as it should");
            if app.is_news(id, seq, event.code()) {
                app.record(&mut tx, *event).await?;
            }
            Some(told)
        }
        None => None,
    };
    let position = position(&mut tx, chain.next()).await?;
    app.commit(tx).await?;
    avouch_config::crash_point("issuer-after-ship-commit");
    told.map_or(Ok(position), |told| Err(Failure::Spool(told)))
}

/// Reads the next record and checks that it follows and that this node may speak about its agent. None for one that is
/// in the log already.
async fn take(
    tx: &mut Tx,
    node: &Node,
    state: &State,
    chain: &mut Chain,
    bytes: &[u8],
) -> Result<Result<Option<(SpoolRecord, Digest)>, Stop>, Failure> {
    let (spool, expected) = (chain.spool(), chain.next());
    let before = *chain;
    let alarm = |event, seq, told| Ok(Err(Stop::Alarm(Box::new(event), seq, told)));
    let id = || node.id.clone();
    let gap = |shown: u64| IssuerEvent::SpoolGap { node: id(), spool, expected: Count(expected), shown: Count(shown) };
    match chain.check(bytes) {
        Ok(record) => {
            let foreign = record
                .event
                .agent()
                .filter(|agent| !state.agent(agent).is_some_and(|registered| node::matches(node, &registered.nodes)));
            if let Some(agent) = foreign.cloned() {
                *chain = before;
                let event = IssuerEvent::SpoolForeignAgent { node: id(), spool, seq: Count(expected), agent };
                return alarm(event, expected, "A record is about an agent that this node may not run.");
            }
            Ok(Ok(Some((record, chain.head()))))
        }
        Err(ChainFault::Past { seq, digest }) => match tx.spool_record(&spool, seq).await? {
            // Sent again, as after a reply that was lost.
            Some(held) if held == digest => Ok(Ok(None)),
            // In this very shipment, so it cannot be told from the one that is taken: it is not taken.
            None => alarm(gap(seq), seq, "A record repeats a number."),
            Some(held) => {
                let event = IssuerEvent::SpoolForked { node: id(), spool, seq: Count(seq), held, shown: digest };
                alarm(event, seq, "A record that is in the log was sent with other contents.")
            }
        },
        Err(ChainFault::Gap { shown, .. }) => alarm(gap(shown), expected, "A record is missing."),
        Err(ChainFault::Broken { seq }) => alarm(gap(seq), seq, "A record does not follow the one before it."),
        Err(ChainFault::Form(_) | ChainFault::OtherSpool(_)) => {
            let event = IssuerEvent::SpoolMalformed { node: id(), spool, expected: Count(expected) };
            alarm(event, expected, "This is not a record of the spool.")
        }
    }
}

/// Records of one shipment.
const MAX_RECORDS: usize = 1024;
