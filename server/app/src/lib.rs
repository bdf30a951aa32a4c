//! The running issuer: who calls, the calls themselves, what is tended in between. The rules are in `avouch-core`, the
//! SQL in `avouch-store`, the keys in `avouch-keys`; here they meet the network.

mod api;
mod app;
mod caller;
mod connected;
mod database;
mod error;
mod identity;
mod issuer;
mod limiter;
mod metrics;
mod public;
mod signers;
mod slice;
mod state;
mod tend;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod together;

pub use issuer::{Issuer, RunError};
