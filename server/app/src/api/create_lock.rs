//! An agent is locked. The answer begins when the lock is committed and goes on as each node says that it is in force
//! there; that is recorded whether or not the operator stays to read it.

use super::reply;
use crate::app::{App, Committed};
use crate::caller::Operator;
use crate::error::Failure;
use crate::together;
use avouch_audit::field::{Count, Moment};
use avouch_audit::record::IssuerEvent;
use avouch_core::refusal::Invalid;
use avouch_core::{Lock, LockTarget, Node, node};
use avouch_store::{MAX_PAGE, StoreError, Tx};
use avouch_wire::admin::{self, lock_progress::Kind};
use avouch_words::{Name, SpiffeId, Ulid};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

type Progress = mpsc::Sender<Result<admin::LockProgress, Status>>;

#[tracing::instrument(name = "admin.lock.create", skip_all, fields(operator = %operator.name()))]
pub(super) async fn create_lock(
    app: &Arc<App>,
    operator: Operator,
    request: admin::CreateLockRequest,
) -> Result<ReceiverStream<Result<admin::LockProgress, Status>>, Failure> {
    let now = app.now();
    let agent = Name::parse(&request.agent).map_err(|why| Invalid::new("agent", why))?;
    let target = LockTarget::Agent(agent.clone());
    let ttl = Duration::from_secs(request.ttl_seconds.into());
    let lock = Lock::check(app.ulid()?, target, &request.reason, operator.name().as_str(), ttl, now)?;

    let mut change = app.change().await?;
    change.create_lock(&lock).await.map_err(Failure::named(agent.as_str()))?;
    let version = Count(change.new_version().await?);
    let reason = change.commit_to(&lock.reason).await?;
    let valid_until = change.svids_valid_until(&agent, now).await?;
    let nodes = nodes_of(&mut change, &agent).await?;
    let event = IssuerEvent::LockCreated {
        operator: operator.record(),
        lock: lock.id,
        agent,
        reason,
        version,
        expires: lock.expires.map(Moment::from),
    };
    change.record(event).await?;
    let committed = change.commit().await?;

    let (progress, receiver) = mpsc::channel(nodes.len() + 2);
    let first = admin::LockCommitted {
        lock: Some(reply::lock(&lock)),
        version: committed.version,
        svids_valid_until_ms: reply::moment(valid_until),
    };
    tell(&progress, Kind::Committed(first));
    let app = Arc::clone(app);
    let follow = async move { follow(&app, lock.id, committed, nodes, &progress).await };
    tokio::spawn(follow.in_current_span());
    Ok(ReceiverStream::new(receiver))
}

/// The nodes that may run an agent.
async fn nodes_of(tx: &mut Tx, agent: &Name) -> Result<Vec<Node>, StoreError> {
    let Some(agent) = tx.agent(agent).await? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut after: Option<Name> = None;
    loop {
        let page = tx.nodes(after.as_ref()).await?;
        after = page.last().map(|node| node.name.clone());
        let whole = page.len() < MAX_PAGE as usize;
        found.extend(page.into_iter().filter(|known| node::matches(known, &agent.nodes)));
        if whole {
            return Ok(found);
        }
    }
}

/// Waits for the nodes, records those that applied the lock, and tells which did not.
async fn follow(app: &App, lock: Ulid, committed: Committed, nodes: Vec<Node>, progress: &Progress) {
    let mut waiting: Vec<SpiffeId> = nodes.into_iter().map(|node| node.id).collect();
    let mut changes = app.connected.watch();
    together::look_elsewhere(app).await;
    let deadline = tokio::time::sleep(PATIENCE);
    tokio::pin!(deadline);
    loop {
        changes.borrow_and_update();
        let mut applied = Vec::new();
        waiting.retain(|node| {
            let seen = app.connected.of(node);
            let done = seen.applied >= committed.version;
            if done {
                let after = seen.applied_at.saturating_sub(committed.at);
                applied.push((node.clone(), u64::try_from(after.as_micros()).unwrap_or(u64::MAX)));
            }
            !done
        });
        for (node, after_us) in &applied {
            tell(progress, Kind::Applied(admin::LockApplied { node_id: node.to_string(), after_us: *after_us }));
        }
        if let Err(error) = record(app, lock, committed.version, applied).await {
            tracing::error!(%lock, %error, "it could not be recorded where a lock is in force");
        }
        if !waiting.iter().any(|node| app.connected.of(node).streams > 0) {
            break;
        }
        tokio::select! {
            () = &mut deadline => break,
            () = app.shutdown.cancelled() => break,
            _ = changes.changed() => {}
        }
    }
    let now = app.now();
    for node in waiting {
        // A node that this process never heard of may have heard of the one before it, until this one started.
        let heard = app.connected.of(&node).heard.max(Some(app.started));
        let fails_closed = heard.unwrap_or(now).plus(app.config.staleness_bound);
        if fails_closed > now {
            let pending = admin::LockPending { node_id: node.to_string(), fails_closed_ms: fails_closed.0 };
            tell(progress, Kind::Pending(pending));
        }
    }
}

async fn record(app: &App, lock: Ulid, version: u64, applied: Vec<(SpiffeId, u64)>) -> Result<(), StoreError> {
    if applied.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    for (node, after_us) in applied {
        let event = IssuerEvent::LockApplied { lock, node, version: Count(version), after_us: Count(after_us) };
        app.record(&mut tx, event).await?;
    }
    app.commit(tx).await
}

/// The operator may have gone; there is room for all that is ever said.
fn tell(progress: &Progress, kind: Kind) {
    let _ = progress.try_send(Ok(admin::LockProgress { kind: Some(kind) }));
}

/// How long connected nodes are waited for.
const PATIENCE: Duration = Duration::from_secs(10);
