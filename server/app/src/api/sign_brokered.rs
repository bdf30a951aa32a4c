//! A brokered JWT-SVID: what a helper's broker shows to one source on behalf of an agent that lives on its node.

use super::order::Order;
use super::sign_jwt::{keep, refused, sign};
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use avouch_audit::field::{Moment, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::issue::{self, Asked};
use avouch_wire::issuer;

#[tracing::instrument(name = "issuer.svid.sign_brokered", skip_all, fields(node = %caller.node.name))]
pub(super) async fn sign_brokered(
    app: &App,
    caller: NodeCaller,
    request: issuer::SignBrokeredRequest,
) -> Result<issuer::SignJwtReply, Failure> {
    let decide = |asked: &Asked<'_>| issue::brokered(app.trust_domain(), asked, &request.audience, &app.reserved);
    let order = Order::parse(&request.agent, &request.instance)?;
    let (issued, order) = match sign(app, &caller, &order, decide).await {
        Ok(signed) => signed.into_parts(),
        Err(failure) => return Err(refused(app, &caller, &order, "brokered", failure).await),
    };
    let event = IssuerEvent::BrokeredIssued {
        agent: order.agent.clone(),
        instance: order.instance,
        node: caller.node.id.clone(),
        audience: Outside::of(&request.audience),
        jti: Outside::of(issued.jti.to_string()),
        expires: Moment::from(issued.expires),
    };
    keep(app, &caller, &order, issued, event, decide).await
}
