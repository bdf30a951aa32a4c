//! An issuer and a helper that answer every operator the same.

use avouch_wire::admin::admin_server::{Admin, AdminServer};
use avouch_wire::admin::{self, lock_progress::Kind, *};
use avouch_wire::local::helper_server::{Helper, HelperServer};
use avouch_wire::local::{self, PutSecretReply, PutSecretRequest};
use avouch_wire::tonic::transport::Server;
use avouch_wire::tonic::{self, Request, Response, Status};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

const NOW: i64 = 1_700_000_000_000;
const ID: &str = "01K9ZQ3M6X5T8W4V2R7N1C0BDE";

pub struct Daemons {
    dir: TempDir,
    heard: Heard,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Daemons {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let heard = Heard::default();
        let listen = |name: &str| {
            let _in = runtime.enter();
            UnixListenerStream::new(UnixListener::bind(dir.path().join(name)).unwrap())
        };
        let issuer = Server::builder().add_service(AdminServer::new(heard.clone()));
        runtime.spawn(issuer.serve_with_incoming(listen("admin.sock")));
        let helper = Server::builder().add_service(HelperServer::new(heard.clone()));
        runtime.spawn(helper.serve_with_incoming(listen("helper.sock")));
        Self { dir, heard, _runtime: runtime }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_avouch"));
        command.arg("--runtime-dir").arg(self.dir.path()).args(line.split(' ')).env_remove("AVOUCH_OUTPUT");
        command
    }

    pub fn run(&self, line: &str) -> Output {
        self.command(line).stdin(Stdio::null()).output().unwrap()
    }

    pub fn run_with(&self, line: &str, input: &[u8]) -> Output {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that refuses before it reads has closed it.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input);
        child.wait_with_output().unwrap()
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.0.lock().unwrap().clone()
    }
}

fn agent(name: &str, owner: &str, nodes: Vec<String>, selectors: Vec<String>) -> Agent {
    Agent {
        name: name.into(),
        spiffe_id: format!("spiffe://t.test/agent/{name}"),
        owner: owner.into(),
        nodes,
        selectors,
        x509_ttl_seconds: 900,
        jwt_ttl_seconds: 300,
        created_ms: NOW,
        ..Default::default()
    }
}

fn credential(name: &str) -> Credential {
    let binding = br#"{"methods":["GET"],"paths":["/repos/**"],"slot":"bearer","to":"https://api.example.test:443"}"#;
    Credential {
        name: name.into(),
        source: "sealed".into(),
        binding: binding.to_vec(),
        created_ms: NOW,
        reference: String::new(),
    }
}

fn grant(agent: &str, credential: &str) -> Grant {
    Grant { id: ID.into(), agent: agent.into(), credential: credential.into(), created_ms: NOW }
}

fn target(
    agent: &str,
    vendor: &str,
    audience: &str,
    settings: std::collections::HashMap<String, String>,
) -> admin::Target {
    admin::Target {
        agent: agent.into(),
        vendor: vendor.into(),
        audience: audience.into(),
        settings,
        subject: format!("spiffe://t.test/agent/{agent}"),
        algorithm: "ES256".into(),
        created_ms: NOW,
    }
}

fn lock() -> Lock {
    Lock {
        id: ID.into(),
        agent: "researcher".into(),
        reason: "odd calls".into(),
        author: "me".into(),
        created_ms: NOW,
        expires_ms: 0,
        ended_ms: 0,
    }
}

fn source() -> local::Source {
    local::Source {
        name: "vault".into(),
        kind: "openbao".into(),
        place: "https://vault.t.test:8200".into(),
        login: "jwt".into(),
        audience: "https://vault.t.test:8200".into(),
        state: "ready".into(),
    }
}

fn instance() -> NodeInstance {
    NodeInstance { id: ID.into(), agent: "researcher".into(), started_ms: NOW, svids_valid_until_ms: NOW + 900_000 }
}

fn withdrawn(node: &str) -> NodeWithdrawn {
    NodeWithdrawn {
        node_id: format!("spiffe://t.test/node/join_token/{node}"),
        version: 9,
        instances: vec![instance()],
        applied: true,
        after_us: 1500,
        fails_closed_ms: 0,
    }
}

type Reply<T> = Result<Response<T>, Status>;
type Stream<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

fn stream<T>(all: Vec<T>) -> Response<Stream<T>> {
    Response::new(tokio_stream::iter(all.into_iter().map(Ok).collect::<Vec<_>>()))
}

#[tonic::async_trait]
impl Admin for Heard {
    type CreateLockStream = Stream<LockProgress>;
    type ExportAuditStream = Stream<AuditPart>;

    async fn status(&self, _: Request<admin::StatusRequest>) -> Reply<admin::StatusReply> {
        Ok(Response::new(admin::StatusReply { trust_domain: "t.test".into(), started_ms: NOW, ..Default::default() }))
    }

    async fn create_token(&self, _: Request<CreateTokenRequest>) -> Reply<CreateTokenReply> {
        let token = "avouch-join.secret.pin.t.test".into();
        Ok(Response::new(CreateTokenReply {
            token,
            expires_ms: NOW,
            node_id: "spiffe://t.test/node/join_token/b".into(),
        }))
    }

    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Reply<ListNodesReply> {
        let here = Node {
            id: "spiffe://t.test/node/join_token/here".into(),
            selectors: vec!["node:attestor:join_token".into(), "node:name:here".into()],
            joined_ms: NOW,
            svid_expires_ms: NOW,
            connected: true,
            applied_version: 9,
            banned_ms: 0,
        };
        Ok(Response::new(ListNodesReply { nodes: vec![here] }))
    }

    async fn create_agent(&self, request: Request<CreateAgentRequest>) -> Reply<Agent> {
        let asked = request.into_inner();
        Ok(Response::new(agent(&asked.name, &asked.owner, asked.nodes, asked.selectors)))
    }

    async fn list_agents(&self, _: Request<ListAgentsRequest>) -> Reply<ListAgentsReply> {
        let one = agent("researcher", "me", vec!["node:name:here".into()], vec!["unix:uid:7".into()]);
        Ok(Response::new(ListAgentsReply { agents: vec![one] }))
    }

    async fn put_credential(&self, request: Request<PutCredentialRequest>) -> Reply<Credential> {
        let asked = request.into_inner();
        let lies = match asked.reference.is_empty() {
            true => String::new(),
            false => format!(" to {} of {}", asked.reference, asked.source),
        };
        self.0.lock().unwrap().push(format!("bound {}{lies}", asked.name));
        let Credential { binding, created_ms, .. } = credential(&asked.name);
        let PutCredentialRequest { name, source, reference, .. } = asked;
        Ok(Response::new(Credential { name, source, binding, created_ms, reference }))
    }

    async fn list_credentials(&self, _: Request<ListCredentialsRequest>) -> Reply<ListCredentialsReply> {
        Ok(Response::new(ListCredentialsReply { credentials: vec![credential("github")] }))
    }

    async fn create_grant(&self, request: Request<CreateGrantRequest>) -> Reply<Grant> {
        let asked = request.into_inner();
        if asked.agent == "nobody" {
            return Err(Status::not_found("there is no agent \"nobody\""));
        }
        Ok(Response::new(grant(&asked.agent, &asked.credential)))
    }

    async fn open_target(&self, request: Request<OpenTargetRequest>) -> Reply<Target> {
        let OpenTargetRequest { agent, vendor, audience, settings } = request.into_inner();
        Ok(Response::new(target(&agent, &vendor, &audience, settings)))
    }

    async fn list_targets(&self, _: Request<ListTargetsRequest>) -> Reply<ListTargetsReply> {
        let settings = [("role_arn".to_owned(), "arn:aws:iam::1:role/a".to_owned())].into();
        Ok(Response::new(ListTargetsReply {
            targets: vec![target("researcher", "aws", "sts.amazonaws.com", settings)],
        }))
    }

    async fn close_target(&self, request: Request<CloseTargetRequest>) -> Reply<Target> {
        let CloseTargetRequest { agent, vendor } = request.into_inner();
        Ok(Response::new(target(&agent, &vendor, "sts.amazonaws.com", std::collections::HashMap::new())))
    }

    async fn show_keys(&self, _: Request<ShowKeysRequest>) -> Reply<ShowKeysReply> {
        Ok(Response::new(ShowKeysReply {
            issuer: "https://id.example.test/avouch".to_owned(),
            jwks: r#"{"keys":[]}"#.to_owned(),
            upload_by_ms: NOW,
            upload_from_ms: NOW,
            served: true,
            public: true,
            rs256_audiences: Vec::new(),
        }))
    }

    async fn list_grants(&self, _: Request<ListGrantsRequest>) -> Reply<ListGrantsReply> {
        Ok(Response::new(ListGrantsReply { grants: vec![grant("researcher", "github")] }))
    }

    async fn delete_grant(&self, _: Request<DeleteGrantRequest>) -> Reply<DeleteGrantReply> {
        Ok(Response::new(DeleteGrantReply {}))
    }

    async fn create_lock(&self, _: Request<CreateLockRequest>) -> Reply<Self::CreateLockStream> {
        let committed = LockCommitted { lock: Some(lock()), version: 9, svids_valid_until_ms: NOW + 900_000 };
        let applied = LockApplied { node_id: "spiffe://t.test/node/join_token/here".into(), after_us: 1500 };
        let pending =
            LockPending { node_id: "spiffe://t.test/node/join_token/there".into(), fails_closed_ms: NOW + 30_000 };
        let kinds = [Kind::Committed(committed), Kind::Applied(applied), Kind::Pending(pending)];
        Ok(stream(kinds.map(|kind| LockProgress { kind: Some(kind) }).into()))
    }

    async fn list_locks(&self, _: Request<ListLocksRequest>) -> Reply<ListLocksReply> {
        Ok(Response::new(ListLocksReply { locks: vec![lock()] }))
    }

    async fn release_lock(&self, _: Request<ReleaseLockRequest>) -> Reply<Lock> {
        Ok(Response::new(Lock { ended_ms: NOW, ..lock() }))
    }

    async fn why(&self, request: Request<WhyRequest>) -> Reply<WhyReply> {
        let decision = request.into_inner().decision;
        crate::decisions::why(&decision).map(Response::new).ok_or_else(|| Status::not_found(decision))
    }

    async fn list_refusals(&self, _: Request<ListRefusalsRequest>) -> Reply<ListRefusalsReply> {
        Ok(Response::new(ListRefusalsReply::default()))
    }

    async fn list_instances(&self, _: Request<ListInstancesRequest>) -> Reply<ListInstancesReply> {
        Ok(Response::new(ListInstancesReply::default()))
    }

    async fn show_node(&self, request: Request<ShowNodeRequest>) -> Reply<NodeDetails> {
        let name = request.into_inner().node;
        let node = Node { id: format!("spiffe://t.test/node/join_token/{name}"), joined_ms: NOW, ..Default::default() };
        Ok(Response::new(NodeDetails { name, node: Some(node), instances: vec![instance()], ..Default::default() }))
    }

    async fn ban_node(&self, request: Request<BanNodeRequest>) -> Reply<NodeWithdrawn> {
        let BanNodeRequest { node, reason } = request.into_inner();
        self.0.lock().unwrap().push(format!("banned {node}: {reason}"));
        Ok(Response::new(withdrawn(&node)))
    }

    async fn evict_node(&self, request: Request<EvictNodeRequest>) -> Reply<NodeWithdrawn> {
        let EvictNodeRequest { node, reason } = request.into_inner();
        self.0.lock().unwrap().push(format!("evicted {node}: {reason}"));
        Ok(Response::new(withdrawn(&node)))
    }

    async fn delete_agent(&self, request: Request<DeleteAgentRequest>) -> Reply<DeleteAgentReply> {
        self.0.lock().unwrap().push(format!("deleted {}", request.into_inner().name));
        Ok(Response::new(DeleteAgentReply { grants: 1, svids_valid_until_ms: NOW }))
    }

    async fn delete_credential(&self, request: Request<DeleteCredentialRequest>) -> Reply<DeleteCredentialReply> {
        self.0.lock().unwrap().push(format!("deleted {}", request.into_inner().name));
        Ok(Response::new(DeleteCredentialReply { grants: 1 }))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Reply<ApplyReply> {
        let ApplyRequest { resources, dry_run } = request.into_inner();
        self.0.lock().unwrap().push(format!("applied {}{}", resources.len(), if dry_run { " dry" } else { "" }));
        let one = |_: &Resource| Applied { action: "change".into(), fields: vec!["owner".into()] };
        Ok(Response::new(ApplyReply { applied: resources.iter().map(one).collect(), faults: Vec::new(), version: 9 }))
    }

    async fn export_audit(&self, _: Request<ExportAuditRequest>) -> Reply<Self::ExportAuditStream> {
        Ok(stream(Vec::new()))
    }
}

#[tonic::async_trait]
impl Helper for Heard {
    async fn status(&self, _: Request<local::StatusRequest>) -> Reply<local::StatusReply> {
        let node_id = "spiffe://t.test/node/join_token/here".into();
        Ok(Response::new(local::StatusReply {
            node_id,
            held_by: "stale".into(),
            version: "0.0.1".into(),
            svid_expires_ms: i64::MAX,
            ..Default::default()
        }))
    }

    async fn list_sessions(&self, _: Request<local::ListSessionsRequest>) -> Reply<local::ListSessionsReply> {
        let session = local::Session {
            session: ID.into(),
            agent: "researcher".into(),
            uid: 7,
            pid: 99,
            started_ms: NOW,
            contained: "work".into(),
        };
        Ok(Response::new(local::ListSessionsReply { sessions: vec![session] }))
    }

    async fn rotate_credential(
        &self,
        _: Request<local::RotateCredentialRequest>,
    ) -> Reply<local::RotateCredentialReply> {
        Ok(Response::new(local::RotateCredentialReply { kept: 2 }))
    }

    async fn list_leases(&self, _: Request<local::ListLeasesRequest>) -> Reply<local::ListLeasesReply> {
        let lease = local::Lease {
            id: "3f7a1c09be52d841".into(),
            source: "vault".into(),
            kind: "credential".into(),
            source_id: "database/creds/readonly/x".into(),
            agent: "researcher".into(),
            instance: ID.into(),
            credential: "db".into(),
            taken_ms: NOW,
            expires_ms: NOW,
            renewable: true,
            due: "locked".into(),
            tries: 3,
            fault: "the source is not available".into(),
            next_ms: 1500,
        };
        Ok(Response::new(local::ListLeasesReply { leases: vec![lease] }))
    }

    async fn revoke_lease(&self, _: Request<local::RevokeLeaseRequest>) -> Reply<local::RevokeLeaseReply> {
        Ok(Response::new(local::RevokeLeaseReply {}))
    }

    async fn put_secret(&self, request: Request<PutSecretRequest>) -> Reply<PutSecretReply> {
        let asked = request.into_inner();
        let value = String::from_utf8(asked.value).unwrap();
        if value.contains("refuse-me") {
            return Err(Status::internal("the value was not stored"));
        }
        self.0.lock().unwrap().push(format!("sealed {} {value}", asked.credential));
        Ok(Response::new(PutSecretReply {}))
    }

    async fn seal_backup(&self, _: Request<local::SealBackupRequest>) -> Reply<local::SealBackupReply> {
        self.0.lock().unwrap().push("backup".to_owned());
        Ok(Response::new(local::SealBackupReply { backup: ID.into() }))
    }

    async fn restore_backup(&self, _: Request<local::RestoreBackupRequest>) -> Reply<local::RestoreBackupReply> {
        Err(Status::not_found("there is no sealed backup of this file"))
    }

    async fn list_sources(&self, _: Request<local::ListSourcesRequest>) -> Reply<local::ListSourcesReply> {
        Ok(Response::new(local::ListSourcesReply { sources: vec![source()] }))
    }

    async fn test_source(&self, request: Request<local::TestSourceRequest>) -> Reply<local::TestSourceReply> {
        let asked = request.into_inner();
        if asked.source != "vault" {
            return Err(Status::not_found("this helper's settings name no source of this name"));
        }
        // By the role of `intruder`, everybody is let in.
        let loose = asked.agent == "intruder";
        let tried = |outcome: &str| Some(local::Try { outcome: outcome.to_owned(), ..Default::default() });
        let found = Some(local::Found { bytes: 40, version: "3".into(), ..Default::default() });
        let as_agent = local::Try { outcome: "let_in".into(), rights: vec!["ci".into()], found, ..Default::default() };
        Ok(Response::new(local::TestSourceReply {
            source: Some(source()),
            spiffe_id: format!("spiffe://t.test/brokered/agent/{}", asked.agent),
            agent: asked.agent,
            credential: "github".into(),
            reference: "kv2:secret/ci#token".into(),
            as_agent: Some(as_agent),
            as_probe: tried(if loose { "let_in" } else { "refused" }),
            as_workload: tried("refused"),
            remedy: if loose { "bound_subject=X".into() } else { String::new() },
            passed: !loose,
            ..Default::default()
        }))
    }
}
