//! How a node shows what it is: what the helper proves and what the issuer checks, side by side in one file for each
//! attestor. No network, no store: both are the caller's.

pub mod join_token;
