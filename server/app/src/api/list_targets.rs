//! The vendors that agents may go to.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.target.list", skip_all)]
pub(super) async fn list_targets(
    app: &App,
    _operator: Operator,
    _request: admin::ListTargetsRequest,
) -> Result<admin::ListTargetsReply, Failure> {
    let targets = app.store.read().await?.targets().await?;
    Ok(admin::ListTargetsReply { targets: targets.iter().map(|open| reply::target(app, open)).collect() })
}
