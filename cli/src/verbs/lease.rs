//! `lease list|show|revoke`.

use super::Context;
use crate::args::LeaseVerb;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Table, span, talk};
use crate::replies;
use avouch_wire::local::{Lease, ListLeasesRequest, RevokeLeaseRequest};
use avouch_words::Millis;
use serde_json::{Value, json};
use std::time::Duration;

/// Shows what sources are owed, or gives something back.
pub async fn run(context: &Context, verb: LeaseVerb) -> Result<(), Failure> {
    match verb {
        LeaseVerb::List { due } => {
            let mut leases = all(context).await?;
            leases.retain(|lease| !due || !lease.due.is_empty());
            context.output.list(&table(&leases, context.output.now()))?;
            if leases.is_empty() {
                talk(if due { "Nothing waits to be given back." } else { "Nothing is owed to any source." });
            }
            Ok(())
        }
        LeaseVerb::Show { id } => {
            let lease = all(context).await?.into_iter().find(|lease| lease.id == id);
            let lease = lease.ok_or_else(|| {
                Failure::new(Exit::NotFound, format!("there is no lease {id}"))
                    .then("See `avouch lease list`; one that was given back is not in it any more.")
            })?;
            context.output.one(&table(&[lease], context.output.now()))
        }
        LeaseVerb::Revoke { id } => {
            let mut helper = context.helper().await?;
            let revoked = helper.revoke_lease(RevokeLeaseRequest { id: id.clone() }).await;
            revoked.map_err(|status| replies::failure(&status))?;
            let json = || json!({"id": id, "revoked": true});
            context.output.tell(|| format!("{id} is used no more, and is being given back.\n"), json)
        }
    }
}

async fn all(context: &Context) -> Result<Vec<Lease>, Failure> {
    let reply = context.helper().await?.list_leases(ListLeasesRequest {}).await;
    Ok(reply.map_err(|status| replies::failure(&status))?.into_inner().leases)
}

fn table(leases: &[Lease], now: Millis) -> Table {
    let mut table = Table::new(&[
        "id",
        "source",
        "kind",
        "credential",
        "agent",
        "instance",
        "taken",
        "expires",
        "renewable",
        "due",
        "tries",
        "next",
        "fault",
        "lease",
    ]);
    for lease in leases {
        let next = match (lease.due.is_empty(), lease.next_ms) {
            (false, next) if next > 0 => {
                Cell::both(format!("in {}", span(Duration::from_millis(next))), Value::from(next))
            }
            (false, _) => Cell::both("now", Value::from(0)),
            (true, _) => Cell::both("-", Value::Null),
        };
        table.row(vec![
            Cell::text(&lease.id),
            Cell::text(&lease.source),
            Cell::text(&lease.kind),
            optional(&lease.credential),
            optional(&lease.agent),
            optional(&lease.instance),
            Cell::moment(Millis(lease.taken_ms), now),
            Cell::moment(Millis(lease.expires_ms), now),
            Cell::flag(lease.renewable),
            optional(&lease.due),
            Cell::number(u64::from(lease.tries)),
            next,
            optional(&lease.fault),
            Cell::text(&lease.source_id),
        ]);
    }
    table
}

fn optional(text: &str) -> Cell {
    if text.is_empty() { Cell::both("-", Value::Null) } else { Cell::text(text) }
}
