//! An agent's registration is taken back, with its grants and the vendors that were open to it. A lock on its name goes on, for whoever is registered by
//! that name later.

use super::ban_node::check_reason;
use super::reply;
use crate::app::{App, Change};
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::field::{Code, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::Grant;
use avouch_core::refusal::Invalid;
use avouch_wire::admin;
use avouch_words::Name;

#[tracing::instrument(name = "admin.agent.delete", skip_all, fields(operator = %operator.name()))]
pub(super) async fn delete_agent(
    app: &App,
    operator: Operator,
    request: admin::DeleteAgentRequest,
) -> Result<admin::DeleteAgentReply, Failure> {
    check_reason(&request.reason)?;
    let now = app.now();
    let name = Name::parse(&request.name).map_err(|fault| Invalid::new("name", fault))?;
    let mut change = app.change().await?;
    let grants = change.grants_to(&name).await?;
    take_back(&mut change, &operator, &grants).await?;
    let open: Vec<_> = change.targets().await?.into_iter().filter(|open| open.agent == name).collect();
    for open in open {
        let vendor = open.target.vendor();
        change.close_target(&name, vendor).await?;
        let event = IssuerEvent::TargetClosed {
            operator: operator.record(),
            agent: name.clone(),
            vendor: Code::of(vendor.as_str()),
            audience: Outside::of(open.target.audience()),
        };
        change.record(event).await?;
    }
    let valid_until = change.svids_valid_until(&name, now).await?;
    change.delete_agent(&name, now).await.map_err(Failure::named(&request.name))?;
    let reason = change.commit_to(&request.reason).await?;
    change.record(IssuerEvent::AgentDeleted { operator: operator.record(), agent: name, reason }).await?;
    change.commit_and_settle().await?;
    Ok(admin::DeleteAgentReply { grants: count(&grants), svids_valid_until_ms: reply::moment(valid_until) })
}

/// Takes grants back, each on the record.
pub(super) async fn take_back(change: &mut Change<'_>, operator: &Operator, grants: &[Grant]) -> Result<(), Failure> {
    for grant in grants {
        change.delete_grant(grant.id).await?;
        let event = IssuerEvent::GrantDeleted {
            operator: operator.record(),
            grant: grant.id,
            agent: grant.agent.clone(),
            credential: grant.credential.clone(),
        };
        change.record(event).await?;
    }
    Ok(())
}

pub(super) fn count(grants: &[Grant]) -> u32 {
    u32::try_from(grants.len()).unwrap_or(u32::MAX)
}
