//! `credential list`.

use super::Context;
use crate::args::CredentialVerb;
use crate::failure::Failure;
use crate::output::{Cell, Table, next, talk};
use crate::replies;
use avouch_policy::Binding;
use avouch_wire::admin::{Credential, ListCredentialsRequest};
use avouch_words::Millis;
use serde_json::Value;

/// Lists the credentials with their bindings.
pub async fn run(context: &Context, verb: CredentialVerb) -> Result<(), Failure> {
    let CredentialVerb::List = verb;
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
    let mut table = Table::new(&["name", "source", "to", "methods", "paths", "as", "created", "binding"]);
    for credential in credentials {
        let binding = Binding::parse(&credential.binding).ok();
        let spec = binding.as_ref().map(Binding::spec);
        let or_unread = |cell: Option<Cell>| cell.unwrap_or_else(|| Cell::both("?", Value::Null));
        table.row(vec![
            Cell::text(&credential.name),
            Cell::text(&credential.source),
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
