//! Why a decision fell as it did: what the log holds about it, and what would be decided now and would change that.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use crate::state::State;
use avouch_audit::entry::{Body, Entry};
use avouch_audit::record::{self, HelperEvent};
use avouch_core::refusal::Invalid;
use avouch_core::{LockTarget, Node, Refusal, node};
use avouch_policy::why::{Change, NearMiss, Now, Why, why as judge};
use avouch_policy::{self as policy, Caller, CanonicalRequest, Origin, StateParts};
use avouch_store::Read;
use avouch_wire::admin;
use avouch_words::{Name, Selector, SpiffeId, Ulid, counts_as};
use std::collections::BTreeSet;
use std::sync::Arc;

#[tracing::instrument(name = "admin.decision.why", skip_all, fields(operator = %operator.name()))]
pub(super) async fn why(app: &App, operator: Operator, request: admin::WhyRequest) -> Result<admin::WhyReply, Failure> {
    let decision = Ulid::parse(&request.decision)
        .map_err(|_| Invalid::new("decision", "a decision's id is 26 letters and digits, as the agent was shown it"))?;
    let mut read = app.store.read().await?;
    let entries = read.entries_about(decision, MOST_ENTRIES).await?;
    let mut told = None;
    for entry in &entries {
        if told.is_none() {
            told = asked(&entry.bytes);
        }
    }
    let Some(Told { caller, request, writer }) = told else {
        return Err(Refusal::NotFound { kind: "record of decision", name: decision.to_string() }.into());
    };
    let contained = match caller.session {
        Some(session) => session_of(&mut read, &writer, session).await?,
        None => Session::default(),
    };
    let state = app.state();
    let now = match read.node_by_id(&writer).await? {
        Some(node) => {
            let caller = Caller {
                agent: caller.agent,
                instance: caller.instance,
                session: caller.session.unwrap_or(decision),
                facts: Arc::new(contained.facts),
                contained: !contained.profile.is_empty(),
            };
            let again = request.as_ref().and_then(canonical);
            again.map(|request| judgement(&judge(&parts(&state, &node), &caller, &request, app.now()), &state))
        }
        None => None,
    };
    let entries = entries.into_iter().map(|entry| entry.bytes).collect();
    Ok(admin::WhyReply { entries, now, contained: contained.profile })
}

/// What the record of a decision tells of the call.
struct Told {
    caller: record::Caller,
    request: Option<record::Request>,
    writer: SpiffeId,
}

fn asked(entry: &[u8]) -> Option<Told> {
    let Entry { writer, body: Body::Record(record), .. } = Entry::decode(entry).ok()? else { return None };
    match record.event {
        HelperEvent::Intent { caller, request, .. } => Some(Told { caller, request: Some(request), writer }),
        HelperEvent::Denied { caller, request, .. } => Some(Told { caller, request, writer }),
        _ => None,
    }
}

/// What is on record about a session.
#[derive(Default)]
struct Session {
    profile: String,
    facts: BTreeSet<Selector>,
}

/// What the helper knew of a session, from the records of that node: one inside another has no fact that the outer has
/// not.
async fn session_of(read: &mut Read, node: &SpiffeId, session: Ulid) -> Result<Session, Failure> {
    let mut found = Session::default();
    let mut walls: Option<Vec<Name>> = None;
    let mut next = Some(session);
    for _ in 0..DEEPEST {
        let Some(session) = next else { break };
        let entries = read.entries_about(session, MOST_ENTRIES).await?;
        let Some(opened) = entries.iter().find_map(|entry| opened(&entry.bytes, node)) else { break };
        let profiles = opened.contained.as_ref().map(counts_as).unwrap_or_default();
        if walls.is_none() {
            found.profile = opened.contained.as_ref().map(ToString::to_string).unwrap_or_default();
            found.facts.extend(fact(format!("session:agent:{}", opened.agent)));
        }
        walls = Some(match walls {
            None => profiles,
            Some(inner) => inner.into_iter().filter(|profile| profiles.contains(profile)).collect(),
        });
        next = opened.within;
        if next.is_none() {
            found.facts.extend(fact(format!("session:uid:{}", opened.uid)));
        }
    }
    let walls = walls.into_iter().flatten();
    found.facts.extend(walls.filter_map(|profile| fact(format!("session:contained:{profile}"))));
    Ok(found)
}

fn fact(text: String) -> Option<Selector> {
    Selector::parse(&text).ok()
}

/// What is on record of a session's beginning.
struct Opened {
    agent: Name,
    uid: u32,
    contained: Option<Name>,
    within: Option<Ulid>,
}

fn opened(entry: &[u8], node: &SpiffeId) -> Option<Opened> {
    let Entry { writer, body: Body::Record(record), .. } = Entry::decode(entry).ok()? else { return None };
    match record.event {
        HelperEvent::SessionOpened { agent, uid, contained, within, .. } if writer == *node => {
            Some(Opened { agent, uid, contained, within })
        }
        _ => None,
    }
}

/// The request as it was judged, if the record holds all of it: what is long was cut.
fn canonical(request: &record::Request) -> Option<CanonicalRequest> {
    let origin = format!("{}://{}:{}", request.scheme.as_str(), request.host.as_str(), request.port);
    let origin = Origin::parse(&origin).ok()?;
    let target = match request.query_keys.as_str() {
        "" => request.path.as_str().to_owned(),
        keys => format!("{}?{keys}", request.path.as_str()),
    };
    let method = request.method.as_str().as_bytes();
    CanonicalRequest::from_origin_form(origin, method, target.as_bytes(), policy::Body::None).ok()
}

/// The agents of this node, and everything that could be granted to them.
fn parts(state: &State, node: &Node) -> StateParts {
    let world = &state.world;
    let here = node::admit(node).is_ok();
    let agents = world.agents.iter().filter(|agent| here && node::matches(node, &agent.nodes));
    StateParts {
        version: state.version,
        epoch: state.epoch.to_vec(),
        agents: agents
            .map(|agent| policy::Agent { name: agent.name.clone(), state: policy::AgentState::Active })
            .collect(),
        credentials: world
            .credentials
            .iter()
            .map(|credential| policy::Credential {
                name: credential.name.clone(),
                source: credential.source.clone(),
                reference: credential.reference.clone(),
                binding: credential.binding.clone(),
            })
            .collect(),
        grants: world
            .grants
            .iter()
            .map(|grant| policy::Grant {
                id: grant.id,
                agent: grant.agent.clone(),
                credential: grant.credential.clone(),
            })
            .collect(),
        locks: world.locks.iter().map(lock).collect(),
        bound_origins: world.credentials.iter().map(|credential| credential.binding.origin().clone()).collect(),
        reserved_audiences: Vec::new(),
    }
}

fn lock(lock: &avouch_core::Lock) -> policy::Lock {
    let LockTarget::Agent(agent) = &lock.target;
    policy::Lock { id: lock.id, target: policy::LockTarget::Agent(agent.clone()), expires: lock.expires }
}

fn judgement(why: &Why, state: &State) -> admin::Judgement {
    let (verdict, rule, reason) = match &why.now {
        Now::Allowed(_) => ("allowed", "", String::new()),
        Now::Denied(reason) => ("denied", reason.rule(), reason.to_string()),
        Now::Unbound => ("unbound", "", String::new()),
    };
    admin::Judgement {
        verdict: verdict.to_owned(),
        rule: rule.to_owned(),
        reason,
        misses: why.misses.iter().take(MOST_MISSES).map(miss).collect(),
        changes: why.changes.iter().map(|one| change(one, state)).collect(),
        enough: why.enough,
    }
}

fn miss(miss: &NearMiss) -> admin::Miss {
    admin::Miss {
        credential: miss.credential.to_string(),
        granted: miss.granted,
        mismatch: miss.mismatch.map_or("", policy::binding::Mismatch::as_str).to_owned(),
        binding: miss.binding.canonical_json().to_vec(),
    }
}

fn change(change: &Change, state: &State) -> admin::Change {
    use admin::change::Kind;
    let bind = |name: &Name, binding: &policy::Binding, replaces| {
        let there = state.world.credentials.iter().find(|credential| replaces && credential.name == *name);
        admin::Bind {
            credential: name.to_string(),
            binding: binding.canonical_json().to_vec(),
            replaces,
            source: there.map(|credential| credential.source.to_string()).unwrap_or_default(),
            reference: there.map(|credential| credential.reference.to_string()).unwrap_or_default(),
        }
    };
    let kind = match change {
        Change::ReleaseLock(id) => Kind::ReleaseLock(id.to_string()),
        Change::Grant(credential) => Kind::Grant(credential.to_string()),
        Change::Bind { credential, binding } => Kind::Bind(bind(credential, binding, false)),
        Change::Widen { credential, binding } => Kind::Bind(bind(credential, binding, true)),
        Change::DeleteGrant(id) => Kind::DeleteGrant(id.to_string()),
        Change::Require(fact) => Kind::Require(fact.to_string()),
    };
    admin::Change { kind: Some(kind) }
}

/// Entries of one decision that are looked at: an intent with its outcome, and room for those of a node that lies.
const MOST_ENTRIES: u32 = 16;
/// How deep sessions are followed into those that they were opened inside of.
const DEEPEST: usize = 8;
/// Near misses that are told.
const MOST_MISSES: usize = 8;
