//! A node announces its audit spool. One spool of a node is open at a time; one that did not come to its end is an alarm.

use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use avouch_audit::field::Count;
use avouch_audit::record::{IssuerEvent, SpoolEnd};
use avouch_audit::spool::SpoolId;
use avouch_store::Tx;
use avouch_wire::issuer;

#[tracing::instrument(name = "issuer.spool.open", skip_all, fields(node = %caller.node.name))]
pub(super) async fn open_spool(
    app: &App,
    caller: NodeCaller,
    request: issuer::OpenSpoolRequest,
) -> Result<issuer::SpoolPosition, Failure> {
    let id = |field, bytes: &[u8]| SpoolId::from_slice(bytes).ok_or(Failure::malformed(field, "must be 16 bytes long"));
    let spool = id("spool", &request.spool)?;
    let previous = match request.previous_spool.as_slice() {
        [] => None,
        bytes => Some(SpoolEnd { spool: id("previous_spool", bytes)?, records: Count(request.previous_records) }),
    };
    let mut tx = app.store.begin().await?;
    if let Some(known) = tx.spool(&spool).await? {
        if known.node != caller.node.name || known.closed.is_some() {
            return Err(Failure::Spool("A spool that has ended, or is another node's, cannot be opened."));
        }
        return position(&mut tx, known.chain.next()).await;
    }
    let node = caller.node.id.clone();
    if let Some(open) = tx.open_spool(&caller.node.name).await? {
        let held = SpoolEnd { spool: open.chain.spool(), records: Count(open.chain.next()) };
        let event = if previous.as_ref() == Some(&held) {
            IssuerEvent::SpoolClosed { node: node.clone(), end: held }
        } else {
            tracing::warn!(spool = %held.spool, "a new spool was opened, and the one before had not come to its end");
            IssuerEvent::SpoolUnclosed { node: node.clone(), end: held, opened: spool }
        };
        tx.close_spool(&open.chain.spool(), app.now()).await?;
        app.record(&mut tx, event).await?;
    }
    tx.create_spool(&spool, &caller.node.name, app.now()).await?;
    app.record(&mut tx, IssuerEvent::SpoolOpened { node, spool }).await?;
    let position = position(&mut tx, 0).await?;
    app.commit(tx).await?;
    Ok(position)
}

/// How far a spool is in the log, and the log's newest signed head.
pub(super) async fn position(tx: &mut Tx, next: u64) -> Result<issuer::SpoolPosition, Failure> {
    let checkpoint = tx.newest_checkpoint().await?.map(|head| head.note).unwrap_or_default();
    Ok(issuer::SpoolPosition { next, checkpoint })
}
