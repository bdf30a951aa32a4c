//! A lock is released before its end.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::field::Count;
use avouch_audit::record::IssuerEvent;
use avouch_core::LockTarget;
use avouch_core::refusal::Invalid;
use avouch_wire::admin;
use avouch_words::Ulid;

#[tracing::instrument(name = "admin.lock.release", skip_all, fields(operator = %operator.name()))]
pub(super) async fn release_lock(
    app: &App,
    operator: Operator,
    request: admin::ReleaseLockRequest,
) -> Result<admin::Lock, Failure> {
    let id = Ulid::parse(&request.id).map_err(|_| Invalid::new("id", "not the identifier of a lock"))?;
    let mut change = app.change().await?;
    let lock = change.end_lock(id, app.now()).await.map_err(Failure::named(&request.id))?;
    let version = Count(change.new_version().await?);
    let LockTarget::Agent(agent) = lock.target.clone();
    change.record(IssuerEvent::LockReleased { operator: operator.record(), lock: id, agent, version }).await?;
    change.commit_and_settle().await?;
    Ok(reply::lock(&lock))
}
