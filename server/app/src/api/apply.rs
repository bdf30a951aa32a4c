//! What is written is made so, in one transaction: all of it, or nothing. What is so already is left alone, without an
//! event and without a new version.

use super::{create_agent, create_grant, put_credential};
use crate::app::{App, Change};
use crate::caller::Operator;
use crate::error::Failure;
use avouch_core::refusal::Invalid;
use avouch_core::{Agent, Credential, Grant};
use avouch_wire::admin::{self, resource::Kind};
use avouch_words::{IdPath, Name};
use std::collections::BTreeSet;

#[tracing::instrument(name = "admin.resources.apply", skip_all, fields(operator = %operator.name()))]
pub(super) async fn apply(
    app: &App,
    operator: Operator,
    request: admin::ApplyRequest,
) -> Result<admin::ApplyReply, Failure> {
    if request.resources.len() > MAX_RESOURCES {
        return Err(Invalid::new("resources", format!("at most {MAX_RESOURCES} at a time")).into());
    }
    let mut faults = Faults::default();
    let wanted = read(app, request.resources, &mut faults)?;
    let mut change = app.change().await?;
    refer(&mut change, &wanted, &mut faults).await?;
    if !faults.0.is_empty() {
        return Ok(admin::ApplyReply { faults: faults.0, ..Default::default() });
    }
    let mut applied = Vec::with_capacity(wanted.len());
    for (_, wanted) in &wanted {
        applied.push(compare(&mut change, wanted).await?);
    }
    let mut steps: Vec<_> = wanted.iter().map(|(_, wanted)| wanted).zip(&applied).collect();
    steps.retain(|(_, applied)| applied.action != UNCHANGED);
    if request.dry_run || steps.is_empty() {
        return Ok(admin::ApplyReply { applied, version: app.state().version, faults: Vec::new() });
    }
    // A grant refers to what may only just be made.
    steps.sort_by_key(|(wanted, _)| matches!(wanted, Wanted::Grant(_)));
    for (wanted, applied) in steps {
        make(&mut change, &operator, wanted, applied.action == CREATE).await?;
    }
    let version = change.new_version().await?;
    change.commit_and_settle().await?;
    Ok(admin::ApplyReply { applied, version, faults: Vec::new() })
}

/// One resource, good by itself.
enum Wanted {
    Agent(Box<Agent>),
    Credential(Box<Credential>),
    Grant(Grant),
}

/// All that is wrong, by the number of its resource.
#[derive(Default)]
struct Faults(Vec<admin::ApplyFault>);

impl Faults {
    fn add(&mut self, at: usize, fault: Invalid) {
        let resource = u32::try_from(at).unwrap_or(u32::MAX);
        self.0.push(admin::ApplyFault { resource, field: fault.field.to_owned(), fault: fault.fault });
    }
}

/// Each by itself, with its number.
fn read(app: &App, resources: Vec<admin::Resource>, faults: &mut Faults) -> Result<Vec<(usize, Wanted)>, Failure> {
    let mut wanted = Vec::with_capacity(resources.len());
    for (at, resource) in resources.into_iter().enumerate() {
        let read = match resource.kind {
            Some(Kind::Agent(agent)) => {
                create_agent::registration(app, agent).check_all(app.now()).map(|agent| Wanted::Agent(Box::new(agent)))
            }
            Some(Kind::Credential(admin::PutCredentialRequest { name, source, reference, binding, .. })) => {
                let credential = Credential::check(&name, &source, &reference, &binding, app.now());
                credential.map(|credential| Wanted::Credential(Box::new(credential))).map_err(|fault| vec![fault])
            }
            Some(Kind::Grant(admin::CreateGrantRequest { agent, credential })) => {
                let name = |field, text: &str| Name::parse(text).map_err(|fault| vec![Invalid::new(field, fault)]);
                let id = app.ulid()?;
                name("agent", &agent).and_then(|agent| {
                    let credential = name("credential", &credential)?;
                    Ok(Wanted::Grant(Grant { id, agent, credential, created: app.now() }))
                })
            }
            None => Err(vec![Invalid::new("kind", "is none that this issuer knows")]),
        };
        match read {
            Ok(read) => wanted.push((at, read)),
            Err(found) => found.into_iter().for_each(|fault| faults.add(at, fault)),
        }
    }
    Ok(wanted)
}

/// Nothing is written twice, and what a grant speaks of is there or is made with it.
async fn refer(change: &mut Change<'_>, wanted: &[(usize, Wanted)], faults: &mut Faults) -> Result<(), Failure> {
    let (mut agents, mut credentials, mut grants) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (at, wanted) in wanted {
        let (field, first) = match wanted {
            Wanted::Agent(agent) => ("name", agents.insert(&agent.name)),
            Wanted::Credential(credential) => ("name", credentials.insert(&credential.name)),
            Wanted::Grant(grant) => ("agent", grants.insert((&grant.agent, &grant.credential))),
        };
        if !first {
            faults.add(*at, Invalid::new(field, "is written twice"));
        }
    }
    let open = change.targets().await?;
    for (at, wanted) in wanted {
        if let Wanted::Agent(agent) = wanted
            && agent.id_path != IdPath::default()
            && open.iter().any(|open| open.agent == agent.name)
        {
            let fault = "is its own, and a vendor that is open to it knows /agent/{agent} alone";
            faults.add(*at, Invalid::new("id_path", fault));
        }
        let Wanted::Grant(grant) = wanted else { continue };
        if !agents.contains(&grant.agent) && change.agent(&grant.agent).await?.is_none() {
            faults.add(*at, Invalid::new("agent", format!("there is no agent {:?}", grant.agent.as_str())));
        }
        if !credentials.contains(&grant.credential) && change.credential(&grant.credential).await?.is_none() {
            let fault = format!("there is no credential {:?}", grant.credential.as_str());
            faults.add(*at, Invalid::new("credential", fault));
        }
    }
    Ok(())
}

/// What has to be done about it.
async fn compare(change: &mut Change<'_>, wanted: &Wanted) -> Result<admin::Applied, Failure> {
    let fields: Option<Vec<(&str, bool)>> = match wanted {
        Wanted::Agent(new) => change.agent(&new.name).await?.map(|old| {
            vec![
                ("owner", old.owner != new.owner),
                ("nodes", old.nodes != new.nodes),
                ("selectors", old.selectors != new.selectors),
                ("x509_ttl", old.x509_ttl != new.x509_ttl),
                ("jwt_ttl", old.jwt_ttl != new.jwt_ttl),
                ("id_path", old.id_path != new.id_path),
                ("hint", old.hint != new.hint),
                ("common_name", old.names.common != new.names.common),
                ("dns_names", old.names.dns != new.names.dns),
            ]
        }),
        Wanted::Credential(new) => change.credential(&new.name).await?.map(|old| {
            vec![
                ("source", old.source != new.source),
                ("reference", old.reference != new.reference),
                ("binding", old.binding.digest() != new.binding.digest()),
            ]
        }),
        Wanted::Grant(new) => change.grant(&new.agent, &new.credential).await?.map(|_| Vec::new()),
    };
    let Some(fields) = fields else {
        return Ok(admin::Applied { action: CREATE.to_owned(), fields: Vec::new() });
    };
    let fields: Vec<_> =
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field.to_owned()).collect();
    let action = if fields.is_empty() { UNCHANGED } else { CHANGE };
    Ok(admin::Applied { action: action.to_owned(), fields })
}

async fn make(change: &mut Change<'_>, operator: &Operator, wanted: &Wanted, new: bool) -> Result<(), Failure> {
    match wanted {
        Wanted::Agent(agent) if new => create_agent::create(change, operator, agent).await,
        Wanted::Agent(agent) => create_agent::update(change, operator, agent).await,
        Wanted::Credential(credential) => put_credential::put(change, operator, credential).await,
        Wanted::Grant(grant) => create_grant::grant_it(change, operator, grant).await,
    }
}

const CREATE: &str = "create";
const CHANGE: &str = "change";
const UNCHANGED: &str = "unchanged";
/// Resources of one request.
const MAX_RESOURCES: usize = 1000;
