//! Looking. Everything has a deadline, and what cannot be seen is said so; nothing is judged here.

mod disks;
mod programs;
mod session;
mod sockets;

use super::scene::{Answer, Identity, Issuer, Lacking, PeerProcess, Scene};
use crate::endpoints::{Directories, Socket};
use crate::workload::Client;
use avouch_config::{HelperConfig, LastFault, Paths, StartError};
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::admin::{self, ListAgentsRequest, ListNodesRequest};
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::local::{StatusReply, StatusRequest};
use avouch_wire::tonic::transport::Channel;
use avouch_wire::tonic::{Code, Status};
use avouch_wire::{Message as _, issuer as wire};
use avouch_words::Millis;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Tries what this host gives to contained sessions, outside one. It wants the main thread with no other beside it.
pub fn host() -> Option<Vec<Lacking>> {
    let variables = std::env::vars_os().filter_map(|(_, value)| value.into_string().ok());
    if variables.map(|value| session::files_of(&value)).any(|files| files.is_some()) {
        return None;
    }
    let host = avouch_contain::Host::look();
    let lacking = |ability: &avouch_contain::Ability| match &ability.found {
        avouch_contain::Found::No(why) => Some(Lacking {
            name: ability.name,
            needed: ability.needed,
            why: why.clone(),
            fix: ability.fix.clone().unwrap_or_default(),
        }),
        avouch_contain::Found::Yes(_) | avouch_contain::Found::Unknown => None,
    };
    Some(host.abilities().iter().filter_map(lacking).collect())
}

/// Looks at everything else once.
pub async fn look(directories: &Directories, now: Millis, host: Option<Vec<Lacking>>) -> Scene {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment = environment.collect();
    let session = session::look(&environment).await;
    let helper = ask(directories, Socket::Helper, status).await;
    let issuer = ask(directories, Socket::Admin, issuer).await;
    let doors: Vec<_> = [(Socket::Session, false), (Socket::Workload, true)]
        .into_iter()
        .filter_map(|(socket, quiet)| Some(sockets::door(&present(directories, socket)?, quiet)))
        .collect();
    let workload = directories.find(Socket::Workload).ok();
    let silent = matches!(helper, Answer::Absent(_) | Answer::Dead(_) | Answer::Silent(_));
    let paths = paths(directories);
    Scene {
        now,
        uid: rustix::process::geteuid().as_raw(),
        node: programs::node_version(&environment).await,
        session,
        host,
        doors,
        peer: workload.as_ref().and_then(|socket| peer_process(socket)),
        identity: match workload {
            Some(socket) => identity(&socket).await,
            None => Identity::Unasked,
        },
        start_fault: if silent { start_fault(directories, &paths) } else { None },
        disks: disks::look(&places(directories, &paths)),
        system_roots: SYSTEM_ROOTS.iter().map(PathBuf::from).find(|file| std::fs::File::open(file).is_ok()),
        environment,
        helper,
        issuer,
    }
}

/// Asks a daemon, and sorts what comes of it.
async fn ask<T>(
    directories: &Directories,
    socket: Socket,
    question: impl AsyncFnOnce(Channel) -> Result<T, Status>,
) -> Answer<T> {
    let path = match directories.find(socket) {
        Ok(path) => path,
        Err(_) => return Answer::Absent(directories.to_string()),
    };
    match std::os::unix::net::UnixStream::connect(&path).map_err(|error| error.kind()) {
        Ok(_) => {}
        Err(std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound) => return Answer::Dead(path),
        // The socket is its operators' alone.
        Err(std::io::ErrorKind::PermissionDenied) => return Answer::Refused("not_operator".to_owned()),
        Err(kind) => return Answer::Silent(kind.to_string()),
    }
    let asking = async {
        let channel = crate::endpoints::connect(&path, socket).await.map_err(|failure| failure.to_string())?;
        question(channel).await.map_err(|status| match status.code() {
            Code::PermissionDenied => code(&status),
            _ => String::from(status.message()),
        })
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(said)) => Answer::Said(said),
        Ok(Err(why)) if [super::scene::INSIDE, "not_operator"].contains(&why.as_str()) => Answer::Refused(why),
        Ok(Err(why)) => Answer::Silent(why),
        Err(_) => Answer::Silent("it took too long".to_owned()),
    }
}

/// The stable code of a refusal.
fn code(status: &Status) -> String {
    wire::Refusal::decode(status.details()).unwrap_or_default().code
}

async fn status(channel: Channel) -> Result<StatusReply, Status> {
    Ok(HelperClient::new(channel).status(StatusRequest {}).await?.into_inner())
}

async fn issuer(channel: Channel) -> Result<Issuer, Status> {
    let mut client = AdminClient::new(channel);
    Ok(Issuer {
        status: client.status(admin::StatusRequest {}).await?.into_inner(),
        agents: client.list_agents(ListAgentsRequest {}).await?.into_inner().agents,
        nodes: client.list_nodes(ListNodesRequest {}).await?.into_inner().nodes,
    })
}

async fn identity(socket: &Path) -> Identity {
    let asking = async {
        let mut client = Client::connect(socket).await?;
        client.x509().await
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(served)) => Identity::Known(served.into_iter().map(|one| one.id).collect()),
        Ok(Err(failure)) if failure.code() == crate::failure::Exit::NotAttested as u8 => Identity::Nobody,
        Ok(Err(failure)) => Identity::Silent(failure.to_string()),
        Err(_) => Identity::Silent("it took too long".to_owned()),
    }
}

fn peer_process(socket: &Path) -> Option<PeerProcess> {
    let stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    let credentials = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).ok()?;
    let pid = credentials.pid();
    let namespace = |of: String| std::fs::read_link(format!("/proc/{of}/ns/pid")).ok();
    let same_namespace =
        namespace(pid.to_string()).zip(namespace("self".to_owned())).map(|(theirs, ours)| theirs == ours);
    Some(PeerProcess { pid, same_namespace })
}

/// Where a socket is, or would be behind a directory that this user may not pass.
fn present(directories: &Directories, socket: Socket) -> Option<PathBuf> {
    let kind = |path: &PathBuf| std::fs::symlink_metadata(path).map(drop).map_err(|error| error.kind());
    let hidden = || directories.places(socket).find(|path| kind(path) == Err(std::io::ErrorKind::PermissionDenied));
    directories.find(socket).ok().or_else(hidden)
}

/// The places of whoever's helper is here: the one whose socket is found, else all that hold something of avouch.
fn paths(directories: &Directories) -> Vec<Paths> {
    let all: Vec<_> = Paths::user().into_iter().chain([Paths::system()]).collect();
    let found = directories.find(Socket::Helper).ok();
    let of_found = |paths: &&Paths| found.as_ref().is_some_and(|socket| socket.starts_with(&paths.runtime));
    match all.iter().find(of_found) {
        Some(one) => vec![one.clone()],
        None => {
            all.into_iter().filter(|paths| paths.helper_state().exists() || paths.helper_config().exists()).collect()
        }
    }
}

/// What the last start has said; else what a start would say of the settings now.
fn start_fault(directories: &Directories, paths: &[Paths]) -> Option<LastFault> {
    let noted = directories.iter().flat_map(|dir| [dir.join("helper"), dir.clone()]);
    let unread = |paths: &Paths| match HelperConfig::load(&paths.helper_config(), paths) {
        Err(error @ StartError::Config(_)) => Some(LastFault::from(&error)),
        _ => None,
    };
    noted.filter_map(|dir| LastFault::read(&dir)).next().or_else(|| paths.iter().find_map(unread))
}

/// Where the helper writes.
fn places(directories: &Directories, paths: &[Paths]) -> Vec<PathBuf> {
    let settings =
        |paths: &Paths| HelperConfig::load(&paths.helper_config(), paths).ok().map(|settings| settings.state_dir);
    let state = paths.iter().map(|paths| settings(paths).unwrap_or_else(|| paths.helper_state()));
    let runtime = directories.iter().map(|dir| dir.join("helper")).find(|dir| dir.exists());
    state.chain(runtime).collect()
}

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where distributions keep what the machine trusts.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
