//! What the demo stands on: the issuer, the helper, the tool, and what an operator does with them.

use super::child::HelperProcess;
use super::place::Place;
use crate::endpoints::{self, Socket};
use crate::failure::{Exit, Failure};
use crate::replies;
use crate::tools::{TlsIdentity, ToolConfig, ToolLog, ToolServer, new_secret};
use crate::verbs::audit::whole_log;
use avouch_audit::export::Part;
use avouch_config::{HELPER_SOCKET, ServerConfig};
use avouch_policy::BindingSpec;
use avouch_server::Issuer;
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::admin::{
    CreateAgentRequest, CreateGrantRequest, CreateTokenRequest, ListNodesRequest, PutCredentialRequest, StatusRequest,
};
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::local::{self, PutSecretRequest};
use avouch_wire::tonic::transport::Channel;
use avouch_words::{Secret, SystemClock, TrustDomain};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The issuer, in this process.
pub struct IssuerPart {
    pub trust_domain: TrustDomain,
    pub address: SocketAddr,
    pub admin: AdminClient<Channel>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

/// The tool, in this process.
pub struct Tool {
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    pub log: ToolLog,
    pub ca_pem: String,
    pub plain_secret: Secret,
    pub tls_secret: Secret,
    task: JoinHandle<std::io::Result<()>>,
}

impl IssuerPart {
    /// A new trust domain.
    pub async fn start(place: &Place) -> Result<Self, Failure> {
        let name = TrustDomain::parse("demo.test").map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        let mut config = ServerConfig::new(name.clone(), &place.paths());
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.session_roots = vec![crate::daemon::make_session_roots(&place.paths())?];
        let issuer = Issuer::build(config, Arc::new(SystemClock)).await?;
        let (address, socket) = (issuer.address(), issuer.admin_socket().to_owned());
        let stop = CancellationToken::new();
        let ended = stop.clone();
        let task = tokio::spawn(async move { issuer.run(ended).await.map_err(|error| error.to_string()) });
        let admin = AdminClient::new(endpoints::connect(&socket, Socket::Admin).await?);
        Ok(Self { trust_domain: name, address, admin, stop, task })
    }

    /// A join token for a node.
    pub async fn token(&mut self, node: &str) -> Result<String, Failure> {
        let request = CreateTokenRequest { node: node.to_owned(), ttl_seconds: 600 };
        let reply = self.admin.create_token(request).await.map_err(|status| replies::failure(&status))?;
        Ok(reply.into_inner().token)
    }

    /// The ID of the one node that is connected now, once it is.
    pub async fn node_connected(&mut self, helper: &mut HelperProcess) -> Result<String, Failure> {
        for _ in 0..TRIES {
            let reply = self.admin.list_nodes(ListNodesRequest {}).await.map_err(|status| replies::failure(&status))?;
            if let Some(node) = reply.into_inner().nodes.into_iter().find(|node| node.connected) {
                return Ok(node.id);
            }
            if let Some(status) = helper.ended() {
                return Err(Failure::new(Exit::Failure, format!("the helper ended at once with {status}")));
            }
            tokio::time::sleep(STEP).await;
        }
        Err(Failure::new(Exit::Timeout, "the helper did not enrol in time"))
    }

    /// Registers an agent that is told from others by its session.
    pub async fn register(&mut self, name: &str, node: &str) -> Result<String, Failure> {
        let uid = rustix::process::getuid().as_raw();
        let request = CreateAgentRequest {
            name: name.to_owned(),
            owner: format!("owner-of-{name}@demo.test"),
            nodes: vec![format!("node:name:{node}")],
            selectors: vec![format!("session:uid:{uid}"), format!("session:agent:{name}")],
            ..Default::default()
        };
        let reply = self.admin.create_agent(request).await.map_err(|status| replies::failure(&status))?;
        Ok(reply.into_inner().spiffe_id)
    }

    /// Seals a value on the node, registers its binding, and grants it.
    pub async fn credential(
        &mut self,
        helper: &mut HelperClient<Channel>,
        name: &str,
        spec: &BindingSpec,
        value: &Secret,
    ) -> Result<(), Failure> {
        let binding = spec.check().map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        let binding = binding.canonical_json().to_vec();
        let sealed =
            PutSecretRequest { credential: name.to_owned(), binding: binding.clone(), value: value.expose().to_vec() };
        helper.put_secret(sealed).await.map_err(|status| replies::failure(&status))?;
        let source = crate::verbs::secret::SOURCE.to_owned();
        let request = PutCredentialRequest { name: name.to_owned(), source, binding, ..Default::default() };
        self.admin.put_credential(request).await.map_err(|status| replies::failure(&status))?;
        let request = CreateGrantRequest { agent: "researcher".to_owned(), credential: name.to_owned() };
        self.admin.create_grant(request).await.map_err(|status| replies::failure(&status))?;
        Ok(())
    }

    /// Waits until the node has all that was changed.
    pub async fn caught_up(&mut self, helper: &mut HelperClient<Channel>) -> Result<(), Failure> {
        let reply = self.admin.status(StatusRequest {}).await.map_err(|status| replies::failure(&status))?;
        let newest = reply.into_inner().state_version;
        for _ in 0..TRIES {
            let reply = helper.status(local::StatusRequest {}).await.map_err(|status| replies::failure(&status))?;
            let held = reply.into_inner();
            if held.state_version >= newest && held.injecting {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
        Err(Failure::new(Exit::Timeout, "the helper did not catch up with the issuer"))
    }

    /// The whole audit log, once all that the helper has spooled is in it.
    pub async fn audit(&mut self, helper: &mut HelperClient<Channel>) -> Result<Vec<Part>, Failure> {
        for _ in 0..TRIES {
            let reply = helper.status(local::StatusRequest {}).await.map_err(|status| replies::failure(&status))?;
            let status = reply.into_inner();
            if status.acknowledged >= status.spooled {
                break;
            }
            tokio::time::sleep(STEP).await;
        }
        whole_log(&mut self.admin).await
    }

    /// Ends the issuer.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        drop(self.admin);
        let ended = tokio::time::timeout(Duration::from_secs(5), self.task).await;
        match ended {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(why))) => Err(Failure::new(Exit::Failure, format!("the issuer ended badly: {why}"))),
            Ok(Err(_)) | Err(_) => Err(Failure::new(Exit::Failure, "the issuer did not end in order")),
        }
    }
}

impl Tool {
    /// Starts the tool with two secrets that nobody has seen before.
    pub async fn start(host: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(Exit::Failure, format!("cannot start the tool: {error}"));
        let identity = TlsIdentity::make(host, &SystemClock).map_err(failed)?;
        let ca_pem = identity.ca_pem.clone();
        let (plain_secret, tls_secret) = (new_secret().map_err(failed)?, new_secret().map_err(failed)?);
        let config = ToolConfig {
            plain: Secret::new(plain_secret.expose().to_vec()),
            tls: Secret::new(tls_secret.expose().to_vec()),
            identity,
            plain_port: 0,
            tls_port: 0,
        };
        let server = ToolServer::build(config).await.map_err(failed)?;
        let (plain, tls, log) = (server.plain_address(), server.tls_address(), server.log());
        Ok(Self { plain, tls, log, ca_pem, plain_secret, tls_secret, task: tokio::spawn(server.run()) })
    }

    /// Both secrets.
    pub fn secrets(&self) -> [&Secret; 2] {
        [&self.plain_secret, &self.tls_secret]
    }

    /// Ends the tool.
    pub fn stop(self) {
        self.task.abort();
    }
}

/// The helper, as an operator on this host sees it.
pub async fn helper_client(place: &Place) -> Result<HelperClient<Channel>, Failure> {
    let socket: PathBuf = place.paths().helper_runtime().join(HELPER_SOCKET);
    Ok(HelperClient::new(endpoints::connect(&socket, Socket::Helper).await?))
}

const TRIES: u32 = 500;
const STEP: Duration = Duration::from_millis(20);
