//! The locks that stand, or all there ever were.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.lock.list", skip_all)]
pub(super) async fn list_locks(
    app: &App,
    _operator: Operator,
    request: admin::ListLocksRequest,
) -> Result<admin::ListLocksReply, Failure> {
    let mut read = app.store.read().await?;
    let now = app.now();
    let locks = if request.all {
        read.locks(None).await?
    } else {
        read.standing_locks().await?.into_iter().filter(|lock| lock.in_force(now)).collect()
    };
    Ok(admin::ListLocksReply { locks: locks.iter().map(reply::lock).collect() })
}
