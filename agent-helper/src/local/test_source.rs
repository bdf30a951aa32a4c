//! TestSource: a source is entered as an agent that lives here, and nothing of what lies there is told but its length.
//! Then it is entered as others that it must refuse (invariant 10): by the agent's own role, with a brokered identity
//! that nothing was ever granted to, and with what the agent itself can get from the Workload API. A role that is bound
//! to the audience alone lets the first in.

mod others;

use std::sync::Arc;
use std::time::Duration;

use avouch_audit::field::Code;
use avouch_audit::record::HelperEvent;
use avouch_policy::Credential;
use avouch_sources::{
    Doing, Entered, Entrant, Found, Obligation, ObligationKind, Obligations, Shown, Source, SourceFault, Wanted,
};
use avouch_wire::local as api;
use avouch_words::{Name, SpiffeId};
use tokio::time::timeout;

use super::{Desk, Refusal, list_sources};
use crate::broker::Brokered;
use crate::identity::instance::Instances;
use crate::identity::jwt::JwtSvids;
use crate::identity::{Identities, IdentityKey};
use crate::state::NodeState;

/// What sources are tried with.
pub struct SourceDesk {
    /// All of them.
    pub all: Vec<Arc<dyn Source>>,
    /// Brokered identities.
    pub entrances: Arc<Brokered>,
    /// Who lives here.
    pub instances: Arc<Instances>,
    /// X.509 identities of agents.
    pub identities: Identities,
    /// Tokens of agents.
    pub jwt: Arc<JwtSvids>,
}

/// Answers one call.
pub async fn answer(desk: &Desk, uid: u32, request: api::TestSourceRequest) -> Result<api::TestSourceReply, Refusal> {
    let name = Name::parse(&request.source).map_err(|_| Refusal::NoSource)?;
    let source = desk.sources.all.iter().find(|source| *source.name() == name).cloned().ok_or(Refusal::NoSource)?;
    let state = desk.states.borrow().clone().ok_or(Refusal::NotHeard)?;
    let whose = whose(desk, &state, &name, &request.agent)?;
    let credential = credential(&state, &name, &whose.agent, &request.credential)?;
    let id = state.bundle.trust_domain.brokered_agent(&whose.agent);

    let entrant = desk.sources.entrances.instance(&whose);
    let wanted = credential.map(|credential| Wanted {
        credential: credential.name.clone(),
        binding: credential.binding.digest(),
        reference: credential.reference.clone(),
        entrant: entrant.clone(),
        fresh: true,
    });
    let as_agent = enter(source.as_ref(), entrant.as_ref(), wanted.as_ref()).await;
    let shown = source.about().shown;
    let (as_probe, as_workload) = match &shown {
        Shown::Nothing => (None, None),
        Shown::Jwt { .. } | Shown::X509 => {
            let probe = desk.sources.entrances.probe(&whose);
            let workload = others::Workload::new(desk, &state, &whose);
            let probe = enter(source.as_ref(), probe.as_ref(), None).await;
            (Some(probe), Some(enter(source.as_ref(), &workload, None).await))
        }
    };

    let outcome = judge(&as_agent, [&as_probe, &as_workload]);
    let remedy = match outcome {
        "lets_others_in" => remedy(source.kind(), &shown, &id),
        _ => String::new(),
    };
    tracing::info!(source = %name, agent = %whose.agent, outcome, uid, "local.source.tested");
    desk.journal.note(HelperEvent::SourceTested {
        source: name.clone(),
        agent: whose.agent.clone(),
        instance: whose.instance,
        outcome: Code::of(outcome),
        uid,
    });
    Ok(api::TestSourceReply {
        source: Some(list_sources::source(source.as_ref(), Some(&state))),
        agent: whose.agent.to_string(),
        instance: whose.instance.to_string(),
        spiffe_id: id.to_string(),
        credential: credential.map(|credential| credential.name.to_string()).unwrap_or_default(),
        reference: credential.map(|credential| credential.reference.to_string()).unwrap_or_default(),
        as_agent: Some(tell(as_agent)),
        as_probe: as_probe.map(tell),
        as_workload: as_workload.map(tell),
        remedy,
        passed: outcome == PASSED,
    })
}

/// The agent that was named, else one that may use something of the source, else anybody.
fn whose(desk: &Desk, state: &NodeState, source: &Name, agent: &str) -> Result<IdentityKey, Refusal> {
    let instances = &desk.sources.instances;
    if !agent.is_empty() {
        let agent = Name::parse(agent).map_err(|_| Refusal::BadAgent)?;
        return instances.newest(|name| *name == agent).ok_or(Refusal::NoInstance);
    }
    let may_use = |agent: &Name| granted(state, source, agent).next().is_some();
    instances.newest(may_use).or_else(|| instances.newest(|_| true)).ok_or(Refusal::NoInstance)
}

fn credential<'a>(
    state: &'a NodeState,
    source: &'a Name,
    agent: &Name,
    credential: &str,
) -> Result<Option<&'a Credential>, Refusal> {
    if credential.is_empty() {
        return Ok(granted(state, source, agent).next());
    }
    let name = Name::parse(credential).map_err(|_| Refusal::BadName)?;
    let found = granted(state, source, agent).find(|credential| credential.name == name);
    found.map(Some).ok_or(Refusal::NotOfSource)
}

/// What an agent may use of a source.
fn granted<'a>(state: &'a NodeState, source: &'a Name, agent: &Name) -> impl Iterator<Item = &'a Credential> {
    let granted = state.policy.grants(agent).iter().filter_map(|grant| state.policy.credential(&grant.credential));
    granted.filter(move |credential| credential.source == *source)
}

async fn enter(source: &dyn Source, entrant: &dyn Entrant, sought: Option<&Wanted>) -> Result<Entered, SourceFault> {
    timeout(PATIENCE, source.try_entry(entrant, sought, &LoginsOnly)).await.map_err(|_| SourceFault::Unavailable)?
}

/// `passed`, or the first thing that is wrong: what lets others in counts more than that the agent is not let in.
fn judge(agent: &Result<Entered, SourceFault>, others: [&Option<Result<Entered, SourceFault>>; 2]) -> &'static str {
    let others = || others.into_iter().flatten();
    if others().any(Result::is_ok) {
        return "lets_others_in";
    }
    match agent {
        Err(SourceFault::Denied) => "refuses_agent",
        Err(fault) => fault.code(),
        Ok(Entered { found: Some(Err(fault)), .. }) => fault.code(),
        Ok(_) => match others().find_map(|tried| tried.as_ref().err().filter(|fault| !refuses(**fault))) {
            Some(_) => "not_tried",
            None => PASSED,
        },
    }
}

/// Whether the fault says that the login was refused; what could not be had cannot be shown either.
fn refuses(fault: SourceFault) -> bool {
    matches!(fault, SourceFault::Denied)
}

/// What binds a login to one identity, in the words of those who set the source up.
fn remedy(kind: &str, shown: &Shown, id: &SpiffeId) -> String {
    match (kind, shown) {
        ("openbao", Shown::X509) => format!("Bind its role to this agent alone: allowed_uri_sans={id}"),
        ("openbao", _) => format!("Bind its role to this agent alone: bound_subject={id} beside bound_audiences"),
        ("aws", _) => format!(
            "Bind the role to this agent alone: a condition on `sub` in its trust policy, StringEquals \"ISSUER:sub\": \"{id}\", beside the one on `aud`"
        ),
        _ => format!("Bind what it lets in to the subject {id}"),
    }
}

fn tell(came: Result<Entered, SourceFault>) -> api::Try {
    match came {
        Ok(Entered { seen_as, rights, found }) => api::Try {
            outcome: "let_in".to_owned(),
            seen_as: seen_as.unwrap_or_default(),
            rights: rights.into_iter().take(MOST_RIGHTS).collect(),
            found: found.map(tell_found),
            ..Default::default()
        },
        Err(fault) => api::Try {
            outcome: if refuses(fault) { "refused" } else { "not_tried" }.to_owned(),
            fault: fault.code().to_owned(),
            reason: fault.to_string(),
            ..Default::default()
        },
    }
}

fn tell_found(found: Result<Found, SourceFault>) -> api::Found {
    match found {
        Ok(Found::Value { bytes, version }) => api::Found {
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            version: version.unwrap_or_default(),
            ..Default::default()
        },
        Ok(Found::OnDemand) => api::Found { on_demand: true, ..Default::default() },
        Err(fault) => api::Found { fault: fault.code().to_owned(), reason: fault.to_string(), ..Default::default() },
    }
}

/// A login that is ended within the try, and ends by itself if the helper does not live to end it, is owed to nobody.
/// Nothing else may be taken.
struct LoginsOnly;

impl Obligations for LoginsOnly {
    fn record(&self, owed: Obligation) -> Doing<'_, ()> {
        let may = owed.kind == ObligationKind::Token;
        Box::pin(async move { if may { Ok(()) } else { Err(SourceFault::NotRecorded) } })
    }

    fn settled<'a>(&'a self, _: &'a Name, _: &'a str) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

const PASSED: &str = "passed";
/// For one way in.
const PATIENCE: Duration = Duration::from_secs(10);
/// Names of rights that are told.
const MOST_RIGHTS: usize = 64;
