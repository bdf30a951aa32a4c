//! The issuer's settings.

use crate::database::{self, DatabaseSettings};
use crate::fault::ConfigFaults;
use crate::file::read_settings;
use crate::parse::{self, duration, write_duration};
use crate::paths::Paths;
use crate::public::{self, Public, RsaKey};
use crate::read::{Table, document};
use crate::settings::{self, Log, Operator};
use crate::start_error::StartError;
use avouch_words::TrustDomain;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All settings of the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The trust domain it is the issuer of.
    pub trust_domain: TrustDomain,
    /// Where nodes reach it, over TLS.
    pub listen: SocketAddr,
    /// Its database, if that is a file; else what tells it which database it has seen.
    pub state_dir: PathBuf,
    /// The Postgres server that its database is on, if it is on one.
    pub database: Option<DatabaseSettings>,
    /// Its admin socket.
    pub runtime_dir: PathBuf,
    /// The key that seals its authorities; never below `state_dir`.
    pub seal_key_file: PathBuf,
    /// Who may administer on this host.
    pub operators: Vec<Operator>,
    /// Where helpers of this host keep the roots of their sessions: processes below those may not administer. One
    /// that cannot be read refuses everybody.
    pub session_roots: Vec<PathBuf>,
    /// How long SVIDs live if a registration says nothing else.
    pub svid: SvidSettings,
    /// How long authorities live.
    pub authority: AuthoritySettings,
    /// Above this age of the lock state a helper injects nothing.
    pub staleness_bound: Duration,
    /// Audiences that no workload gets a token for, beside the issuer's own and those of sources.
    pub reserved_audiences: Vec<String>,
    /// What everybody may read, if anything.
    pub public: Option<Public>,
    /// Keys that sign for the audiences that want RS256.
    pub rsa: Vec<RsaKey>,
    /// Where liveness and readiness are told, if at all.
    pub health: Option<SocketAddr>,
    /// What is logged.
    pub log: Log,
}

/// How long SVIDs live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SvidSettings {
    /// X.509-SVIDs of agents.
    pub x509_ttl: Duration,
    /// JWT-SVIDs of agents.
    pub jwt_ttl: Duration,
    /// X.509-SVIDs of nodes, and of the issuer itself.
    pub node_ttl: Duration,
}

/// How long authorities live, from the moment they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthoritySettings {
    /// X.509 authorities.
    pub x509_ttl: Duration,
    /// JWT authorities.
    pub jwt_ttl: Duration,
}

impl ServerConfig {
    /// The settings of a trust domain with every default, below these places.
    pub fn new(trust_domain: TrustDomain, paths: &Paths) -> Self {
        Self {
            trust_domain,
            listen: LISTEN,
            state_dir: paths.server_state(),
            database: None,
            runtime_dir: paths.server_runtime(),
            seal_key_file: paths.server_seal_key(),
            operators: settings::default_operators(),
            session_roots: Vec::new(),
            svid: SvidSettings { x509_ttl: minutes(15), jwt_ttl: minutes(5), node_ttl: minutes(60) },
            authority: AuthoritySettings { x509_ttl: days(30), jwt_ttl: days(30) },
            staleness_bound: Duration::from_secs(30),
            reserved_audiences: Vec::new(),
            public: None,
            rsa: Vec::new(),
            health: None,
            log: Log::default(),
        }
    }

    /// Reads the settings file. What it does not say has its default below `paths`.
    pub fn load(file: &Path, paths: &Paths) -> Result<Self, StartError> {
        Self::parse(&read_settings(file)?, file, paths).map_err(StartError::Config)
    }

    /// Reads settings from text; `file` is only named in faults.
    pub fn parse(text: &str, file: &Path, paths: &Paths) -> Result<Self, ConfigFaults> {
        document(text, file, |root| read(root, paths))
    }
}

fn read(root: &Table<'_, '_>, paths: &Paths) -> Option<ServerConfig> {
    // Each is read before any is asked for with `?`, so that every fault is told.
    let trust_domain = root.must("trust_domain", settings::TRUST_DOMAIN, settings::trust_domain);
    let listen = root.or("listen", LISTEN, parse::address);
    let state_dir = root.or("state_dir", paths.server_state(), parse::path);
    let database = database::database(root);
    let runtime_dir = root.or("runtime_dir", paths.server_runtime(), parse::socket_dir);
    let seal_key_file = root.or("seal_key_file", paths.server_seal_key(), parse::path);
    let operators = settings::operators(root);
    let session_roots = root.or("session_roots", Vec::new(), |value| value.list(parse::path));
    let svid = root.table("svid", |table| {
        let ttl = |key, default, most| table.or(key, default, |value| duration(value, MIN_SVID, most));
        let (x509_ttl, jwt_ttl) = (ttl("x509_ttl", minutes(15), MAX_X509), ttl("jwt_ttl", minutes(5), MAX_JWT));
        let node_ttl = ttl("node_ttl", minutes(60), MAX_NODE);
        Some(SvidSettings { x509_ttl: x509_ttl?, jwt_ttl: jwt_ttl?, node_ttl: node_ttl? })
    });
    let authority = root.table("authority", |table| {
        let ttl = |key| table.or(key, days(30), |value| duration(value, MIN_AUTHORITY, MAX_AUTHORITY));
        let (x509_ttl, jwt_ttl) = (ttl("x509_ttl"), ttl("jwt_ttl"));
        let read = AuthoritySettings { x509_ttl: x509_ttl?, jwt_ttl: jwt_ttl? };
        outlives(table, &read, svid.as_ref());
        Some(read)
    });
    let staleness_bound =
        root.or("staleness_bound", Duration::from_secs(30), |value| duration(value, MIN_STALENESS, MAX_STALENESS));
    let reserved_audiences = root.or("reserved_audiences", Vec::new(), |value| {
        let audiences = value.list(|value| {
            let text = value.text()?;
            if text.is_empty() || text.len() > MAX_AUDIENCE {
                return value.wrong(format!("must be 1 to {MAX_AUDIENCE} bytes long"));
            }
            Some(text.to_owned())
        })?;
        if audiences.len() > MAX_AUDIENCES {
            return value.wrong(format!("has {} audiences: keep at most {MAX_AUDIENCES}", audiences.len()));
        }
        Some(audiences)
    });
    let public = public::public(root);
    let rsa = public::rsa(root);
    let health = settings::health(root);
    let log = settings::log(root);
    if let (Some(state), Some(seal)) = (&state_dir, &seal_key_file)
        && seal.starts_with(state)
    {
        let place = state.display();
        root.wrong("seal_key_file", format!("is below {place}, where a backup would hold both: keep it elsewhere"));
    }
    if let (Some(state), Some(keys)) = (&state_dir, &rsa)
        && keys.iter().any(|key| key.key_file.starts_with(state))
    {
        root.wrong(
            "jwt",
            format!("has a key_file below {}, where a backup would hold it: keep it elsewhere", state.display()),
        );
    }
    Some(ServerConfig {
        trust_domain: trust_domain?,
        listen: listen?,
        state_dir: state_dir?,
        database: database?,
        runtime_dir: runtime_dir?,
        seal_key_file: seal_key_file?,
        operators: operators?,
        session_roots: session_roots?,
        svid: svid?,
        authority: authority?,
        staleness_bound: staleness_bound?,
        reserved_audiences: reserved_audiences?,
        public: public?,
        rsa: rsa?,
        health: health?,
        log: log?,
    })
}

/// An authority has to outlive what it signs several times over, or rotation could not overlap.
fn outlives(table: &Table<'_, '_>, authority: &AuthoritySettings, svid: Option<&SvidSettings>) {
    let Some(svid) = svid else { return };
    let longest = svid.x509_ttl.max(svid.node_ttl);
    for (key, life, signed) in [("x509_ttl", authority.x509_ttl, longest), ("jwt_ttl", authority.jwt_ttl, svid.jwt_ttl)]
    {
        let least = signed * AUTHORITY_TO_SVID;
        if life < least {
            let (life, signed, least) = (write_duration(life), write_duration(signed), write_duration(least));
            table.wrong(key, format!("is {life}, too short to sign what lives {signed}: take at least {least}"));
        }
    }
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 24 * 60 * 60)
}

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
const MIN_SVID: Duration = Duration::from_secs(10);
const MAX_X509: Duration = days(1);
const MAX_JWT: Duration = minutes(60);
const MAX_NODE: Duration = days(7);
const MIN_AUTHORITY: Duration = minutes(1);
const MAX_AUTHORITY: Duration = days(3650);
/// How many times an authority outlives what it signs, at least.
const AUTHORITY_TO_SVID: u32 = 6;
const MIN_STALENESS: Duration = Duration::from_secs(5);
const MAX_STALENESS: Duration = Duration::from_secs(300);
const MAX_AUDIENCES: usize = 64;
const MAX_AUDIENCE: usize = 255;

#[cfg(test)]
mod tests;
