//! How a helper comes to be: directories, sockets, spool, sealed store, the join, and then everything that runs.

use crate::attest::Attestor;
use crate::broker::{self, Broker, Entrances, PolicyHandle, SystemResolver};
use crate::cache::{Cache, Keeper, Restored};
use crate::contact::Contact;
use crate::ending::{Ending, MOST_WAITING};
use crate::enforce::Enforcer;
use crate::enrol::{self, internal};
use crate::freshness::Freshness;
use crate::helper::{Helper, Sockets, Task};
use crate::identity::Identities;
use crate::identity::brokered::BrokeredSvids;
use crate::identity::instance::Instances;
use crate::identity::jwt::JwtSvids;
use crate::intercept::{Proxy, SystemRoots};
use crate::issuer::Link;
use crate::journal::Journal;
use crate::leases::{self, Leases};
use crate::limit::UidLimit;
use crate::local::{self, Local};
use crate::metrics::{Counted, CountedSigner, Tally, Telling};
use crate::node_files::NodeFiles;
use crate::peer::{self, Connection};
use crate::ready::Ready;
use crate::rejoin::Rejoin;
use crate::renew::Renewal;
use crate::session::{Door, Places, SessionFiles, SessionProxy, Sessions};
use crate::ship::Shipper;
use crate::sources;
use crate::spool::{Spool, SpoolFault};
use crate::stale::StaleWatch;
use crate::sync::Follower;
use crate::workload::{self, CALLS_AT_ONCE, CALLS_PER_SECOND, Gate, Reveals, STREAMS, STREAMS_OF_UID, Workload};
use avouch_audit::field::Outside;
use avouch_audit::record::HelperEvent;
use avouch_config::{self as config, Health, HelperConfig, LastFault, Owner, Readiness, StartError};
use avouch_sources::{SealedStore, Source};
use avouch_wire::local::helper_server::HelperServer;
use avouch_wire::local::reveals_server::RevealsServer;
use avouch_wire::tls;
use avouch_wire::unix::{self, Slots, Taken, roots};
use avouch_wire::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use avouch_words::{Bundles, Clock, Name, SpiffeId};
use futures_util::{FutureExt, Stream};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Router;

impl Helper {
    /// Takes the directories, the sockets and the spool, and joins the trust domain if that has not been done.
    pub async fn build(config: HelperConfig, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let runtime_dir = config.runtime_dir.clone();
        let built = Self::take(config, clock).await;
        LastFault::note(&runtime_dir, built.as_ref().err());
        built
    }

    async fn take(config: HelperConfig, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        config::make_private_dir(&config.state_dir).map_err(StartError::directory(&config.state_dir))?;
        config::make_shared_dir(&config.runtime_dir).map_err(StartError::directory(&config.runtime_dir))?;
        // First of all: a second helper on the same state stops here, and has touched nothing (U14).
        let spool = open_spool(&config.state_dir.join(config::SPOOL_DIR), clock.clone()).await?;
        let taken = Self::with(spool.clone(), config, clock).await;
        if taken.is_err() {
            // Its thread has it until it ends: whoever starts again at once shall not find it taken.
            spool.close().await;
        }
        taken
    }

    async fn with(spool: Spool, config: HelperConfig, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let runtime = |name: &str| config.runtime_dir.join(name);
        let sockets = Sockets {
            workload: runtime(config::WORKLOAD_SOCKET),
            session: runtime(config::SESSION_SOCKET),
            admin: runtime(config::HELPER_SOCKET),
        };
        let workload_listener = listen(&sockets.workload, FOR_ALL)?;
        let session_listener = listen(&sockets.session, FOR_ALL)?;
        let ours = rustix::process::geteuid().as_raw();
        let only_us = config.operators.iter().all(|operator| operator.uid == ours);
        let admin_listener = listen(&sockets.admin, if only_us { FOR_US } else { FOR_ALL })?;
        let health = config.health.map(Health::bind).transpose()?;
        let places = Places {
            workload_socket: sockets.workload.clone(),
            roots: runtime(config::ROOTS_DIR),
            sessions: runtime(config::SESSIONS_DIR),
            hidden: hidden(&config),
        };
        prepare(&places).map_err(|error| internal("the runtime directory cannot be prepared", error))?;
        let sealed = Arc::new(open_sealed(&config)?);
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let mut sources: Vec<Arc<dyn Source>> = vec![sealed.clone()];
        sources.extend(sources::build(&config, credentials.as_deref(), &clock)?);
        let files = NodeFiles::in_directory(&config.state_dir);
        let joined = enrol::join(&config, &files, &clock).await?;
        let node = joined.identity.svid.id().clone();

        let tally = Arc::new(Tally::default());
        let counted = Arc::new(Counted { to: spool.clone(), tally: tally.clone() });
        let journal = Journal::new(counted.clone());
        journal.note(HelperEvent::Started { version: Outside::of(env!("CARGO_PKG_VERSION")) });
        let key = joined.identity.key.pkcs8();
        let shown = tls::Identity::new(joined.identity.svid.chain().to_vec(), key.expose());
        let shown = watch::Sender::new(Some(shown.map_err(|error| internal("the node's SVID cannot be used", error))?));
        let bundles = watch::Sender::new(Arc::new(Bundles::from(joined.bundle)));
        let client =
            tls::client_config(shown.subscribe(), bundles.subscribe(), config.trust_domain.issuer(), clock.clone());
        let client = client.map_err(|error| internal("TLS cannot be set up", error))?;
        let (link, issuer) = Link::new(&config.issuers, client, shown.subscribe());

        let cache = Arc::new(open_cache(&config, &node));
        let restored = Restored::load(&cache, &config.trust_domain, &*clock);
        let restored_state = restored.as_ref().map(|restored| restored.state.clone());
        let restored_policy = restored_state.as_ref().map(|state| state.policy.clone());
        let states = watch::Sender::new(restored_state);
        let policy = watch::Sender::new(restored_policy.unwrap_or_default());
        let sources = sources::guard(sources, &states.subscribe());
        let freshness = Arc::new(Freshness::default());
        let contact = Arc::new(Contact::new(joined.identity.svid.not_after()));
        let sessions = Arc::new(Sessions::default());
        let attestor = Arc::new(Attestor::new(sessions.clone(), places.roots.clone()));
        let instances = Arc::new(Instances::default());
        let (ended, ended_queue) = mpsc::channel(MOST_WAITING);
        let signer = Arc::new(CountedSigner { to: Arc::new(issuer.clone()), tally: tally.clone() });
        let (identities, mut identity_desk) = Identities::new(signer, clock.clone(), ended.clone());
        if let Some(restored) = restored {
            restored.begin(&freshness, &attestor, &instances, &mut identity_desk);
        }
        let keeper = Keeper { cache: cache.clone(), identities: identities.clone(), instances: instances.clone() };
        let jwt = Arc::new(JwtSvids::new(Arc::new(issuer.clone()), clock.clone()));
        let brokered = Arc::new(BrokeredSvids::new(Arc::new(issuer.clone()), node.clone(), clock.clone()));
        let entrances = Arc::new(broker::Brokered::new(brokered.clone(), states.subscribe()));
        let (live, instances_ended) = (instances.clone(), instances.changed());
        let parts = leases::Parts {
            sources: sources.clone(),
            node: entrances.node(),
            policy: policy.subscribe(),
            is_live: Box::new(move |instance| live.is_live(instance)),
            records: journal.clone(),
            clock: clock.clone(),
        };
        let leases = Leases::open(&config.state_dir.join(config::LEASES_FILE), parts)
            .map_err(|error| internal("what is owed to sources cannot be read", error))?;
        let broker = Broker::start(broker::Parts {
            policy: PolicyHandle { state: policy.subscribe(), fresh: freshness.clone() },
            ledger: counted,
            sources: sources.clone(),
            limits: BTreeMap::new(),
            entrances: entrances.clone(),
            leases: leases.clone(),
            resolver: Arc::new(SystemResolver),
            clock: clock.clone(),
            egress: egress(&config.egress),
        });
        let roots = SystemRoots::load();
        let proxy = Proxy::new(broker.clone(), &roots).map_err(|error| internal("TLS cannot be set up", error))?;
        let stale = Arc::new(StaleWatch::new(freshness.clone(), states.subscribe(), journal.clone(), clock.clone()));

        let desk = Arc::new(workload::Desk {
            states: states.subscribe(),
            identities: identities.clone(),
            jwt: jwt.clone(),
            instances: instances.clone(),
            attestor: attestor.clone(),
            journal: journal.clone(),
            clock: clock.clone(),
        });
        let reveals = Reveals::new(desk.clone(), broker.clone());
        let workload = Workload::new(desk, Slots::new(STREAMS, STREAMS_OF_UID));
        let admin = Local::new(Arc::new(local::Desk {
            operators: config.operators.iter().map(|operator| operator.uid).collect(),
            attestor: attestor.clone(),
            limit: refusals(&clock),
            journal: journal.clone(),
            node: node.clone(),
            workload_socket: sockets.workload.clone(),
            session_socket: sockets.session.clone(),
            states: states.subscribe(),
            freshness: freshness.clone(),
            issuer: config.issuers.join(", "),
            contain_required: config.session.contain == config::Contain::Required,
            contact: contact.clone(),
            spool: spool.clone(),
            sources: local::SourceDesk {
                all: sources,
                entrances,
                instances: instances.clone(),
                identities: identities.clone(),
                jwt: jwt.clone(),
            },
            sealed,
            broker: broker.clone(),
            leases: leases.clone(),
            clock: clock.clone(),
        }));
        let open_sessions = sessions.clone();
        let door = Arc::new(Door {
            sessions,
            attestor: attestor.clone(),
            states: states.subscribe(),
            jwt: jwt.clone(),
            instances: instances.clone(),
            ended: ended.clone(),
            limit: refusals(&clock),
            proxy: Arc::new(SessionProxy::new(Arc::new(proxy), roots, clock.clone())),
            journal: journal.clone(),
            clock: clock.clone(),
            places,
            contain_required: config.session.contain == config::Contain::Required,
        });
        let telling = Telling {
            tally,
            broker: broker.clone(),
            leases: leases.clone(),
            freshness: freshness.clone(),
            contact: contact.clone(),
            spool: spool.clone(),
            sessions: open_sessions,
            identities: identities.clone(),
            clock: clock.clone(),
        };
        let renewal = Renewal {
            files: files.clone(),
            issuer: issuer.clone(),
            node: joined.identity,
            shown,
            bundles: bundles.subscribe(),
            confirmations: link.confirmations(),
            contact: contact.clone(),
            rejoin: Rejoin {
                config: config.clone(),
                files: files.clone(),
                bundles: bundles.clone(),
                clock: clock.clone(),
            },
            clock: clock.clone(),
        };
        let ending = Ending {
            ended: ended_queue,
            instances: instances.clone(),
            identities: identities.clone(),
            jwt: jwt.clone(),
            brokered: brokered.clone(),
            issuer: issuer.clone(),
        };
        let enforcer = Enforcer {
            attestor,
            identities,
            jwt,
            brokered,
            instances,
            ended,
            bundles,
            files,
            policy,
            broker,
            journal: journal.clone(),
            locks: Mutex::default(),
        };
        let follower = Follower {
            link,
            trust_domain: config.trust_domain,
            states,
            stale: stale.clone(),
            contact,
            enforcer: Arc::new(enforcer),
            cache,
            journal: journal.clone(),
            clock: clock.clone(),
        };
        let shipper = Shipper { spool: spool.clone(), issuer };
        let told = watch::Sender::new(Readiness::NotReady("starting"));
        let readiness = told.subscribe();
        let ready = Ready { freshness, spool: spool.clone(), clock: clock.clone(), told };

        let gate = Gate::new(Arc::new(UidLimit::new(CALLS_PER_SECOND, CALLS_AT_ONCE, clock)));
        let workload = SpiffeWorkloadApiServer::new(workload).max_decoding_message_size(MAX_MESSAGE);
        let reveals = RevealsServer::new(reveals).max_decoding_message_size(MAX_MESSAGE);
        let workload = server().layer(gate).add_service(workload).add_service(reveals);
        let admin = server().add_service(HelperServer::new(admin).max_decoding_message_size(MAX_MESSAGE));
        let address = health.as_ref().map(Health::address);
        let mut tasks = vec![
            task("sync", |stop| follower.run(stop)),
            task("identities", |stop| identity_desk.run(stop)),
            task("cache", |stop| keeper.run(stop)),
            task("renewal", |stop| renewal.run(stop)),
            task("ending", |stop| ending.run(stop)),
            task("stale", |stop| stale.run(stop)),
            task("ready", |stop| ready.run(stop)),
            task("shipper", |stop| shipper.run(stop)),
            task("leases", |stop| leases.run(instances_ended, stop)),
            task("sessions", |stop| door.run(session_listener, stop)),
            task("workload", |stop| serve(workload, peer::connections(workload_listener), stop)),
            task("admin", |stop| serve(admin, peer::connections(admin_listener), stop)),
        ];
        let watched = readiness.clone();
        tasks.push(task("supervisor", |stop| config::supervisor::tell(watched, stop)));
        if let Some(health) = health {
            tasks.push(task("health", |stop| health.run(readiness, Arc::new(move || telling.page()), stop)));
        }
        Ok(Self { tasks, node, sockets, health: address, spool, journal })
    }
}

fn task<F>(name: &'static str, run: impl FnOnce(CancellationToken) -> F + Send + 'static) -> (&'static str, Task)
where
    F: Future<Output = ()> + Send + 'static,
{
    (name, Box::new(move |stop| run(stop).boxed()))
}

fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
}

/// Serves until the shutdown; connections that are then still open are closed.
async fn serve<L>(router: Router<L>, connections: impl Stream<Item = io::Result<Connection>>, stop: CancellationToken)
where
    L: tower::Layer<tonic::service::Routes> + Clone,
    L::Service: tower::Service<
            tonic::codegen::http::Request<tonic::body::Body>,
            Response = tonic::codegen::http::Response<tonic::body::Body>,
        > + Clone
        + Send
        + 'static,
    <L::Service as tower::Service<tonic::codegen::http::Request<tonic::body::Body>>>::Future: Send,
    <L::Service as tower::Service<tonic::codegen::http::Request<tonic::body::Body>>>::Error:
        Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    tokio::select! {
        () = stop.cancelled() => {}
        served = router.serve_with_incoming(connections) => {
            if let Err(error) = served {
                tracing::error!(%error, "socket.serve.failed");
            }
        }
    }
}

async fn open_spool(directory: &Path, clock: Arc<dyn Clock>) -> Result<Spool, StartError> {
    let directory = directory.to_owned();
    let opened = tokio::task::spawn_blocking(move || Spool::open(&directory, clock, &ring::rand::SystemRandom::new()));
    match opened.await {
        Ok(Ok(spool)) => Ok(spool),
        Ok(Err(fault @ SpoolFault::Held(_))) => Err(internal("the state directory is in use", fault)),
        Ok(Err(fault)) => Err(internal("the audit spool cannot be opened", fault)),
        Err(error) => Err(internal("the audit spool cannot be opened", error)),
    }
}

fn open_sealed(config: &HelperConfig) -> Result<SealedStore, StartError> {
    config::check_outside(&config.state_dir, &config.seal_key_file)?;
    let name = Name::parse(SEALED).map_err(|error| internal("the sealed store cannot be named", error))?;
    if let Some(parent) = config.seal_key_file.parent() {
        config::make_shared_dir(parent).map_err(StartError::directory(parent))?;
    }
    SealedStore::open(name, &config.state_dir.join(config::SEALED_DIR), &config.seal_key_file, &config.state_dir)
        .map_err(|error| StartError::SealKey(error.to_string()))
}

/// The service manager's credentials are where it says (systemd.exec(5)).
fn open_cache(config: &HelperConfig, node: &SpiffeId) -> Cache {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let marks = config.state_dir.join(config::CACHE_MARKS_FILE);
    Cache::open(node, &config.runtime_dir.join(config::CACHE_DIR), credentials.as_deref(), &marks)
}

/// No session outlives the helper that it was opened with: what earlier ones left goes.
fn prepare(places: &Places) -> io::Result<()> {
    roots::create(&places.roots)?;
    roots::prune(&places.roots)?;
    SessionFiles::prepare(&places.sessions)
}

fn listen(path: &Path, mode: u32) -> Result<unix::Listener, StartError> {
    unix::listen(path, mode).map_err(|taken| match taken {
        Taken::Live { path, pid } => StartError::SocketTaken { path, owner: pid.map(owner) },
        other => StartError::Listen { place: path.display().to_string(), error: io::Error::other(other.to_string()) },
    })
}

fn owner(pid: i32) -> Owner {
    let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let program = program.trim().chars().filter(|letter| !letter.is_control()).collect();
    Owner { pid, program }
}

fn egress(settings: &config::Egress) -> broker::Egress {
    let translate = |unbound| match unbound {
        config::Unbound::Deny => broker::Unbound::Deny,
        config::Unbound::Tunnel => broker::Unbound::Tunnel,
    };
    broker::Egress {
        contained: translate(settings.unbound.unwrap_or(config::Unbound::Deny)),
        uncontained: translate(settings.unbound.unwrap_or(config::Unbound::Tunnel)),
        ports: settings.ports.iter().copied().collect(),
    }
}

/// What this helper keeps: no contained session sees it.
fn hidden(config: &HelperConfig) -> Vec<PathBuf> {
    let keys = config.seal_key_file.parent().map(Path::to_owned);
    let ours = [config.state_dir.clone(), config.runtime_dir.clone()];
    ours.into_iter().chain(keys).chain(sources::files(config)).collect()
}

/// For what is refused on the record.
fn refusals(clock: &Arc<dyn Clock>) -> UidLimit {
    UidLimit::new(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE, clock.clone())
}

/// The name by which credentials refer to the sealed store.
const SEALED: &str = "sealed";
/// Whoever may reach the directory may connect: who is there is asked of the kernel.
const FOR_ALL: u32 = 0o666;
const FOR_US: u32 = 0o600;
/// Calls at a time on one connection.
const MAX_STREAMS: u32 = 256;
/// Bytes of one call's headers.
const MAX_HEADERS: u32 = 16 * 1024;
/// Bytes of one message to us: the largest is a secret with its binding.
const MAX_MESSAGE: usize = 256 * 1024;
/// How often a silent connection is asked whether it lives, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const REFUSALS_PER_SECOND: u32 = 20;
const REFUSALS_AT_ONCE: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::{SystemClock, TrustDomain};

    #[tokio::test]
    async fn a_start_that_fails_leaves_the_state_to_the_next_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let trust_domain = TrustDomain::parse("start.test").unwrap();
        let config = HelperConfig::new(trust_domain, "127.0.0.1:1".to_owned(), &config::Paths::below(dir.path()));
        for _ in 0..50 {
            let failed = Helper::build(config.clone(), Arc::new(SystemClock)).await.map(drop).unwrap_err();
            assert!(matches!(failed, StartError::NotJoined), "{failed}");
        }
    }
}
