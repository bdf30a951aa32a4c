//! An agent may go to a vendor no more. Tokens that it has hold until they end.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::field::{Code, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::refusal::Invalid;
use avouch_wire::admin;
use avouch_words::Name;
use avouch_words::target::Vendor;

#[tracing::instrument(name = "admin.target.close", skip_all, fields(operator = %operator.name()))]
pub(super) async fn close_target(
    app: &App,
    operator: Operator,
    request: admin::CloseTargetRequest,
) -> Result<admin::Target, Failure> {
    let agent = Name::parse(&request.agent).map_err(|why| Invalid::new("agent", why))?;
    let vendor = Vendor::parse(&request.vendor).ok_or_else(|| Invalid::new("vendor", "no vendor that is known"))?;
    let mut change = app.change().await?;
    let closed = change.close_target(&agent, vendor).await;
    let closed = closed.map_err(Failure::named(&format!("{} for {agent}", vendor.as_str())))?;
    let event = IssuerEvent::TargetClosed {
        operator: operator.record(),
        agent,
        vendor: Code::of(vendor.as_str()),
        audience: Outside::of(closed.target.audience()),
    };
    change.record(event).await?;
    change.commit_and_settle().await?;
    Ok(reply::target(app, &closed))
}
