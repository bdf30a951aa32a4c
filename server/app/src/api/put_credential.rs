//! A credential is made, or replaced: where its value lies, and where it may go. The value never comes here.

use super::reply;
use crate::app::{App, Change};
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::field::Outside;
use avouch_audit::record::IssuerEvent;
use avouch_core::{Credential, Refusal};
use avouch_wire::admin;

#[tracing::instrument(name = "admin.credential.put", skip_all, fields(operator = %operator.name()))]
pub(super) async fn put_credential(
    app: &App,
    operator: Operator,
    request: admin::PutCredentialRequest,
) -> Result<admin::Credential, Failure> {
    let credential = {
        let admin::PutCredentialRequest { name, source, binding, reference, .. } = &request;
        Credential::check(name, source, reference, binding, app.now())?
    };
    let mut change = app.change().await?;
    if request.only_new && change.credential(&credential.name).await?.is_some() {
        return Err(Refusal::Exists { kind: "credential", name: credential.name.to_string() }.into());
    }
    put(&mut change, &operator, &credential).await?;
    // One that was there keeps the moment it was made.
    let kept = change.credential(&credential.name).await?.unwrap_or(credential);
    change.commit_and_settle().await?;
    Ok(reply::credential(&kept))
}

/// Makes or replaces it, on the record.
pub(super) async fn put(change: &mut Change<'_>, operator: &Operator, credential: &Credential) -> Result<(), Failure> {
    change.put_credential(credential).await?;
    let event = IssuerEvent::CredentialPut {
        operator: operator.record(),
        credential: credential.name.clone(),
        source: credential.source.clone(),
        reference: Some(credential.reference.as_str()).filter(|text| !text.is_empty()).map(Outside::of),
        binding: credential.binding.digest(),
    };
    Ok(change.record(event).await?)
}
