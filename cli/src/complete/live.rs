//! Names as the issuer has them at this moment. Whoever presses a key waits for them, so they come within
//! [`PATIENCE`] or not at all, and nothing is said about why not.

use crate::endpoints::{Directories, Socket};
use avouch_contain::Profile;
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::admin::{
    ListAgentsRequest, ListCredentialsRequest, ListGrantsRequest, ListLocksRequest, ListNodesRequest, Node,
};
use avouch_wire::local::ListSourcesRequest;
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::tonic::transport::Channel;
use clap_complete::engine::CompletionCandidate;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// Registered agents.
pub fn agents() -> Vec<CompletionCandidate> {
    ask(async |mut issuer| {
        let reply = issuer.list_agents(ListAgentsRequest {}).await.ok()?.into_inner();
        Some(reply.agents.into_iter().map(|agent| (agent.name, agent.owner)).collect())
    })
}

/// Nodes.
pub fn nodes() -> Vec<CompletionCandidate> {
    ask(async |mut issuer| {
        let reply = issuer.list_nodes(ListNodesRequest {}).await.ok()?.into_inner();
        let name = |node: &Node| node.id.rsplit('/').next().unwrap_or_default().to_owned();
        Some(reply.nodes.iter().map(|node| (name(node), node.id.clone())).collect())
    })
}

/// Credentials.
pub fn credentials() -> Vec<CompletionCandidate> {
    ask(async |mut issuer| {
        let reply = issuer.list_credentials(ListCredentialsRequest {}).await.ok()?.into_inner();
        Some(reply.credentials.into_iter().map(|credential| (credential.name, credential.source)).collect())
    })
}

/// Sources of this node's helper.
pub fn sources() -> Vec<CompletionCandidate> {
    answer(async |directories| {
        let mut helper = HelperClient::new(directories.connect(Socket::Helper).await.ok()?);
        let reply = helper.list_sources(ListSourcesRequest {}).await.ok()?.into_inner();
        Some(reply.sources.into_iter().map(|source| (source.name, source.kind)).collect())
    })
}

/// IDs of grants, with what they grant.
pub fn grants() -> Vec<CompletionCandidate> {
    ask(async |mut issuer| {
        let reply = issuer.list_grants(ListGrantsRequest {}).await.ok()?.into_inner();
        let about = |agent: &str, credential: &str| format!("{agent} may use {credential}");
        Some(reply.grants.into_iter().map(|grant| (grant.id, about(&grant.agent, &grant.credential))).collect())
    })
}

/// IDs of locks in force, with whom they deny and why.
pub fn locks() -> Vec<CompletionCandidate> {
    ask(async |mut issuer| {
        let reply = issuer.list_locks(ListLocksRequest { all: false }).await.ok()?.into_inner();
        Some(reply.locks.into_iter().map(|lock| (lock.id, format!("{}: {}", lock.agent, lock.reason))).collect())
    })
}

/// What this node's helper owes to sources.
pub fn leases() -> Vec<CompletionCandidate> {
    answer(async |directories| {
        let mut helper = HelperClient::new(directories.connect(Socket::Helper).await.ok()?);
        let reply = helper.list_leases(avouch_wire::local::ListLeasesRequest {}).await.ok()?.into_inner();
        let about = |lease: &avouch_wire::local::Lease| format!("{} {}", lease.source, lease.credential);
        Some(reply.leases.into_iter().map(|lease| (lease.id.clone(), about(&lease))).collect())
    })
}

/// Presets, of which the program itself has the list.
pub fn presets() -> Vec<CompletionCandidate> {
    let all = crate::presets::all().unwrap_or_default().into_iter();
    all.map(|preset| CompletionCandidate::new(preset.name).help(Some(preset.title.into()))).collect()
}

/// Profiles of contained sessions: those built in and one's own.
pub fn profiles() -> Vec<CompletionCandidate> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    let files = Profile::directories(config).into_iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
    let own = files.flatten().filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".toml")?.to_owned()));
    let all: BTreeSet<_> = Profile::builtin_names().map(ToOwned::to_owned).chain(own.take(MOST)).collect();
    all.into_iter().filter(|name| is_plain(name)).map(CompletionCandidate::new).collect()
}

fn ask(question: impl AsyncFnOnce(AdminClient<Channel>) -> Option<Vec<(String, String)>>) -> Vec<CompletionCandidate> {
    answer(async |directories| question(AdminClient::new(directories.connect(Socket::Admin).await.ok()?)).await)
}

fn answer(question: impl AsyncFnOnce(Directories) -> Option<Vec<(String, String)>>) -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let answer = runtime.block_on(async {
        let asking = async { question(Directories::new(runtime_dir(std::env::args_os()))).await };
        tokio::time::timeout(PATIENCE, asking).await.ok().flatten()
    });
    let candidate = |(name, about): (String, String)| CompletionCandidate::new(name).help(Some(shown(&about).into()));
    answer.unwrap_or_default().into_iter().filter(|(name, _)| is_plain(name)).take(MOST).map(candidate).collect()
}

/// What `--runtime-dir` says on the line that is being completed.
fn runtime_dir(line: impl Iterator<Item = impl AsRef<OsStr>>) -> Option<PathBuf> {
    let mut words = line.map(|word| word.as_ref().to_owned());
    while let Some(word) = words.next() {
        if word == FLAG {
            return words.next().map(PathBuf::from);
        }
        if let Some(value) = word.to_str().and_then(|word| word.strip_prefix(FLAG)?.strip_prefix('=')) {
            return Some(PathBuf::from(value));
        }
    }
    None
}

/// Names and IDs are; a shell would read anything else its own way.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// What others wrote cannot steer a terminal, nor begin another candidate.
fn shown(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

const FLAG: &str = "--runtime-dir";
/// How long names may take.
const PATIENCE: Duration = Duration::from_millis(300);
/// Candidates offered at once.
const MOST: usize = 500;
/// Letters of what is said about a name.
const LONGEST: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_of_the_line_says_where_to_ask() {
        let dir = |line: &str| runtime_dir(line.split(' '));
        assert_eq!(dir("avouch --runtime-dir /x agent list"), Some("/x".into()));
        assert_eq!(dir("avouch lock --runtime-dir=/y list"), Some("/y".into()));
        assert_eq!((dir("avouch --runtime-dir"), dir("avouch agent list")), (None, None));
    }

    #[test]
    fn a_name_that_a_shell_could_read_otherwise_is_not_offered() {
        for (name, plain) in [("a-b_c.1", true), ("", false), ("$(id)", false), ("a b", false), ("a\nb", false)] {
            assert_eq!(is_plain(name), plain, "{name:?}");
        }
        assert_eq!(shown("x\u{1b}[2J\ny"), "x\u{fffd}[2J\u{fffd}y");
    }
}
