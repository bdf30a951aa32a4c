//! A join token for one node. Its text leaves the issuer in this answer and is kept nowhere.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_attest_node::join_token;
use avouch_audit::field::Moment;
use avouch_audit::record::IssuerEvent;
use avouch_core::JoinToken;
use avouch_core::refusal::Invalid;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.token.create", skip_all, fields(operator = %operator.name()))]
pub(super) async fn create_token(
    app: &App,
    operator: Operator,
    request: admin::CreateTokenRequest,
) -> Result<admin::CreateTokenReply, Failure> {
    let now = app.now();
    let state = app.state();
    // The pin is what the issuer shows at the end of its TLS chain.
    let pin = state.signers.x509(now)?.certificate().digest();
    let text = join_token::JoinToken::new(app.random()?, pin, app.trust_domain().clone());
    let token = JoinToken::check(text.digest(), &request.node, request.ttl_seconds, now)?;
    let node_id = join_token::node_id(app.trust_domain(), &token.node);
    let node_id = node_id.ok_or_else(|| Failure::Broken("the attestor's name is none".to_owned()))?;

    let mut tx = app.store.begin().await?;
    if tx.node(&token.node).await?.is_some_and(|known| known.banned.is_some()) {
        return Err(Invalid::new("node", "it is banned; evict it first").into());
    }
    tx.create_token(&token).await?;
    let event = IssuerEvent::TokenCreated {
        operator: operator.record(),
        token: token.digest,
        node: token.node,
        expires: Moment::from(token.expires),
    };
    app.record(&mut tx, event).await?;
    app.commit(tx).await?;
    let text = String::from_utf8(text.text().expose().to_vec());
    Ok(admin::CreateTokenReply {
        token: text.map_err(|_| Failure::Broken("a token is not text".to_owned()))?,
        expires_ms: token.expires.0,
        node_id: node_id.to_string(),
    })
}
