//! `grant create`, `grant list` and `grant delete`.

use super::Context;
use crate::args::GrantVerb;
use crate::failure::Failure;
use crate::output::{Cell, Output, Table, next, talk};
use crate::progress::{self, SETTLING};
use crate::replies;
use avouch_wire::admin::{CreateGrantRequest, DeleteGrantRequest, Grant, ListGrantsRequest};
use avouch_words::Millis;
use serde_json::json;

/// Makes, lists or takes back.
pub async fn run(context: &Context, verb: GrantVerb) -> Result<(), Failure> {
    let mut admin = context.admin().await?;
    match verb {
        GrantVerb::Create { agent, credential } => {
            let request = CreateGrantRequest { agent: agent.to_string(), credential: credential.to_string() };
            let granted = progress::during(SETTLING, admin.create_grant(request)).await;
            let grant = granted.map_err(|status| replies::failure(&status))?.into_inner();
            context.output.one(&table(&[grant], context.output))?;
            next(format!("avouch run --agent {agent} -- COMMAND"));
        }
        GrantVerb::List => {
            let reply = admin.list_grants(ListGrantsRequest {}).await.map_err(|status| replies::failure(&status))?;
            let grants = reply.into_inner().grants;
            context.output.list(&table(&grants, context.output))?;
            if grants.is_empty() {
                talk("Nothing is granted.");
                next("avouch grant create --agent AGENT --credential CREDENTIAL");
            }
        }
        GrantVerb::Delete { id } => {
            let request = DeleteGrantRequest { id: id.clone() };
            progress::during(SETTLING, admin.delete_grant(request))
                .await
                .map_err(|status| replies::failure(&status))?;
            talk(format!("The grant {id} is gone."));
            context.output.script(|| json!({"id": id, "deleted": true}))?;
            next("avouch grant list");
        }
    }
    Ok(())
}

fn table(grants: &[Grant], output: Output) -> Table {
    let mut table = Table::new(&["id", "agent", "credential", "created"]);
    for grant in grants {
        table.row(vec![
            Cell::text(&grant.id),
            Cell::text(&grant.agent),
            Cell::text(&grant.credential),
            Cell::moment(Millis(grant.created_ms), output.now()),
        ]);
    }
    table
}
