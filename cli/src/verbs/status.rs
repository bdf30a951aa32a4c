//! `status`: how the issuer and the helper here are.

use super::Context;
use crate::endpoints::Socket;
use crate::failure::Failure;
use crate::output::{Cell, Table, rfc3339};
use crate::replies;
use avouch_wire::{admin, local};
use avouch_words::Millis;
use serde_json::{Value, json};
use std::time::Duration;

/// Shows whichever of the two runs here; fails if one of them does not answer.
pub async fn run(context: &Context) -> Result<(), Failure> {
    let issuer = match context.directories.find(Socket::Admin) {
        Ok(_) => Some(issuer(context).await),
        Err(_) => None,
    };
    let helper = match context.directories.find(Socket::Helper) {
        Ok(_) => Some(helper(context).await),
        Err(_) => None,
    };
    if issuer.is_none() && helper.is_none() {
        // Says where it was looked for.
        context.directories.find(Socket::Admin)?;
    }
    let mut table = Table::new(&["part", "state", "about"]);
    let mut failed = None;
    for (part, about) in [("issuer", issuer), ("helper", helper)] {
        let (state, about) = match about {
            None => ("not here".to_owned(), Cell::both("", Value::Null)),
            Some(Ok(told)) => told,
            Some(Err(failure)) => {
                let told = ("no answer".to_owned(), Cell::text(failure.to_string()));
                failed = Some(failure);
                told
            }
        };
        table.row(vec![Cell::text(part), Cell::text(state), about]);
    }
    context.output.list(&table)?;
    failed.map_or(Ok(()), Err)
}

async fn issuer(context: &Context) -> Result<(String, Cell), Failure> {
    let reply = context.admin().await?.status(admin::StatusRequest {}).await;
    let status = reply.map_err(|status| replies::failure(&status))?.into_inner();
    let started = crate::output::relative(Millis(status.started_ms), context.output.now());
    let about = format!(
        "{} at {}, avouch {}, started {started}, state version {}, {} audit entries",
        status.trust_domain, status.address, status.version, status.state_version, status.audit_size
    );
    let fields = json!({
        "trust_domain": status.trust_domain,
        "address": status.address,
        "version": status.version,
        "started": rfc3339(Millis(status.started_ms)),
        "state_version": status.state_version,
        "audit_size": status.audit_size,
    });
    Ok(("running".to_owned(), Cell::both(about, fields)))
}

async fn helper(context: &Context) -> Result<(String, Cell), Failure> {
    let reply = context.helper().await?.status(local::StatusRequest {}).await;
    let status = reply.map_err(|status| replies::failure(&status))?.into_inner();
    let state = match (status.injecting, status.held_by.as_str()) {
        (true, _) => "injecting".to_owned(),
        (false, "") => "not injecting".to_owned(),
        (false, held_by) => format!("not injecting ({held_by})"),
    };
    let age = crate::output::span(Duration::from_millis(status.state_age_ms));
    let about = format!(
        "{}, state version {} heard {age} ago, {} of {} audit records acknowledged, Workload API at {}",
        status.node_id, status.state_version, status.acknowledged, status.spooled, status.workload_socket
    );
    let fields = json!({
        "node": status.node_id,
        "trust_domain": status.trust_domain,
        "workload_socket": status.workload_socket,
        "session_socket": status.session_socket,
        "state_age_ms": status.state_age_ms,
        "state_version": status.state_version,
        "injecting": status.injecting,
        "held_by": status.held_by,
        "spooled": status.spooled,
        "acknowledged": status.acknowledged,
    });
    Ok((state, Cell::both(about, fields)))
}
