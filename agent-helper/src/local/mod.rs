//! What operators ask of this helper, on its own admin socket: known by uid, and never from inside a session.

mod backup;
mod leases;
mod list_sessions;
mod list_sources;
mod put_secret;
mod refusal;
mod status;
mod test_source;

pub use refusal::Refusal;
pub use test_source::SourceDesk;

use crate::attest::Attestor;
use crate::broker::Broker;
use crate::contact::Contact;
use crate::freshness::Freshness;
use crate::journal::Journal;
use crate::leases::Leases;
use crate::limit::UidLimit;
use crate::peer::Caller;
use crate::spool::Spool;
use crate::state::NodeState;
use avouch_audit::field::Code;
use avouch_audit::record::HelperEvent;
use avouch_sources::SealedStore;
use avouch_wire::local as api;
use avouch_wire::local::helper_server::Helper;
use avouch_words::{Clock, SpiffeId};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// What the calls are answered from.
pub struct Desk {
    /// Uids of operators.
    pub operators: BTreeSet<u32>,
    /// Who is inside a session.
    pub attestor: Arc<Attestor>,
    /// How often a user may be refused on the record.
    pub limit: UidLimit,
    /// Where refusals and puts are recorded.
    pub journal: Journal,
    /// This node.
    pub node: SpiffeId,
    /// The Workload API's socket.
    pub workload_socket: PathBuf,
    /// The session socket.
    pub session_socket: PathBuf,
    /// The state in force.
    pub states: watch::Receiver<Option<Arc<NodeState>>>,
    /// Its age.
    pub freshness: Arc<Freshness>,
    /// Where the issuer is.
    pub issuer: String,
    /// Whether sessions are contained unless the caller says otherwise.
    pub contain_required: bool,
    /// How it stands with it.
    pub contact: Arc<Contact>,
    /// The audit spool.
    pub spool: Spool,
    /// Where secrets live, and what it is tried with.
    pub sources: SourceDesk,
    /// The embedded store.
    pub sealed: Arc<SealedStore>,
    /// Who has read values from it.
    pub broker: Arc<Broker>,
    /// What sources are owed.
    pub leases: Arc<Leases>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The service.
#[derive(Clone)]
pub struct Local(Arc<Desk>);

impl Local {
    /// Serves from this desk.
    pub fn new(desk: Arc<Desk>) -> Self {
        Self(desk)
    }
}

#[tonic::async_trait]
impl Helper for Local {
    async fn status(&self, request: Request<api::StatusRequest>) -> Result<Response<api::StatusReply>, Status> {
        self.0.admit(&request).await?;
        Ok(Response::new(status::answer(&self.0)))
    }

    async fn list_sessions(
        &self,
        request: Request<api::ListSessionsRequest>,
    ) -> Result<Response<api::ListSessionsReply>, Status> {
        self.0.admit(&request).await?;
        Ok(Response::new(list_sessions::answer(&self.0)))
    }

    async fn put_secret(
        &self,
        request: Request<api::PutSecretRequest>,
    ) -> Result<Response<api::PutSecretReply>, Status> {
        let uid = self.0.admit(&request).await?;
        Ok(Response::new(put_secret::answer(&self.0, uid, request.into_inner()).await?))
    }

    async fn seal_backup(
        &self,
        request: Request<api::SealBackupRequest>,
    ) -> Result<Response<api::SealBackupReply>, Status> {
        let uid = self.0.admit(&request).await?;
        Ok(Response::new(backup::seal(&self.0, uid, request.into_inner()).await?))
    }

    async fn restore_backup(
        &self,
        request: Request<api::RestoreBackupRequest>,
    ) -> Result<Response<api::RestoreBackupReply>, Status> {
        self.0.admit(&request).await?;
        let caller = request.extensions().get::<Arc<Caller>>().cloned().ok_or(Refusal::NotOperator)?;
        Ok(Response::new(backup::restore(&self.0, &caller, request.into_inner()).await?))
    }

    async fn list_sources(
        &self,
        request: Request<api::ListSourcesRequest>,
    ) -> Result<Response<api::ListSourcesReply>, Status> {
        self.0.admit(&request).await?;
        Ok(Response::new(list_sources::answer(&self.0)))
    }

    async fn test_source(
        &self,
        request: Request<api::TestSourceRequest>,
    ) -> Result<Response<api::TestSourceReply>, Status> {
        let uid = self.0.admit(&request).await?;
        Ok(Response::new(test_source::answer(&self.0, uid, request.into_inner()).await?))
    }

    async fn list_leases(
        &self,
        request: Request<api::ListLeasesRequest>,
    ) -> Result<Response<api::ListLeasesReply>, Status> {
        self.0.admit(&request).await?;
        Ok(Response::new(leases::list(&self.0)))
    }

    async fn revoke_lease(
        &self,
        request: Request<api::RevokeLeaseRequest>,
    ) -> Result<Response<api::RevokeLeaseReply>, Status> {
        let uid = self.0.admit(&request).await?;
        Ok(Response::new(leases::revoke(&self.0, uid, request.get_ref())?))
    }

    async fn rotate_credential(
        &self,
        request: Request<api::RotateCredentialRequest>,
    ) -> Result<Response<api::RotateCredentialReply>, Status> {
        let uid = self.0.admit(&request).await?;
        Ok(Response::new(leases::rotate(&self.0, uid, request.get_ref())?))
    }
}

impl Desk {
    /// The uid of the operator who calls (U01), who is not inside a session (U21).
    async fn admit<T>(&self, request: &Request<T>) -> Result<u32, Refusal> {
        let caller = request.extensions().get::<Arc<Caller>>().ok_or(Refusal::NotOperator)?;
        match self.judge(caller).await {
            Ok(()) => Ok(caller.uid()),
            Err(refusal) => {
                let uid = caller.uid();
                tracing::warn!(uid, pid = caller.peer().pid(), code = refusal.code(), "local.call.refused");
                if self.limit.take(uid) {
                    self.journal.note(HelperEvent::AdminRefused { uid, reason: Code::of(refusal.code()) });
                }
                Err(refusal)
            }
        }
    }

    async fn judge(&self, caller: &Caller) -> Result<(), Refusal> {
        caller.recheck().map_err(|_| Refusal::NotOperator)?;
        if !self.operators.contains(&caller.uid()) {
            return Err(Refusal::NotOperator);
        }
        match self.attestor.is_inside(caller.peer()).await {
            Ok(false) => Ok(()),
            // Who cannot be placed is not outside.
            Ok(true) | Err(_) => Err(Refusal::Inside),
        }
    }
}

#[cfg(test)]
mod tests;
