//! The credentials, with where each may go.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.credential.list", skip_all)]
pub(super) async fn list_credentials(
    app: &App,
    _operator: Operator,
    _request: admin::ListCredentialsRequest,
) -> Result<admin::ListCredentialsReply, Failure> {
    let credentials = app.store.read().await?.credentials(None).await?;
    Ok(admin::ListCredentialsReply { credentials: credentials.iter().map(reply::credential).collect() })
}
