//! The calls, one file each: request, typed input, the rules, one transaction, reply. What is here only hands over.

mod apply;
mod ban_node;
mod begin_instance;
mod brokered;
mod close_target;
mod create_agent;
mod create_grant;
mod create_lock;
mod create_token;
mod delete_agent;
mod delete_credential;
mod delete_grant;
mod end_instance;
mod enrol;
mod evict_node;
mod export_audit;
mod list_agents;
mod list_credentials;
mod list_grants;
mod list_instances;
mod list_locks;
mod list_nodes;
mod list_refusals;
mod list_targets;
mod open_spool;
mod open_target;
mod order;
mod put_credential;
mod release_lock;
mod renew;
mod reply;
mod ship_audit;
mod show_keys;
mod show_node;
mod sign_brokered;
mod sign_brokered_x509;
mod sign_jwt;
mod sign_x509;
mod status;
mod sync;
mod why;

use crate::app::App;
use crate::caller;
use avouch_wire::{admin, issuer};
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Enrolment, for whoever has a join token.
pub(crate) struct EnrolmentApi(pub(crate) Arc<App>);

/// What nodes ask.
pub(crate) struct NodeApi(pub(crate) Arc<App>);

/// What operators ask.
pub(crate) struct AdminApi(pub(crate) Arc<App>);

#[tonic::async_trait]
impl issuer::enrolment_server::Enrolment for EnrolmentApi {
    async fn enrol(&self, request: Request<issuer::EnrolRequest>) -> Result<Response<issuer::NodeSvid>, Status> {
        let app = Arc::clone(&self.0);
        self.0.answer(async move { enrol::enrol(&app, request.into_inner()).await }).await
    }
}

/// Hands a call of a node over with the node that calls.
macro_rules! node_call {
    ($self:ident, $request:ident, $call:path) => {
        node_call!($self, $request, $call, caller::node)
    };
    ($self:ident, $request:ident, $call:path, $caller:path) => {{
        let app = Arc::clone(&$self.0);
        let (_, extensions, message) = $request.into_parts();
        $self
            .0
            .answer(async move {
                let caller = $caller(&app, &extensions).await?;
                $call(&app, caller, message).await
            })
            .await
    }};
}

/// Hands a call of an operator over with the operator who calls.
macro_rules! operator_call {
    ($self:ident, $request:ident, $call:path) => {{
        let app = Arc::clone(&$self.0);
        let (_, extensions, message) = $request.into_parts();
        $self
            .0
            .answer(async move {
                let operator = caller::operator(&app, &extensions).await?;
                $call(&app, operator, message).await
            })
            .await
    }};
}

#[tonic::async_trait]
impl issuer::node_server::Node for NodeApi {
    type SyncStream = ReceiverStream<Result<issuer::SyncDown, Status>>;

    async fn renew(&self, request: Request<issuer::RenewRequest>) -> Result<Response<issuer::NodeSvid>, Status> {
        node_call!(self, request, renew::renew, caller::renewing_node)
    }

    async fn sync(&self, request: Request<Streaming<issuer::SyncUp>>) -> Result<Response<Self::SyncStream>, Status> {
        node_call!(self, request, sync::sync, caller::syncing_node)
    }

    async fn sign_x509(
        &self,
        request: Request<issuer::SignX509Request>,
    ) -> Result<Response<issuer::SignX509Reply>, Status> {
        node_call!(self, request, sign_x509::sign_x509)
    }

    async fn sign_jwt(
        &self,
        request: Request<issuer::SignJwtRequest>,
    ) -> Result<Response<issuer::SignJwtReply>, Status> {
        node_call!(self, request, sign_jwt::sign_jwt)
    }

    async fn sign_brokered(
        &self,
        request: Request<issuer::SignBrokeredRequest>,
    ) -> Result<Response<issuer::SignJwtReply>, Status> {
        node_call!(self, request, sign_brokered::sign_brokered)
    }

    async fn sign_brokered_x509(
        &self,
        request: Request<issuer::SignBrokeredX509Request>,
    ) -> Result<Response<issuer::IssuedX509>, Status> {
        node_call!(self, request, sign_brokered_x509::sign_brokered_x509)
    }

    async fn begin_instance(
        &self,
        request: Request<issuer::BeginInstanceRequest>,
    ) -> Result<Response<issuer::BeginInstanceReply>, Status> {
        node_call!(self, request, begin_instance::begin_instance)
    }

    async fn end_instance(
        &self,
        request: Request<issuer::EndInstanceRequest>,
    ) -> Result<Response<issuer::EndInstanceReply>, Status> {
        node_call!(self, request, end_instance::end_instance)
    }

    async fn open_spool(
        &self,
        request: Request<issuer::OpenSpoolRequest>,
    ) -> Result<Response<issuer::SpoolPosition>, Status> {
        node_call!(self, request, open_spool::open_spool)
    }

    async fn ship_audit(
        &self,
        request: Request<issuer::ShipAuditRequest>,
    ) -> Result<Response<issuer::SpoolPosition>, Status> {
        node_call!(self, request, ship_audit::ship_audit)
    }
}

#[tonic::async_trait]
impl admin::admin_server::Admin for AdminApi {
    type CreateLockStream = ReceiverStream<Result<admin::LockProgress, Status>>;
    type ExportAuditStream = ReceiverStream<Result<admin::AuditPart, Status>>;

    async fn status(&self, request: Request<admin::StatusRequest>) -> Result<Response<admin::StatusReply>, Status> {
        operator_call!(self, request, status::status)
    }

    async fn create_token(
        &self,
        request: Request<admin::CreateTokenRequest>,
    ) -> Result<Response<admin::CreateTokenReply>, Status> {
        operator_call!(self, request, create_token::create_token)
    }

    async fn list_nodes(
        &self,
        request: Request<admin::ListNodesRequest>,
    ) -> Result<Response<admin::ListNodesReply>, Status> {
        operator_call!(self, request, list_nodes::list_nodes)
    }

    async fn create_agent(
        &self,
        request: Request<admin::CreateAgentRequest>,
    ) -> Result<Response<admin::Agent>, Status> {
        operator_call!(self, request, create_agent::create_agent)
    }

    async fn list_agents(
        &self,
        request: Request<admin::ListAgentsRequest>,
    ) -> Result<Response<admin::ListAgentsReply>, Status> {
        operator_call!(self, request, list_agents::list_agents)
    }

    async fn put_credential(
        &self,
        request: Request<admin::PutCredentialRequest>,
    ) -> Result<Response<admin::Credential>, Status> {
        operator_call!(self, request, put_credential::put_credential)
    }

    async fn list_credentials(
        &self,
        request: Request<admin::ListCredentialsRequest>,
    ) -> Result<Response<admin::ListCredentialsReply>, Status> {
        operator_call!(self, request, list_credentials::list_credentials)
    }

    async fn create_grant(
        &self,
        request: Request<admin::CreateGrantRequest>,
    ) -> Result<Response<admin::Grant>, Status> {
        operator_call!(self, request, create_grant::create_grant)
    }

    async fn list_grants(
        &self,
        request: Request<admin::ListGrantsRequest>,
    ) -> Result<Response<admin::ListGrantsReply>, Status> {
        operator_call!(self, request, list_grants::list_grants)
    }

    async fn delete_grant(
        &self,
        request: Request<admin::DeleteGrantRequest>,
    ) -> Result<Response<admin::DeleteGrantReply>, Status> {
        operator_call!(self, request, delete_grant::delete_grant)
    }

    async fn create_lock(
        &self,
        request: Request<admin::CreateLockRequest>,
    ) -> Result<Response<Self::CreateLockStream>, Status> {
        operator_call!(self, request, create_lock::create_lock)
    }

    async fn list_locks(
        &self,
        request: Request<admin::ListLocksRequest>,
    ) -> Result<Response<admin::ListLocksReply>, Status> {
        operator_call!(self, request, list_locks::list_locks)
    }

    async fn release_lock(&self, request: Request<admin::ReleaseLockRequest>) -> Result<Response<admin::Lock>, Status> {
        operator_call!(self, request, release_lock::release_lock)
    }

    async fn why(&self, request: Request<admin::WhyRequest>) -> Result<Response<admin::WhyReply>, Status> {
        operator_call!(self, request, why::why)
    }

    async fn list_refusals(
        &self,
        request: Request<admin::ListRefusalsRequest>,
    ) -> Result<Response<admin::ListRefusalsReply>, Status> {
        operator_call!(self, request, list_refusals::list_refusals)
    }

    async fn list_instances(
        &self,
        request: Request<admin::ListInstancesRequest>,
    ) -> Result<Response<admin::ListInstancesReply>, Status> {
        operator_call!(self, request, list_instances::list_instances)
    }

    async fn open_target(&self, request: Request<admin::OpenTargetRequest>) -> Result<Response<admin::Target>, Status> {
        operator_call!(self, request, open_target::open_target)
    }

    async fn list_targets(
        &self,
        request: Request<admin::ListTargetsRequest>,
    ) -> Result<Response<admin::ListTargetsReply>, Status> {
        operator_call!(self, request, list_targets::list_targets)
    }

    async fn close_target(
        &self,
        request: Request<admin::CloseTargetRequest>,
    ) -> Result<Response<admin::Target>, Status> {
        operator_call!(self, request, close_target::close_target)
    }

    async fn show_keys(
        &self,
        request: Request<admin::ShowKeysRequest>,
    ) -> Result<Response<admin::ShowKeysReply>, Status> {
        operator_call!(self, request, show_keys::show_keys)
    }

    async fn export_audit(
        &self,
        request: Request<admin::ExportAuditRequest>,
    ) -> Result<Response<Self::ExportAuditStream>, Status> {
        operator_call!(self, request, export_audit::export_audit)
    }

    async fn show_node(
        &self,
        request: Request<admin::ShowNodeRequest>,
    ) -> Result<Response<admin::NodeDetails>, Status> {
        operator_call!(self, request, show_node::show_node)
    }

    async fn ban_node(
        &self,
        request: Request<admin::BanNodeRequest>,
    ) -> Result<Response<admin::NodeWithdrawn>, Status> {
        operator_call!(self, request, ban_node::ban_node)
    }

    async fn evict_node(
        &self,
        request: Request<admin::EvictNodeRequest>,
    ) -> Result<Response<admin::NodeWithdrawn>, Status> {
        operator_call!(self, request, evict_node::evict_node)
    }

    async fn delete_agent(
        &self,
        request: Request<admin::DeleteAgentRequest>,
    ) -> Result<Response<admin::DeleteAgentReply>, Status> {
        operator_call!(self, request, delete_agent::delete_agent)
    }

    async fn delete_credential(
        &self,
        request: Request<admin::DeleteCredentialRequest>,
    ) -> Result<Response<admin::DeleteCredentialReply>, Status> {
        operator_call!(self, request, delete_credential::delete_credential)
    }

    async fn apply(&self, request: Request<admin::ApplyRequest>) -> Result<Response<admin::ApplyReply>, Status> {
        operator_call!(self, request, apply::apply)
    }
}
