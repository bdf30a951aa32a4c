//! The grants.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.grant.list", skip_all)]
pub(super) async fn list_grants(
    app: &App,
    _operator: Operator,
    _request: admin::ListGrantsRequest,
) -> Result<admin::ListGrantsReply, Failure> {
    let grants = app.store.read().await?.grants(None).await?;
    Ok(admin::ListGrantsReply { grants: grants.iter().map(reply::grant).collect() })
}
