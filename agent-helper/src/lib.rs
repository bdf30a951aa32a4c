//! The node helper: attests the processes of its node, serves them their identities, and lets their tools use
//! credentials that they never see. It holds no issuer code.

pub mod attest;
pub mod broker;
mod cache;
pub mod contact;
mod ending;
mod enforce;
mod enrol;
pub mod freshness;
mod helper;
pub mod identity;
mod ids;
pub mod intercept;
pub mod issuer;
pub mod journal;
pub mod leases;
mod limit;
pub mod local;
pub mod metrics;
mod node_files;
pub mod peer;
mod ready;
mod rejoin;
mod renew;
pub mod scrub;
pub mod session;
mod ship;
mod sources;
pub mod spool;
mod stale;
mod start;
pub mod state;
mod sync;
#[cfg(test)]
mod testing;
pub mod workload;

pub use avouch_config::{HelperConfig, StartError};
pub use helper::{Helper, TaskEnded};
pub use rejoin::patiently;
