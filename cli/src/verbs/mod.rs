//! One file per noun.

pub mod agent;
pub mod audit;
pub mod bound;
pub mod credential;
pub mod exec;
pub mod explain;
pub mod federate;
pub mod grant;
pub mod jwks;
pub mod lease;
pub mod lock;
pub mod node;
pub mod preset;
pub mod run;
pub mod secret;
pub mod source;
pub mod status;
pub mod svid;
pub mod token;
pub mod why;
mod withdraw;

use crate::endpoints::{Directories, Socket};
use crate::failure::Failure;
use crate::output::Output;
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::tonic::transport::Channel;

/// What every verb is given.
#[derive(Debug)]
pub struct Context {
    /// Where the sockets are.
    pub directories: Directories,
    /// Where data goes.
    pub output: Output,
}

impl Context {
    /// The issuer, as an operator sees it.
    pub async fn admin(&self) -> Result<AdminClient<Channel>, Failure> {
        Ok(AdminClient::new(self.directories.connect(Socket::Admin).await?))
    }

    /// The helper, as an operator sees it.
    pub async fn helper(&self) -> Result<HelperClient<Channel>, Failure> {
        Ok(HelperClient::new(self.directories.connect(Socket::Helper).await?))
    }
}
