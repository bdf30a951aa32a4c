//! How the issuer is.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.issuer.status", skip_all)]
pub(super) async fn status(
    app: &App,
    operator: Operator,
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
        operator: operator.name().to_string(),
        authorities: read.authorities().await?.iter().map(authority).collect(),
    })
}

fn authority(authority: &avouch_core::authority::Authority) -> admin::Authority {
    admin::Authority {
        purpose: authority.purpose.as_str().to_owned(),
        state: authority.state.as_str().to_owned(),
        not_after_ms: authority.not_after.0,
    }
}
