//! A credential is made, or its binding replaced. Its value is put in a helper's sealed store and never comes here.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::record::IssuerEvent;
use avouch_core::Credential;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.credential.put", skip_all, fields(operator = %operator.name()))]
pub(super) async fn put_credential(
    app: &App,
    operator: Operator,
    request: admin::PutCredentialRequest,
) -> Result<admin::Credential, Failure> {
    let credential = Credential::check(&request.name, &request.source, &request.binding, app.now())?;
    let mut change = app.change().await?;
    change.put_credential(&credential).await?;
    let event = IssuerEvent::CredentialPut {
        operator: operator.record(),
        credential: credential.name.clone(),
        source: credential.source.clone(),
        binding: credential.binding.digest(),
    };
    change.record(event).await?;
    // One that was there keeps the moment it was made.
    let kept = change.credential(&credential.name).await?.unwrap_or(credential);
    change.commit_and_settle().await?;
    Ok(reply::credential(&kept))
}
