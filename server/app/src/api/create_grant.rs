//! An agent may use a credential.

use super::reply;
use crate::app::{App, Change};
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::record::IssuerEvent;
use avouch_core::Grant;
use avouch_core::refusal::Invalid;
use avouch_wire::admin;
use avouch_words::Name;

#[tracing::instrument(name = "admin.grant.create", skip_all, fields(operator = %operator.name()))]
pub(super) async fn create_grant(
    app: &App,
    operator: Operator,
    request: admin::CreateGrantRequest,
) -> Result<admin::Grant, Failure> {
    let grant = Grant {
        id: app.ulid()?,
        agent: Name::parse(&request.agent).map_err(|why| Invalid::new("agent", why))?,
        credential: Name::parse(&request.credential).map_err(|why| Invalid::new("credential", why))?,
        created: app.now(),
    };
    let mut change = app.change().await?;
    grant_it(&mut change, &operator, &grant).await?;
    change.commit_and_settle().await?;
    Ok(reply::grant(&grant))
}

/// Makes it, on the record.
pub(super) async fn grant_it(change: &mut Change<'_>, operator: &Operator, grant: &Grant) -> Result<(), Failure> {
    let pair = format!("{} to {}", grant.credential, grant.agent);
    change.create_grant(grant).await.map_err(Failure::named(&pair))?;
    let event = IssuerEvent::GrantCreated {
        operator: operator.record(),
        grant: grant.id,
        agent: grant.agent.clone(),
        credential: grant.credential.clone(),
    };
    Ok(change.record(event).await?)
}
