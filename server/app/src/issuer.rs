//! The running issuer: what it holds, how it starts, what it serves and how it ends.

use crate::api::{AdminApi, EnrolmentApi, NodeApi};
use crate::app::{App, Parts};
use crate::database;
use crate::identity::Shown;
use crate::public::Published;
use crate::signers::{Imported, Tokens};
use crate::state::{State, Unreadable};
use crate::tend;
use crate::together;
use avouch_audit::field::Outside;
use avouch_audit::record::IssuerEvent;
use avouch_config::{
    ADMIN_SOCKET, Health, LastFault, Owner, Readiness, RsaKey, ServerConfig, StartError, check_outside, listen_tcp,
    make_private_dir, make_shared_dir, read_secret, supervisor,
};
use avouch_core::authority::{AuthorityError, JwtSigner};
use avouch_core::keys::KeyError;
use avouch_keys::{Absent, KeyFile, SealedKeys};
use avouch_store::{Store, StoreError};
use avouch_wire::admin::admin_server::AdminServer;
use avouch_wire::issuer::{enrolment_server::EnrolmentServer, node_server::NodeServer};
use avouch_wire::tls::{PeerRule, ServerTls, incoming};
use avouch_wire::unix::{self, Taken};
use avouch_words::{Clock, Millis};
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// An issuer that holds its database, its port and its socket, and serves once it is run.
pub struct Issuer {
    app: Arc<App>,
    shown: Shown,
    listener: TcpListener,
    tls: ServerTls,
    admin: unix::Listener,
    admin_socket: PathBuf,
    health: Option<Health>,
    public: Option<Published>,
}

/// Why a running issuer ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// One of its tasks ended, so the whole cannot go on.
    #[error("the issuer's task {task:?} ended: {reason}")]
    Task {
        /// Which.
        task: &'static str,
        /// Why, if it said so.
        reason: String,
    },
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Opens the database and the keys, makes the authorities if there are none, and takes port and socket. Nothing is
    /// served before [`Issuer::run`].
    pub async fn build(config: ServerConfig, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let runtime_dir = config.runtime_dir.clone();
        let built = Self::take(config, clock).await;
        LastFault::note(&runtime_dir, built.as_ref().err());
        built
    }

    async fn take(config: ServerConfig, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        make_private_dir(&config.state_dir).map_err(StartError::directory(&config.state_dir))?;
        make_shared_dir(&config.runtime_dir).map_err(StartError::directory(&config.runtime_dir))?;
        // From here on a list that is not there means trouble, and refuses.
        for roots in config.session_roots.iter().filter(|roots| !roots.exists()) {
            make_shared_dir(roots).map_err(StartError::directory(roots))?;
        }
        let rng = SystemRandom::new();
        let mut epoch = [0; 16];
        rng.fill(&mut epoch).map_err(|_| internal("the random source failed", &"no randomness"))?;
        let store = database::open(&config, epoch, clock.now()).await?;
        let keys = keys(&config, &store, &rng).await?;
        let tokens = tokens(&config)?;
        // Which keys were brought is in the settings, so each start may publish others.
        publish(&store, clock.now()).await.map_err(|error| database_error(&config, &error))?;
        let state = State::read(&store, &config.trust_domain, &keys, &tokens, None, clock.now(), &rng)
            .await
            .map_err(|error| unreadable(&config, error))?;

        let listener = listen_tcp(config.listen)?;
        let address = listener.local_addr().map_err(|error| internal("the port has no address", &error))?;
        let listener =
            TcpListener::from_std(listener).map_err(|error| internal("the port cannot be served", &error))?;
        let admin_socket = config.runtime_dir.join(ADMIN_SOCKET);
        let admin = unix::listen(&admin_socket, admin_mode(&config)).map_err(taken)?;
        let health = config.health.map(Health::bind).transpose()?;

        let epoch = Outside::of(format!("{:032x}", u128::from_be_bytes(state.epoch)));
        let trust_domain = config.trust_domain.clone();
        let parts = Parts { config, address, clock, rng: Arc::new(rng), store, keys: Arc::new(keys), tokens, state };
        let app = Arc::new(App::new(parts));
        let unusable = |error: &dyn std::fmt::Display| StartError::Authorities(error.to_string());
        app.beat().await.map_err(|error| unreadable(&app.config, error))?;
        begin_authorities(&app).await?;
        let shown = Shown::new();
        shown.begin(&app).map_err(|error| unusable(&error))?;
        let peers = PeerRule::nodes_of(trust_domain);
        let tls = ServerTls::new(shown.identity(), shown.bundles(), peers, Arc::clone(&app.clock))
            .map_err(|error| internal("TLS cannot be set up", &error))?;
        let public = Published::take(&app.config, shown.identity(), &app.clock)?;
        app.record_alone(IssuerEvent::Started { version: Outside::of(env!("CARGO_PKG_VERSION")), epoch }).await;
        Ok(Self { app, shown, listener, tls, admin, admin_socket, health, public })
    }

    /// Where nodes reach it.
    pub fn address(&self) -> SocketAddr {
        self.app.address
    }

    /// Where operators reach it.
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// Where its health is told, if it is.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(Health::address)
    }

    /// Where everybody may read its keys, if they may.
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.public.as_ref().map(Published::address)
    }

    /// Serves until shutdown, then ends in order. If anything of it ends before, the whole does.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Self { app, shown, listener, tls, admin, admin_socket, health, public } = self;
        let mut tasks = Tasks { set: JoinSet::new(), stop: app.shutdown.clone() };
        let (readiness, ready) = watch::channel(Readiness::NotReady("starting"));

        let (nodes, stop) = (Arc::clone(&app), app.shutdown.clone());
        tasks.spawn("nodes", async move {
            let enrolment = EnrolmentServer::new(EnrolmentApi(Arc::clone(&nodes)));
            let node = NodeServer::new(NodeApi(nodes));
            server()
                .add_service(enrolment.max_decoding_message_size(MAX_ENROL))
                .add_service(node.max_decoding_message_size(MAX_NODE_MESSAGE))
                .serve_with_incoming_shutdown(incoming(listener, tls), stop.cancelled_owned())
                .await
                .map_err(|error| error.to_string())
        });
        let (operators, stop) = (Arc::clone(&app), app.shutdown.clone());
        tasks.spawn("admin", async move {
            server()
                .add_service(AdminServer::new(AdminApi(operators)).max_decoding_message_size(MAX_ADMIN_MESSAGE))
                .serve_with_incoming_shutdown(admin.incoming(), stop.cancelled_owned())
                .await
                .map_err(|error| error.to_string())
        });
        tasks.keep("identity", Arc::clone(&app), async move |app| shown.keep(&app).await);
        tasks.keep("beats", Arc::clone(&app), async move |app| tend::beats(&app, &readiness).await);
        tasks.keep("locks", Arc::clone(&app), async |app| tend::locks(&app).await);
        tasks.keep("authorities", Arc::clone(&app), async |app| tend::authorities(&app).await);
        tasks.keep("heads", Arc::clone(&app), async |app| tend::heads(&app).await);
        tasks.keep("prune", Arc::clone(&app), async |app| tend::prune(&app).await);
        let (watched, stop) = (ready.clone(), app.shutdown.clone());
        tasks.spawn("supervisor", async move {
            supervisor::tell(watched, stop).await;
            Ok(())
        });
        tasks.keep("lead", Arc::clone(&app), async |app| together::lead(&app).await);
        tasks.keep("wakes", Arc::clone(&app), async |app| together::wakes(&app).await);
        tasks.keep("report", Arc::clone(&app), async |app| together::report(&app).await);
        if let Some(health) = health {
            let (told, stop) = (Arc::clone(&app), app.shutdown.clone());
            tasks.spawn("health", async move {
                health.run(ready, Arc::new(move || told.metrics.page(&told)), stop).await;
                Ok(())
            });
        }
        if let Some(public) = public {
            tasks.keep("public", Arc::clone(&app), async move |app| public.run(&app).await);
        }
        tracing::info!(address = %app.address, socket = %admin_socket.display(), "the issuer serves");

        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = tasks.any() => Err(ended),
        };
        app.shutdown.cancel();
        tasks.end().await;
        // Every entry is under a signed head when the issuer is at rest.
        if let Some(lead) = app.lead()
            && let Err(error) = tend::sign_head(&app, Some(lead)).await
        {
            tracing::error!(%error, "the last head of the log could not be signed");
        }
        together::leave(&app).await;
        app.store.close().await;
        // Gone already if somebody cleaned up.
        let _ = std::fs::remove_file(&admin_socket);
        ended
    }
}

/// The issuer's tasks, by name.
struct Tasks {
    set: JoinSet<(&'static str, Result<(), String>)>,
    stop: CancellationToken,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = Result<(), String>> + Send + 'static) {
        self.set.spawn(async move { (name, task.await) });
    }

    /// A task that has no end of its own.
    fn keep<F>(&mut self, name: &'static str, app: Arc<App>, task: impl FnOnce(Arc<App>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (task, stop) = (task(app), self.stop.clone());
        self.spawn(name, async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = task => Err("it has no end of its own".to_owned()),
            }
        });
    }

    /// The first that ends.
    async fn any(&mut self) -> RunError {
        match self.set.join_next().await {
            Some(Ok((task, ended))) => {
                RunError::Task { task, reason: ended.err().unwrap_or_else(|| "without a reason".to_owned()) }
            }
            Some(Err(error)) => RunError::Task { task: "unknown", reason: error.to_string() },
            None => RunError::Task { task: "all", reason: "there is none".to_owned() },
        }
    }

    /// Waits for all, and no longer than [`PATIENCE`].
    async fn end(&mut self) {
        let ended = tokio::time::timeout(PATIENCE, async { while self.set.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
            self.set.shutdown().await;
        }
    }
}

fn server() -> Server {
    Server::builder()
        .timeout(CALL_DEADLINE)
        .concurrency_limit_per_connection(MAX_CALLS_OF_CONNECTION)
        .max_concurrent_streams(Some(MAX_STREAMS))
        .http2_max_header_list_size(Some(MAX_HEADERS))
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
}

/// The key manager. A missing key file is made only where nothing is sealed yet.
async fn keys(config: &ServerConfig, store: &Store, rng: &(dyn SecureRandom + Sync)) -> Result<SealedKeys, StartError> {
    let failed = |error| database_error(config, &error);
    let sealed = store.read().await.map_err(failed)?.authorities().await.map_err(failed)?;
    let absent = if sealed.is_empty() { Absent::Make } else { Absent::Refuse };
    if let Some(directory) = config.seal_key_file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
            StartError::SealKey(format!("the directory {} cannot be made: {error}", directory.display()))
        })?;
    }
    KeyFile::open(&config.seal_key_file, &config.state_dir, absent, rng)
        .map(SealedKeys::new)
        .map_err(|error| StartError::SealKey(error.to_string()))
}

/// Whose name tokens carry, and the keys that were brought.
fn tokens(config: &ServerConfig) -> Result<Tokens, StartError> {
    let url = config.public.as_ref().map(|public| public.url.as_str().to_owned());
    let issuer = url.unwrap_or_else(|| config.trust_domain.id().to_string());
    let unusable = |path: &Path, why: &dyn std::fmt::Display| {
        StartError::SealKey(format!("the RSA key in {} cannot be used: {why}", path.display()))
    };
    let import = |key: &RsaKey| {
        check_outside(&config.state_dir, &key.key_file)?;
        let pem = read_secret(&key.key_file).map_err(|fault| unusable(&key.key_file, &fault))?;
        let pair = avouch_keys::RsaKey::from_pem(&pem).map_err(|why| unusable(&key.key_file, &why))?;
        let signer = JwtSigner::imported(&issuer, Arc::new(pair)).map_err(|why| unusable(&key.key_file, &why))?;
        Ok(Imported { audiences: key.audiences.clone(), signer: Arc::new(signer) })
    };
    let rsa = config.rsa.iter().map(import).collect::<Result<Vec<_>, StartError>>()?;
    Ok(Tokens { issuer, rsa: rsa.into() })
}

async fn publish(store: &Store, now: Millis) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    tx.publish(now).await?;
    tx.commit().await.map(|_| ())
}

fn database_error(config: &ServerConfig, error: &StoreError) -> StartError {
    StartError::Database { path: config.state_dir.clone(), reason: error.to_string() }
}

/// Operators of other uids have to reach the socket; who they are is checked at each call.
fn admin_mode(config: &ServerConfig) -> u32 {
    let own = rustix::process::geteuid().as_raw();
    if config.operators.iter().all(|operator| operator.uid == own || operator.uid == 0) { 0o600 } else { 0o666 }
}

fn unreadable(config: &ServerConfig, error: Unreadable) -> StartError {
    match error {
        Unreadable::Authority(AuthorityError::Key(KeyError::Sealed)) => StartError::Authorities(format!(
            "the key in {} is not the one that sealed the authorities in the database, or they were altered: all issuers \
             of one database need the same key file",
            config.seal_key_file.display()
        )),
        Unreadable::Store(error) => database_error(config, &error),
        other => StartError::Authorities(other.to_string()),
    }
}

/// Sees that there are authorities: makes them as the leader, or waits for those that the leader makes.
async fn begin_authorities(app: &App) -> Result<(), StartError> {
    let unusable = |error: &dyn std::fmt::Display| StartError::Authorities(error.to_string());
    let waited = async {
        loop {
            let lead = together::take_lead(app).await.map_err(|error| unusable(&error))?;
            if let Some(lead) = lead {
                return tend::settle_authorities(app, lead).await.map_err(|error| unusable(&error));
            }
            let (now, signers) = (app.now(), Arc::clone(&app.state().signers));
            if signers.x509(now).is_ok() && signers.jwt(now).is_ok() && signers.log().is_ok() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
            app.beat().await.map_err(|error| unreadable(&app.config, error))?;
        }
    };
    let waited = tokio::time::timeout(FIRST_AUTHORITIES, waited).await;
    waited.unwrap_or_else(|_| Err(unusable(&"the issuer that leads has made none in time")))
}

fn taken(error: Taken) -> StartError {
    match error {
        Taken::Live { path, pid } => StartError::SocketTaken { path, owner: pid.map(Owner::of) },
        Taken::Io { path, error } => StartError::Listen { place: path.display().to_string(), error },
        other @ (Taken::NotASocket(_) | Taken::UnsafeDirectory(_)) => {
            StartError::Internal { what: "the admin socket cannot be made", reason: other.to_string() }
        }
    }
}

fn internal(what: &'static str, reason: &dyn std::fmt::Display) -> StartError {
    StartError::Internal { what, reason: reason.to_string() }
}

/// The largest request of a stranger: a token, a CSR and a few words.
const MAX_ENROL: usize = 16 * 1024;
/// The largest request of a node: a batch of CSRs, or of audit records.
const MAX_NODE_MESSAGE: usize = 1024 * 1024;
/// The largest request of an operator: a binding with its certificates.
const MAX_ADMIN_MESSAGE: usize = 256 * 1024;
/// How long one call may take; streams go on after their first answer.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// How long an issuer waits at its start for the authorities that the one that leads makes, or for the end of its lead.
const FIRST_AUTHORITIES: Duration = Duration::from_secs(15);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(100);
const MAX_CALLS_OF_CONNECTION: usize = 64;
const MAX_STREAMS: u32 = 128;
const MAX_HEADERS: u32 = 16 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long connections may take to end at shutdown.
const PATIENCE: Duration = Duration::from_secs(5);
