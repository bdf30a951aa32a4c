//! A brokered JWT-SVID: what a helper's broker shows to one source on behalf of an agent that lives on its node, or as
//! the node itself.

use super::brokered::{self, Made, Whose};
use super::order::Order;
use super::sign_jwt::{self, keep, refused, sign};
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use crate::signers::TokenSigner;
use avouch_audit::field::{Moment, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::issue::{self, Asked, Bearer};
use avouch_wire::issuer;

#[tracing::instrument(name = "issuer.svid.sign_brokered", skip_all, fields(node = %caller.node.name))]
pub(super) async fn sign_brokered(
    app: &App,
    caller: NodeCaller,
    request: issuer::SignBrokeredRequest,
) -> Result<issuer::SignJwtReply, Failure> {
    let whose = Whose::parse(app, &request.agent, &request.instance, request.probe)?;
    let signed = match &whose {
        Whose::Agent(order) => of_agent(app, &caller, order, &request.audience).await,
        Whose::Bearer(bearer) => of_bearer(app, &caller, bearer, &request.audience).await,
    };
    match signed {
        Ok(reply) => Ok(reply),
        Err(failure) => Err(refused(app, &caller, whose.agent(), "brokered", failure).await),
    }
}

async fn of_agent(
    app: &App,
    caller: &NodeCaller,
    order: &Order,
    audience: &str,
) -> Result<issuer::SignJwtReply, Failure> {
    let decide = |asked: &Asked<'_>| issue::brokered(app.trust_domain(), asked, audience, &app.reserved);
    let (issued, order) = sign(app, caller, order, decide).await?.into_parts();
    let event = IssuerEvent::BrokeredIssued {
        agent: order.agent.clone(),
        instance: order.instance,
        node: caller.node.id.clone(),
        audience: Outside::of(audience),
        jti: Outside::of(issued.jti.to_string()),
        expires: Moment::from(issued.expires),
    };
    keep(app, caller, &order, issued, event, decide).await
}

async fn of_bearer(
    app: &App,
    caller: &NodeCaller,
    bearer: &Bearer,
    audience: &str,
) -> Result<issuer::SignJwtReply, Failure> {
    let now = app.now();
    let state = app.state();
    let permit = issue::brokered_bearer(app.trust_domain(), &caller.node, bearer, audience, &app.reserved)?;
    let TokenSigner { signer, rotates } = state.signers.jwt_for(&[audience.to_owned()], now)?;
    let issued = signer.sign(&permit, now, &*app.rng)?;
    let made = Made {
        bearer,
        kind: "jwt",
        audience: Some(audience),
        id: issued.jti.to_string(),
        authority: rotates.then(|| signer.id()),
        expires: issued.expires,
    };
    let decide =
        |node: &_| issue::brokered_bearer(app.trust_domain(), node, bearer, audience, &app.reserved).map(|_| ());
    brokered::keep(app, caller, made, decide).await?;
    sign_jwt::reply(&issued)
}
