//! `status`: one screen with what runs here, who it is, what it may use, what was refused lately and what ends soon.

mod screen;
mod script;

use super::Context;
use crate::endpoints::Socket;
use crate::failure::{Exit, Failure};
use crate::replies;
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::tonic::transport::Channel;
use avouch_wire::{admin, local};
use avouch_words::Millis;
use std::time::Duration;

/// A daemon of this host.
enum Part<T> {
    /// It does not run here.
    Absent,
    /// It runs, and gave no answer.
    Silent(Failure),
    /// It runs.
    Here(Box<T>),
}

/// What the issuer says.
struct Issuer {
    status: admin::StatusReply,
    nodes: Vec<admin::Node>,
    agents: Vec<admin::Agent>,
    grants: Vec<admin::Grant>,
    locks: Vec<admin::Lock>,
    instances: Vec<admin::Instance>,
    refusals: Vec<admin::Refusal>,
}

/// What the helper says.
struct Helper {
    status: local::StatusReply,
    sessions: Vec<local::Session>,
}

/// Something that has an end.
struct Ending {
    what: String,
    at: Millis,
}

/// Shows whichever of the two runs here; fails if one of them does not answer.
pub async fn run(context: &Context) -> Result<(), Failure> {
    let (issuer, helper) = tokio::join!(part(context, Socket::Admin, issuer), part(context, Socket::Helper, helper));
    if matches!((&issuer, &helper), (Part::Absent, Part::Absent)) {
        // Says where it was looked for.
        context.directories.find(Socket::Admin)?;
    }
    let now = context.output.now();
    context.output.tell(|| screen::all(&issuer, &helper, now), || script::all(&issuer, &helper, now))?;
    match (issuer, helper) {
        (Part::Silent(failure), _) | (_, Part::Silent(failure)) => Err(failure),
        _ => Ok(()),
    }
}

async fn part<T>(context: &Context, socket: Socket, ask: impl AsyncFnOnce(Channel) -> Result<T, Failure>) -> Part<T> {
    if context.directories.find(socket).is_err() {
        return Part::Absent;
    }
    let asked = async { ask(context.directories.connect(socket).await?).await };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(told)) => Part::Here(Box::new(told)),
        Ok(Err(failure)) => Part::Silent(failure),
        Err(_) => Part::Silent(Failure::new(Exit::Timeout, format!("the {} does not answer", socket.owner()))),
    }
}

async fn issuer(channel: Channel) -> Result<Issuer, Failure> {
    let mut admin = AdminClient::new(channel);
    let failed = |status| replies::failure(&status);
    Ok(Issuer {
        status: admin.status(admin::StatusRequest {}).await.map_err(failed)?.into_inner(),
        nodes: admin.list_nodes(admin::ListNodesRequest {}).await.map_err(failed)?.into_inner().nodes,
        agents: admin.list_agents(admin::ListAgentsRequest {}).await.map_err(failed)?.into_inner().agents,
        grants: admin.list_grants(admin::ListGrantsRequest {}).await.map_err(failed)?.into_inner().grants,
        locks: admin.list_locks(admin::ListLocksRequest { all: false }).await.map_err(failed)?.into_inner().locks,
        instances: admin.list_instances(admin::ListInstancesRequest {}).await.map_err(failed)?.into_inner().instances,
        refusals: admin
            .list_refusals(admin::ListRefusalsRequest { limit: 0 })
            .await
            .map_err(failed)?
            .into_inner()
            .refusals,
    })
}

async fn helper(channel: Channel) -> Result<Helper, Failure> {
    let mut helper = HelperClient::new(channel);
    let failed = |status| replies::failure(&status);
    Ok(Helper {
        status: helper.status(local::StatusRequest {}).await.map_err(failed)?.into_inner(),
        sessions: helper.list_sessions(local::ListSessionsRequest {}).await.map_err(failed)?.into_inner().sessions,
    })
}

impl Issuer {
    /// The credentials that an agent has grants of.
    fn may_use(&self, agent: &str) -> Vec<String> {
        self.grants.iter().filter(|grant| grant.agent == agent).map(|grant| grant.credential.clone()).collect()
    }

    /// The first lock in force on an agent.
    fn lock_on(&self, agent: &str) -> Option<&admin::Lock> {
        self.locks.iter().find(|lock| lock.agent == agent)
    }

    /// What ends by itself, or should have been renewed by now; the soonest first.
    fn endings(&self, now: Millis) -> Vec<Ending> {
        let soon = |at: i64, within: Duration| at > 0 && at <= now.plus(within).0;
        let nodes = self.nodes.iter().filter(|node| soon(node.svid_expires_ms, NODE_WARNING)).map(|node| Ending {
            what: format!("the SVID of {}, which should have been renewed", node.id),
            at: Millis(node.svid_expires_ms),
        });
        let keys = self.status.authorities.iter().filter(|key| key.state == ACTIVE);
        let keys = keys
            .filter(|key| soon(key.not_after_ms, KEY_WARNING))
            .map(|key| Ending { what: format!("the {} key that signs", key.purpose), at: Millis(key.not_after_ms) });
        let locks = self.locks.iter().filter(|lock| lock.expires_ms > 0).map(|lock| Ending {
            what: format!("the lock on {} ({})", lock.agent, lock.id),
            at: Millis(lock.expires_ms),
        });
        let mut endings: Vec<Ending> = nodes.chain(keys).chain(locks).collect();
        endings.sort_by_key(|ending| ending.at);
        endings
    }
}

/// Whether a helper injects, and why not.
fn injecting(status: &local::StatusReply) -> String {
    match (status.injecting, status.held_by.as_str()) {
        (true, _) => "injecting".to_owned(),
        (false, "") => "not injecting".to_owned(),
        (false, held_by) => format!("not injecting ({held_by})"),
    }
}

/// How long either may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The state of a key that signs.
const ACTIVE: &str = "active";
/// A node renews its SVID at half of its life; with so little left of it, it did not.
const NODE_WARNING: Duration = Duration::from_secs(10 * 60);
/// Keys are followed by others well before this.
const KEY_WARNING: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests;
