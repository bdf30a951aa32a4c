//! The issuer as this helper knows it. One task (`sync`) connects; whoever has something to ask uses that connection
//! or learns at once that there is none.

use crate::identity::brokered::{Bearer, SignBrokered};
use crate::identity::jwt::SignJwt;
use crate::identity::{Answer, IdentityKey, Order, SignX509, Unreachable};
use crate::ids;
use avouch_wire::issuer as wire;
use avouch_wire::issuer::node_client::NodeClient;
use avouch_wire::tls::{self, LiveIdentity};
use avouch_words::Ulid;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Asks the issuer, over the connection there is.
#[derive(Clone)]
pub struct Issuer {
    channel: watch::Receiver<Option<Channel>>,
}

/// Makes the connection, to one of the issuers that share a database: to the same as long as it serves, and to the next
/// once it does not.
pub struct Link {
    addresses: Vec<String>,
    /// Which of them.
    at: usize,
    config: Arc<rustls::ClientConfig>,
    identity: LiveIdentity,
    channel: watch::Sender<Option<Channel>>,
    confirmed: watch::Sender<u64>,
}

/// No connection could be made.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LinkFault(#[from] tls::DialError);

impl LinkFault {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match &self.0 {
            tls::DialError::Unreachable { .. } => "issuer_unreachable",
            tls::DialError::NotExpected { .. } => "issuer_not_expected",
            tls::DialError::NotNow { .. } => "clock_off",
        }
    }
}

/// What the issuer said to a single question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskFault {
    /// It did not answer, or cannot at the moment.
    #[error("the issuer does not answer")]
    Unreachable,
    /// It refuses.
    #[error("the issuer refuses")]
    Refused,
}

impl Link {
    /// To one of these, each a `host:port`, beginning anywhere so that nodes spread; each connection shows the identity
    /// of its moment.
    pub fn new(addresses: &[String], config: Arc<rustls::ClientConfig>, identity: LiveIdentity) -> (Self, Issuer) {
        let (channel, receiver) = watch::channel(None);
        // Without randomness at the first one.
        let at = ids::random::<1>().map_or(0, |[byte]| usize::from(byte) % addresses.len().max(1));
        let addresses = addresses.to_vec();
        let link = Self { addresses, at, config, identity, channel, confirmed: watch::Sender::new(0) };
        (link, Issuer { channel: receiver })
    }

    /// How many issuers there are.
    pub fn issuers(&self) -> usize {
        self.addresses.len()
    }

    /// The one that is dialled.
    pub fn address(&self) -> &str {
        self.addresses.get(self.at).map_or("", String::as_str)
    }

    /// The next dial goes to the next issuer.
    pub fn move_over(&mut self) {
        self.at = (self.at + 1) % self.addresses.len().max(1);
    }

    /// Counts connections on which the issuer took our identity.
    pub fn confirmations(&self) -> watch::Receiver<u64> {
        self.confirmed.subscribe()
    }

    /// Connects, and lets everybody use the connection.
    pub async fn dial(&mut self) -> Result<NodeClient<Channel>, LinkFault> {
        self.identity.mark_unchanged();
        let channel = tls::dial(self.address(), self.config.clone()).await?;
        self.channel.send_replace(Some(channel.clone()));
        Ok(client(channel))
    }

    /// The issuer answered on this connection, so it took the identity shown.
    pub fn confirm(&self) {
        self.confirmed.send_modify(|count| *count += 1);
    }

    /// Nobody starts anything on the connection any more.
    pub fn hang_up(&self) {
        self.channel.send_replace(None);
    }

    /// Waits until there is another identity to show than at the last dial.
    pub async fn renewed(&mut self) {
        if self.identity.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Issuer {
    fn client(&self) -> Result<NodeClient<Channel>, AskFault> {
        self.channel.borrow().clone().map(client).ok_or(AskFault::Unreachable)
    }

    /// A fresh SVID for this node.
    pub async fn renew(&self, csr: Vec<u8>) -> Result<wire::NodeSvid, AskFault> {
        let mut client = self.client()?;
        ask(async move { client.renew(wire::RenewRequest { csr }).await }).await
    }

    /// An instance has ended.
    pub async fn end_instance(&self, instance: Ulid) -> Result<(), AskFault> {
        let mut client = self.client()?;
        let request = wire::EndInstanceRequest { instance: instance.to_string() };
        ask(async move { client.end_instance(request).await }).await.map(|_| ())
    }

    /// Announces the audit spool.
    pub async fn open_spool(&self, request: wire::OpenSpoolRequest) -> Result<wire::SpoolPosition, AskFault> {
        let mut client = self.client()?;
        ask(async move { client.open_spool(request).await }).await
    }

    /// Ships records.
    pub async fn ship_audit(&self, request: wire::ShipAuditRequest) -> Result<wire::SpoolPosition, AskFault> {
        let mut client = self.client()?;
        ask(async move { client.ship_audit(request).await }).await
    }

    /// Waits until there is a connection.
    pub async fn connected(&mut self) {
        if self.channel.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl SignX509 for Issuer {
    fn sign_x509(&self, orders: Vec<Order>) -> BoxFuture<'static, Result<Vec<Answer>, Unreachable>> {
        let client = self.client();
        async move {
            let mut client = client.map_err(|_| Unreachable)?;
            let orders = orders.into_iter().map(|order| wire::X509Order {
                agent: order.whose.agent.to_string(),
                instance: order.whose.instance.to_string(),
                csr: order.csr,
            });
            let request = wire::SignX509Request { orders: orders.collect() };
            let reply = ask(async move { client.sign_x509(request).await }).await.map_err(|_| Unreachable)?;
            Ok(reply.answers.into_iter().map(answer).collect())
        }
        .boxed()
    }
}

impl SignJwt for Issuer {
    fn sign_jwt(&self, whose: IdentityKey, audience: Vec<String>) -> BoxFuture<'static, Result<String, AskFault>> {
        let client = self.client();
        let (agent, instance) = (whose.agent.to_string(), whose.instance.to_string());
        async move {
            let mut client = client?;
            let request = wire::SignJwtRequest { agent, instance, audience };
            Ok(ask(async move { client.sign_jwt(request).await }).await?.token)
        }
        .boxed()
    }
}

impl SignBrokered for Issuer {
    fn begin(&self, whose: IdentityKey) -> BoxFuture<'static, Result<(), AskFault>> {
        let client = self.client();
        let (agent, instance) = (whose.agent.to_string(), whose.instance.to_string());
        async move {
            let mut client = client?;
            let request = wire::BeginInstanceRequest { agent, instance };
            ask(async move { client.begin_instance(request).await }).await.map(|_| ())
        }
        .boxed()
    }

    fn sign_brokered(&self, bearer: Bearer, audience: String) -> BoxFuture<'static, Result<String, AskFault>> {
        let client = self.client();
        async move {
            let mut client = client?;
            let (agent, instance, probe) = said(&bearer);
            let request = wire::SignBrokeredRequest { agent, instance, audience, probe };
            Ok(ask(async move { client.sign_brokered(request).await }).await?.token)
        }
        .boxed()
    }

    fn sign_brokered_x509(
        &self,
        bearer: Bearer,
        csr: Vec<u8>,
    ) -> BoxFuture<'static, Result<Vec<CertificateDer<'static>>, AskFault>> {
        let client = self.client();
        async move {
            let mut client = client?;
            let (agent, instance, probe) = said(&bearer);
            let request = wire::SignBrokeredX509Request { agent, instance, csr, probe };
            let issued = ask(async move { client.sign_brokered_x509(request).await }).await?;
            Ok(issued.chain.into_iter().map(CertificateDer::from).collect())
        }
        .boxed()
    }
}

/// Agent, instance and whether it is a probe, as messages say them.
fn said(bearer: &Bearer) -> (String, String, bool) {
    match bearer {
        Bearer::Agent(whose) => (whose.agent.to_string(), whose.instance.to_string(), false),
        Bearer::Node => (String::new(), String::new(), false),
        Bearer::Probe => (String::new(), String::new(), true),
    }
}

fn answer(answer: wire::X509Answer) -> Answer {
    match answer.kind {
        Some(wire::x509_answer::Kind::Issued(issued)) => {
            Answer::Issued(issued.chain.into_iter().map(CertificateDer::from).collect())
        }
        Some(wire::x509_answer::Kind::Refusal(refusal)) => Answer::Refused(refusal.code),
        None => Answer::Refused("unknown_answer".to_owned()),
    }
}

fn client(channel: Channel) -> NodeClient<Channel> {
    NodeClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

/// One question with a deadline, and by whose fault it failed.
async fn ask<T>(question: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, AskFault> {
    match tokio::time::timeout(DEADLINE, question).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(fault(&status)),
        Err(_) => Err(AskFault::Unreachable),
    }
}

/// The issuer's codes, by what the helper does about them.
fn fault(status: &Status) -> AskFault {
    tracing::warn!(code = ?status.code(), message = status.message(), "the issuer answered with an error");
    match status.code() {
        Code::PermissionDenied
        | Code::InvalidArgument
        | Code::NotFound
        | Code::Unauthenticated
        | Code::FailedPrecondition => AskFault::Refused,
        _ => AskFault::Unreachable,
    }
}

/// For one answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// A node's whole state is the largest.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;
