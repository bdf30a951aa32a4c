//! `credential create|rotate|list`.

use super::{Context, bound, secret, withdraw};
use crate::args::{CredentialCreate, CredentialVerb, Withdrawal};
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Table, next, talk};
use crate::progress::{self, SETTLING};
use crate::replies;
use avouch_policy::Binding;
use avouch_wire::admin::{Credential, DeleteCredentialRequest, ListCredentialsRequest, PutCredentialRequest};
use avouch_wire::local::ListSourcesRequest;
use avouch_wire::local::RotateCredentialRequest;
use avouch_words::{Millis, Name};
use serde_json::{Value, json};

/// Binds what lies in a source, or lists what is bound.
pub async fn run(context: &Context, verb: CredentialVerb) -> Result<(), Failure> {
    match verb {
        CredentialVerb::Create(create) => self::create(context, &create).await,
        CredentialVerb::Rotate { name } => rotate(context, &name).await,
        CredentialVerb::List => list(context).await,
        CredentialVerb::Delete { name, withdrawal } => delete(context, &name, withdrawal).await,
    }
}

async fn create(context: &Context, create: &CredentialCreate) -> Result<(), Failure> {
    if create.source.as_str() == secret::SOURCE {
        let sentence = format!("the source {} is the node's own store, which is given the value", secret::SOURCE);
        return Err(Failure::new(Exit::Usage, sentence).then(format!("avouch secret put {} ...", create.name)));
    }
    let binding = bound::bind(&create.name, &create.bound)?;
    let request = PutCredentialRequest {
        name: create.name.to_string(),
        source: create.source.to_string(),
        reference: create.reference.to_string(),
        binding: binding.canonical_json().to_vec(),
        only_new: !create.replace,
    };
    note_unknown(context, create.source.as_str()).await;
    let mut admin = context.admin().await?;
    let reply = progress::during(SETTLING, async {
        admin.put_credential(request).await.map_err(|status| replies::failure(&status))
    });
    let made = reply.await?.into_inner();
    context.output.one(&table(&[made], context.output.now()))?;
    next(format!("avouch grant create --agent AGENT --credential {}", create.name));
    Ok(())
}

/// A source may be another node's alone; a slip of the pen is likelier.
async fn note_unknown(context: &Context, name: &str) {
    let Ok(mut helper) = context.helper().await else { return };
    let Ok(reply) = helper.list_sources(ListSourcesRequest {}).await else { return };
    if !reply.into_inner().sources.iter().any(|source| source.name == name) {
        talk(format!("The settings of this node's helper name no source {name:?}: see `avouch source list`."));
    }
}

async fn rotate(context: &Context, name: &Name) -> Result<(), Failure> {
    let request = RotateCredentialRequest { credential: name.to_string() };
    let reply = context.helper().await?.rotate_credential(request).await;
    let kept = reply.map_err(|status| replies::failure(&status))?.into_inner().kept;
    let json = || serde_json::json!({"name": name.to_string(), "kept": kept});
    let text = || match kept {
        0 => format!("{name} is kept for nobody here: it is read at its next use anyway.\n"),
        kept => format!("{name} is read anew at its next use, for each of {kept} instances that keep it here.\n"),
    };
    context.output.tell(text, json)
}

async fn delete(context: &Context, name: &Name, withdrawal: Withdrawal) -> Result<(), Failure> {
    withdraw::confirm(&withdrawal, &format!("this takes the credential {name} and its grants back"))?;
    let request = DeleteCredentialRequest { name: name.to_string(), reason: withdrawal.reason };
    let mut admin = context.admin().await?;
    let reply = progress::during(SETTLING, admin.delete_credential(request)).await;
    let grants = reply.map_err(|status| replies::failure(&status))?.into_inner().grants;
    talk(format!("The credential {name} is gone, and {grants} grants with it. Its source still has the value."));
    context.output.script(|| json!({"name": name.as_str(), "deleted": true, "grants": grants}))?;
    next("avouch credential list");
    Ok(())
}

async fn list(context: &Context) -> Result<(), Failure> {
    let reply = context.admin().await?.list_credentials(ListCredentialsRequest {}).await;
    let credentials = reply.map_err(|status| replies::failure(&status))?.into_inner().credentials;
    context.output.list(&table(&credentials, context.output.now()))?;
    if credentials.is_empty() {
        talk("No credential is bound yet.");
        next("avouch secret put NAME --value-stdin --to ORIGIN --method GET --path '/**' --as bearer");
    }
    Ok(())
}

/// Credentials with their bindings; never a value.
pub fn table(credentials: &[Credential], now: Millis) -> Table {
    let mut table = Table::new(&["name", "source", "reference", "to", "methods", "paths", "as", "created", "binding"]);
    for credential in credentials {
        let binding = Binding::parse(&credential.binding).ok();
        let spec = binding.as_ref().map(Binding::spec);
        let or_unread = |cell: Option<Cell>| cell.unwrap_or_else(|| Cell::both("?", Value::Null));
        table.row(vec![
            Cell::text(&credential.name),
            Cell::text(&credential.source),
            Cell::text(&credential.reference),
            or_unread(spec.as_ref().map(|spec| Cell::text(&spec.to))),
            or_unread(spec.as_ref().map(|spec| Cell::list(&spec.methods))),
            or_unread(spec.as_ref().map(|spec| Cell::list(&spec.paths))),
            or_unread(binding.as_ref().map(|binding| Cell::text(binding.slot().header()))),
            Cell::moment(Millis(credential.created_ms), now),
            or_unread(binding.as_ref().map(|binding| {
                let digest = binding.digest().to_string();
                Cell::both(&digest[..SHOWN], serde_json::to_value(binding.spec()).unwrap_or_default())
            })),
        ]);
    }
    table
}

/// Digits of a binding's digest that people are shown.
const SHOWN: usize = 12;
