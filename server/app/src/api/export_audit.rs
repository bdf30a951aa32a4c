//! The whole log, for whoever wants to check it without us: its key, the entries up to its newest signed head, the heads.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use crate::tend::sign_head;
use avouch_audit::field::Count;
use avouch_audit::record::IssuerEvent;
use avouch_wire::admin::{self, audit_part::Kind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

type Parts = mpsc::Sender<Result<admin::AuditPart, Status>>;

#[tracing::instrument(name = "admin.log.export", skip_all, fields(operator = %operator.name()))]
pub(super) async fn export_audit(
    app: &Arc<App>,
    operator: Operator,
    _request: admin::ExportAuditRequest,
) -> Result<ReceiverStream<Result<admin::AuditPart, Status>>, Failure> {
    let state = app.state();
    let key = state.signers.log()?.key().to_string();
    let size = app.store.read().await?.log().await?.next();
    let mut tx = app.store.begin().await?;
    app.record(&mut tx, IssuerEvent::Exported { operator: operator.record(), size: Count(size) }).await?;
    app.commit(tx).await?;
    let head = sign_head(app, None).await?.tree.size();
    let (parts, receiver) = mpsc::channel(BUFFERED);
    let app = Arc::clone(app);
    let export = async move {
        if let Err(failure) = export(&app, key, head, &parts).await {
            let _ = parts.send(Err(app.refuse(&failure))).await;
        }
    };
    tokio::spawn(export.in_current_span());
    Ok(ReceiverStream::new(receiver))
}

async fn export(app: &App, key: String, size: u64, parts: &Parts) -> Result<(), Failure> {
    send(app, parts, Kind::Key(key)).await?;
    let mut next = 0;
    while next < size {
        // A snapshot for each page: an operator who reads slowly must not hold one.
        let page = app.store.read().await?.log_entries(next, PAGE).await?;
        let before = next;
        for entry in page.into_iter().take_while(|entry| entry.index < size) {
            next = entry.index + 1;
            send(app, parts, Kind::Entry(entry.bytes)).await?;
        }
        if next == before {
            return Err(Failure::Broken(format!("the log ends before entry {next}")));
        }
    }
    let mut after = 0;
    while after < size {
        let page = app.store.read().await?.checkpoint_notes(after).await?;
        let before = after;
        for (covers, note) in page.into_iter().take_while(|(covers, _)| *covers <= size) {
            after = covers;
            send(app, parts, Kind::Checkpoint(note)).await?;
        }
        if after == before {
            return Err(Failure::Broken(format!("there is no signed head over {size} entries")));
        }
    }
    Ok(())
}

async fn send(app: &App, parts: &Parts, kind: Kind) -> Result<(), Failure> {
    let part = admin::AuditPart { kind: Some(kind) };
    tokio::select! {
        () = app.shutdown.cancelled() => Err(Failure::Stopping),
        sent = parts.send_timeout(Ok(part), PATIENCE) => sent.map_err(|_| Failure::Busy("unread parts")),
    }
}

/// Entries of one page.
const PAGE: u32 = 1000;
/// Parts that wait to be read.
const BUFFERED: usize = 64;
/// How long a part may wait to be read.
const PATIENCE: Duration = Duration::from_secs(30);
