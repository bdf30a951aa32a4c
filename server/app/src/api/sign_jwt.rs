//! A JWT-SVID for an attested instance.

use super::order::{Ground, Latest, Order, record_refusal};
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use crate::signers::TokenSigner;
use avouch_audit::field::{Moment, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::Refusal;
use avouch_core::authority::IssuedJwt;
use avouch_core::issue::{self, Asked, JwtPermit};
use avouch_core::refusal::Denial;
use avouch_store::{IssuedSvid, SvidId};
use avouch_wire::issuer;
use avouch_words::Millis;

#[tracing::instrument(name = "issuer.svid.sign_jwt", skip_all, fields(node = %caller.node.name))]
pub(super) async fn sign_jwt(
    app: &App,
    caller: NodeCaller,
    request: issuer::SignJwtRequest,
) -> Result<issuer::SignJwtReply, Failure> {
    let order = Order::parse(&request.agent, &request.instance)?;
    let decide = |asked: &Asked<'_>| {
        let state = app.state();
        let opened = state.world.opened(&order.agent);
        issue::jwt(app.trust_domain(), asked, &request.audience, &app.reserved, &opened)
    };
    match sign(app, &caller, &order, &decide).await {
        Ok(Signed { issued, order }) => {
            let event = IssuerEvent::JwtIssued {
                agent: order.agent.clone(),
                instance: order.instance,
                node: caller.node.id.clone(),
                audience: request.audience.iter().map(Outside::of).collect(),
                jti: Outside::of(issued.jti.to_string()),
                expires: Moment::from(issued.expires),
            };
            keep(app, &caller, &order, issued, event, &decide).await
        }
        Err(failure) => {
            let reserved = request.audience.iter().find(|audience| app.reserved.contains(audience));
            if let (Failure::Refused(Refusal::Denied(Denial::AudienceReserved)), Some(audience)) = (&failure, reserved)
            {
                let event = IssuerEvent::ReservedAudienceRefused {
                    agent: order.agent,
                    node: caller.node.id.clone(),
                    audience: Outside::of(audience),
                };
                app.record_alone(event).await;
                return Err(failure);
            }
            Err(refused(app, &caller, order.agent.as_str(), "jwt", failure).await)
        }
    }
}

/// A token that was signed and may not leave yet.
pub(super) struct Signed {
    issued: Issued,
    order: Order,
}

/// A token, and what signed it.
pub(super) struct Issued {
    token: IssuedJwt,
    authority: avouch_words::Ulid,
    rotates: bool,
    pub(super) jti: avouch_words::Ulid,
    pub(super) expires: Millis,
}

impl Signed {
    pub(super) fn into_parts(self) -> (Issued, Order) {
        (self.issued, self.order)
    }
}

/// Decides on the state in memory, and signs.
pub(super) async fn sign(
    app: &App,
    caller: &NodeCaller,
    order: &Order,
    decide: impl Fn(&Asked<'_>) -> Result<JwtPermit, Denial>,
) -> Result<Signed, Failure> {
    let now = app.now();
    let state = app.state();
    let known = app.store.read().await?.instances(&[order.instance]).await?;
    let ground = Ground { node: &caller.node, state: &state, agents: None, known: &known, locks: state.locks(), now };
    let permit = decide(&ground.asked(order))?;
    let TokenSigner { signer, rotates } = state.signers.jwt_for(permit.audience(), now)?;
    let token = signer.sign(&permit, now, &*app.rng)?;
    let (jti, expires) = (token.jti, token.expires);
    Ok(Signed { issued: Issued { token, authority: signer.id(), rotates, jti, expires }, order: order.clone() })
}

/// Keeps what is known of the token, after deciding once more on what the transaction knows; then it may leave.
pub(super) async fn keep(
    app: &App,
    caller: &NodeCaller,
    order: &Order,
    issued: Issued,
    event: IssuerEvent,
    decide: impl Fn(&Asked<'_>) -> Result<JwtPermit, Denial>,
) -> Result<issuer::SignJwtReply, Failure> {
    let now = app.now();
    let state = app.state();
    let mut tx = app.store.begin().await?;
    let latest = Latest::read(&mut tx, &state, &caller.node.name, &[order]).await?;
    decide(&latest.ground(&state, now).asked(order))?;
    tx.put_instances(&[order.live(&caller.node, now)]).await?;
    let svid = IssuedSvid {
        id: SvidId::Jwt(issued.jti),
        agent: order.agent.clone(),
        instance: order.instance,
        node: caller.node.name.clone(),
        authority: issued.authority,
        not_after: issued.expires,
    };
    tx.put_svids(&[svid]).await?;
    if issued.rotates {
        tx.note_expiry(issued.authority, issued.expires).await?;
    }
    app.record(&mut tx, event).await?;
    app.commit(tx).await?;
    reply(&issued.token)
}

/// The token as it is sent.
pub(super) fn reply(issued: &IssuedJwt) -> Result<issuer::SignJwtReply, Failure> {
    let token = String::from_utf8(issued.token.expose().to_vec());
    let token = token.map_err(|_| Failure::Broken("a token is not text".to_owned()))?;
    Ok(issuer::SignJwtReply { spiffe_id: issued.id.to_string(), token })
}

/// Records that no token was signed.
pub(super) async fn refused(
    app: &App,
    caller: &NodeCaller,
    agent: &str,
    kind: &'static str,
    failure: Failure,
) -> Failure {
    let recorded = async {
        let mut tx = app.store.begin().await?;
        record_refusal(app, &mut tx, agent, &caller.node, kind, &failure).await?;
        app.commit(tx).await
    };
    if let Err(error) = recorded.await {
        tracing::error!(%error, "a refusal could not be recorded");
    }
    failure
}
