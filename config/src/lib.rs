//! What is settled before work begins: the typed settings of the issuer and the helper, where their files are, how a
//! process is hardened, started, watched and stopped, and why a start fails. Knows nothing of what the two parts do.

mod crash;
mod database;
mod fault;
mod file;
mod health;
mod helper;
mod last_start;
pub mod lifecycle;
mod listen;
mod metrics;
mod parse;
mod paths;
mod public;
mod read;
mod server;
mod settings;
pub mod source;
mod start_error;
pub mod supervisor;
pub mod telemetry;

pub use crash::crash_point;
pub use database::{DatabaseHost, DatabaseSettings, DatabaseTls};
pub use fault::{ConfigFault, ConfigFaults, Problem};
pub use file::{FileFault, MAX_PRIVATE_FILE, check_outside, make_private_dir, make_shared_dir, read_secret, read_text};
pub use health::{Health, Metrics, Readiness};
pub use helper::{Contain, Egress, HelperConfig, JoinToken, Session, Unbound};
pub use last_start::LastFault;
pub use listen::listen_tcp;
pub use metrics::{Label, MetricsPage};
pub use paths::{
    ADMIN_SOCKET, CACHE_DIR, CACHE_MARKS_FILE, DATABASE_FILE, HELPER_SOCKET, LEASES_FILE, Paths, ROOTS_DIR, SEALED_DIR,
    SESSION_SOCKET, SESSIONS_DIR, SPOOL_DIR, WORKLOAD_SOCKET,
};
pub use public::{Public, PublicDoor, PublicTls, PublicUrl, RsaKey};
pub use server::{AuthoritySettings, ServerConfig, SvidSettings};
pub use settings::{Log, LogFormat, LogLevel, Operator};
pub use start_error::{Owner, StartError};
