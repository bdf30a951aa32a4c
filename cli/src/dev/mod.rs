//! `dev`: issuer, helper and a tool to try, in one process, for one user. The same code as `server` and `helper`
//! with other places; state is kept, and a run begins where the last one ended.

mod greeting;
mod hold;
mod tool;

use crate::daemon;
use crate::endpoints::{self, Socket};
use crate::failure::{Exit, Failure};
use crate::output::{Output, talk};
use crate::{progress, replies};
use avouch_config::{
    Contain, HelperConfig, JoinToken, Log, LogLevel, Paths, ServerConfig, StartError, lifecycle, make_private_dir,
    telemetry,
};
use avouch_contain::{Ability, Found, Host};
use avouch_helper::Helper;
use avouch_server::Issuer;
use avouch_wire::admin::CreateTokenRequest;
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::local::StatusRequest;
use avouch_wire::local::helper_client::HelperClient;
use avouch_words::{SystemClock, TrustDomain};
use greeting::Greeting;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Runs until a signal ends it.
pub fn run(output: Output) -> Result<(), Failure> {
    daemon::prepare()?;
    let paths = Paths::user().ok_or(StartError::NoPlace)?;
    make_private_dir(&paths.state).map_err(|fault| StartError::Directory { path: paths.state.clone(), fault })?;
    let _held = hold::Hold::take(&paths.state.join("dev.lock"))?;
    let log = Log { level: LogLevel::Warn, ..Log::default() };
    telemetry::init(log)?;
    // Before there is a second thread.
    let uncontained = lacks(&Host::look());
    daemon::runtime()?.block_on(serve(&paths, log, output, uncontained))
}

/// Why this host contains nothing, if that is so.
fn lacks(host: &Host) -> Option<String> {
    let missing = |ability: &&Ability| ability.needed && matches!(ability.found, Found::No(_));
    let first = host.abilities().iter().find(missing);
    let why = first.map(|ability| match &ability.found {
        Found::No(why) => why.clone(),
        Found::Yes(_) | Found::Unknown => ability.name.to_owned(),
    });
    (!host.contains()).then(|| why.unwrap_or_else(|| "it was not found out why".to_owned()))
}

async fn serve(paths: &Paths, log: Log, output: Output, uncontained: Option<String>) -> Result<(), Failure> {
    let stop = lifecycle::shutdown_on_signals().map_err(daemon::internal)?;
    let trust_domain = TrustDomain::parse(TRUST_DOMAIN).map_err(|e| Failure::new(Exit::Failure, e.to_string()))?;
    let mut settings = ServerConfig::new(trust_domain.clone(), paths);
    settings.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    settings.session_roots = vec![daemon::make_session_roots(paths)?];
    settings.log = log;
    let issuer = Issuer::build(settings, Arc::new(SystemClock)).await?;
    let (address, admin_socket) = (issuer.address(), issuer.admin_socket().to_owned());
    let stop_issuer = CancellationToken::new();
    let mut issuer = tokio::spawn(issuer.run(stop_issuer.clone()));
    let mut settings = HelperConfig::new(trust_domain, address.to_string(), paths);
    settings.log = log;
    settings.session.contain = Contain::Required;
    let helper = progress::during("Joining the trust domain", join(settings, paths, &admin_socket)).await?;
    let tool = tool::LocalTool::open(&paths.state.join("tool"), &SystemClock).await?;
    let greeting = Greeting::new(paths, &admin_socket, &tool, uncontained);
    let helper_socket = helper.admin_socket().to_owned();
    let greet = async {
        progress::during("Waiting for the helper to hear from the issuer", ready(&helper_socket)).await?;
        output.tell(|| greeting.text(), || greeting.json())?;
        std::future::pending::<Result<(), Failure>>().await
    };
    let outcome = tokio::select! {
        ended = helper.run(stop.clone()) => ended.map_err(|error| ended_badly("helper", &error)),
        ended = &mut issuer => {
            return Err(match ended {
                Ok(Err(error)) => ended_badly("issuer", &error),
                Ok(Ok(())) | Err(_) => ended_badly("issuer", &"it stopped by itself"),
            });
        }
        ended = tool.server.run() => Err(match ended {
            Err(error) => ended_badly("local tool", &error),
            Ok(()) => ended_badly("local tool", &"it stopped by itself"),
        }),
        failed = greet => failed,
    };
    // The helper was first, so that its last records are in the log.
    stop_issuer.cancel();
    match issuer.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(ended_badly("issuer", &error)),
        Err(error) => return Err(ended_badly("issuer", &error)),
    }
    outcome?;
    talk("Stopped. The state is kept; `avouch dev` goes on with it.");
    Ok(())
}

/// The helper, as this node if it has joined before; else it joins now, with a token of its own.
async fn join(settings: HelperConfig, paths: &Paths, admin_socket: &Path) -> Result<Helper, Failure> {
    match Helper::build(settings.clone(), Arc::new(SystemClock)).await {
        // It never was a node, or its SVID ran out while nothing ran here.
        Err(StartError::NotJoined | StartError::SvidExpired | StartError::Refused { .. }) => {}
        other => return Ok(other?),
    }
    let mut admin = AdminClient::new(endpoints::connect(admin_socket, Socket::Admin).await?);
    let request = CreateTokenRequest { node: NODE.to_owned(), ttl_seconds: TOKEN_TTL };
    let token = admin.create_token(request).await.map_err(|status| replies::failure(&status))?.into_inner().token;
    let file = paths.state.join("join.token");
    // Of a run that was killed in between; that token was never used.
    let _ = std::fs::remove_file(&file);
    crate::files::create_private(&file, format!("{token}\n").as_bytes())?;
    let settings = HelperConfig { join_token: Some(JoinToken::File(file.clone())), ..settings };
    let joined = Helper::build(settings, Arc::new(SystemClock)).await;
    let _ = std::fs::remove_file(&file);
    Ok(joined?)
}

/// Waits until the helper has the issuer's state, so that whatever is printed then works at once.
async fn ready(helper_socket: &Path) -> Result<(), Failure> {
    let mut helper = HelperClient::new(endpoints::connect(helper_socket, Socket::Helper).await?);
    for _ in 0..READY_TRIES {
        let status = helper.status(StatusRequest {}).await.map_err(|status| replies::failure(&status))?;
        if status.into_inner().injecting {
            return Ok(());
        }
        tokio::time::sleep(READY_STEP).await;
    }
    Err(Failure::new(Exit::Timeout, "the helper did not get ready").then("Look at what it said above."))
}

fn ended_badly(part: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("the {part} ended: {error}"))
        .then("Look at what it said above, and start again.")
}

/// The trust domain of every `dev`.
pub const TRUST_DOMAIN: &str = "dev.test";
const NODE: &str = "dev";
/// How often, and how many times, the helper is asked whether it is ready: for 10 s.
const READY_STEP: Duration = Duration::from_millis(20);
const READY_TRIES: u32 = 500;
/// Seconds a join token has to be used in.
const TOKEN_TTL: u32 = 60;
