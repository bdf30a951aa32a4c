//! PutSecret: a value is sealed for one credential, under one binding. Changing the binding later makes it unusable
//! until it is put again (B01).

use super::{Desk, Refusal};
use avouch_audit::record::HelperEvent;
use avouch_policy::Binding;
use avouch_wire::local::{PutSecretReply, PutSecretRequest};
use avouch_words::{Name, Secret};

/// Answers one call.
pub async fn answer(desk: &Desk, uid: u32, request: PutSecretRequest) -> Result<PutSecretReply, Refusal> {
    let value = Secret::new(request.value);
    let credential = Name::parse(&request.credential).map_err(|_| Refusal::BadName)?;
    let binding = Binding::parse(&request.binding).map_err(Refusal::BadBinding)?.digest();
    let (sealed, name) = (desk.sealed.clone(), credential.clone());
    let put = tokio::task::spawn_blocking(move || sealed.put(&name, &binding, &value));
    put.await.map_err(|_| Refusal::Failed)?.map_err(Refusal::Put)?;
    // The value before it is used by nobody any more.
    desk.broker.forget_values();
    tracing::info!(%credential, uid, "local.secret.put");
    desk.journal.note(HelperEvent::SecretPut { credential, uid });
    Ok(PutSecretReply {})
}
