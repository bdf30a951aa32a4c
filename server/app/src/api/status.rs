//! How the issuer is.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.issuer.status", skip_all)]
pub(super) async fn status(
    app: &App,
    _operator: Operator,
    _request: admin::StatusRequest,
) -> Result<admin::StatusReply, Failure> {
    let mut read = app.store.read().await?;
    Ok(admin::StatusReply {
        trust_domain: app.trust_domain().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: app.address.to_string(),
        state_version: read.meta().await?.version,
        audit_size: read.log().await?.next(),
        started_ms: app.started.0,
    })
}
