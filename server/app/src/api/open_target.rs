//! An agent may go to a vendor with identity tokens of its own.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::field::{Code, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::Refusal;
use avouch_core::refusal::Invalid;
use avouch_core::target::Opening;
use avouch_wire::admin;
use avouch_words::IdPath;

#[tracing::instrument(name = "admin.target.open", skip_all, fields(operator = %operator.name()))]
pub(super) async fn open_target(
    app: &App,
    operator: Operator,
    request: admin::OpenTargetRequest,
) -> Result<admin::Target, Failure> {
    let admin::OpenTargetRequest { agent, vendor, audience, settings } = request;
    let settings = settings.into_iter().collect();
    let opening = Opening { agent: &agent, vendor: &vendor, audience: &audience, settings };
    let open = opening.check(app.trust_domain(), &app.reserved, app.now())?;
    if open.target.vendor().wants_rs256() && !app.tokens.is_rs256(open.target.audience()) {
        let fault = format!("{vendor} takes RS256 alone, and no RSA key of the settings (jwt.rsa) names this audience");
        return Err(Invalid::new("audience", fault).into());
    }
    let mut change = app.change().await?;
    let known = change.agent(&open.agent).await?;
    let known = known.ok_or_else(|| Refusal::NotFound { kind: "agent", name: agent.clone() })?;
    if known.id_path != IdPath::default() {
        // A vendor is told one subject, and goes by it for good.
        return Err(Invalid::new("agent", "its ID path is its own; a vendor knows /agent/{agent} alone").into());
    }
    change.open_target(&open).await.map_err(Failure::named(&agent))?;
    let event = IssuerEvent::TargetOpened {
        operator: operator.record(),
        agent: open.agent.clone(),
        vendor: Code::of(open.target.vendor().as_str()),
        audience: Outside::of(open.target.audience()),
    };
    change.record(event).await?;
    change.commit_and_settle().await?;
    Ok(reply::target(app, &open))
}
