//! How avouch's parts speak to each other and to workloads: the `.proto` files, the code generated from them, who
//! is at the other end of a Unix socket, and TLS between SPIFFE IDs. The only crate that knows prost.

pub mod claims;
mod hidden;
pub mod tls;
pub mod unix;

#[expect(missing_docs, clippy::all, reason = "generated from proto/*.proto, where the comments are")]
mod generated {
    pub mod workload {
        include!("generated/_.rs");
    }
    pub mod issuer {
        include!("generated/avouch.issuer.v1.rs");
    }
    pub mod admin {
        include!("generated/avouch.admin.v1.rs");
    }
    pub mod local {
        include!("generated/avouch.local.v1.rs");
    }
}

pub use generated::{admin, issuer, local, workload};
pub use prost::Message;
pub use tonic;
