//! A grant is taken back.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::record::IssuerEvent;
use avouch_core::refusal::Invalid;
use avouch_wire::admin;
use avouch_words::Ulid;

#[tracing::instrument(name = "admin.grant.delete", skip_all, fields(operator = %operator.name()))]
pub(super) async fn delete_grant(
    app: &App,
    operator: Operator,
    request: admin::DeleteGrantRequest,
) -> Result<admin::DeleteGrantReply, Failure> {
    let id = Ulid::parse(&request.id).map_err(|_| Invalid::new("id", "not the identifier of a grant"))?;
    let mut change = app.change().await?;
    let grant = change.delete_grant(id).await.map_err(Failure::named(&request.id))?;
    let event = IssuerEvent::GrantDeleted {
        operator: operator.record(),
        grant: grant.id,
        agent: grant.agent,
        credential: grant.credential,
    };
    change.record(event).await?;
    change.commit_and_settle().await?;
    Ok(admin::DeleteGrantReply {})
}
