//! A credential is taken back, with its grants. What its source holds stays there.

use super::ban_node::check_reason;
use super::delete_agent::{count, take_back};
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::record::IssuerEvent;
use avouch_core::refusal::Invalid;
use avouch_wire::admin;
use avouch_words::Name;

#[tracing::instrument(name = "admin.credential.delete", skip_all, fields(operator = %operator.name()))]
pub(super) async fn delete_credential(
    app: &App,
    operator: Operator,
    request: admin::DeleteCredentialRequest,
) -> Result<admin::DeleteCredentialReply, Failure> {
    check_reason(&request.reason)?;
    let name = Name::parse(&request.name).map_err(|fault| Invalid::new("name", fault))?;
    let mut change = app.change().await?;
    let grants = change.grants_of(&name).await?;
    take_back(&mut change, &operator, &grants).await?;
    change.delete_credential(&name).await.map_err(Failure::named(&request.name))?;
    let reason = change.commit_to(&request.reason).await?;
    change.record(IssuerEvent::CredentialDeleted { operator: operator.record(), credential: name, reason }).await?;
    change.commit_and_settle().await?;
    Ok(admin::DeleteCredentialReply { grants: count(&grants) })
}
