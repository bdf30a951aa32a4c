//! The first start: a join token is traded for the node's SVID, with an issuer that the token itself pins. Later
//! starts use what is stored.
//!
//! The key is on disk before the request goes out: a reply that got lost is asked for again with the same key, and the
//! issuer answers a used token to that key alone.

use crate::identity::key::NodeMadeKey;
use crate::identity::validate;
use crate::node_files::{FileFault, NodeFiles, NodeIdentity, Turn};
use avouch_attest_node::join_token::{self, JoinToken};
use avouch_config::{self as config, HelperConfig, StartError};
use avouch_wire::Message;
use avouch_wire::issuer::enrolment_client::EnrolmentClient;
use avouch_wire::issuer::{EnrolRequest, NodeSvid, Refusal};
use avouch_wire::tls::{self, DialError};
use avouch_words::{Bundle, Clock, Millis, Secret, SpiffeId, X509Authority};
use rustls_pki_types::CertificateDer;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// What a node is after it has joined.
#[derive(Debug)]
pub struct Joined {
    /// Key and SVID.
    pub identity: NodeIdentity,
    /// What to know the issuer by.
    pub bundle: Bundle,
}

/// The stored identity, or a new one for the join token of the settings.
pub async fn join(config: &HelperConfig, files: &NodeFiles, clock: &Arc<dyn Clock>) -> Result<Joined, StartError> {
    if let Some(bundle) = files.bundle(&config.trust_domain).map_err(unusable)?
        && let Some(identity) = files.identity(&bundle, clock.now()).map_err(unusable)?
    {
        if !is_node(identity.svid.id(), config) {
            return Err(wrong_domain(config, "the stored node SVID", identity.svid.id().trust_domain().as_str()));
        }
        tracing::info!(node = %identity.svid.id(), until = ?identity.svid.not_after(), "node.join.stored");
        return Ok(Joined { identity, bundle });
    }
    if config.join_token.is_none() {
        return Err(if files.has_svid() { StartError::SvidExpired } else { StartError::NotJoined });
    }
    // A token attests once: one that was used, or refused, is no news.
    if files.has_svid() && !has_new_token(config, files) {
        return Err(StartError::SvidExpired);
    }
    join_anew(config, files, clock, None).await
}

/// Whether the token of the settings can be read and was not used, or refused, before.
pub fn has_new_token(config: &HelperConfig, files: &NodeFiles) -> bool {
    let token = config.join_token.as_ref().and_then(|place| read_token(place).ok());
    token.is_some_and(|token| files.spent_token() != Some(token.digest()))
}

/// Trades the token of the settings for a node SVID; for this node's, if it is to be one.
pub async fn join_anew(
    config: &HelperConfig,
    files: &NodeFiles,
    clock: &Arc<dyn Clock>,
    node: Option<&SpiffeId>,
) -> Result<Joined, StartError> {
    let token = read_token(config.join_token.as_ref().ok_or(StartError::NotJoined)?)?;
    if token.trust_domain() != &config.trust_domain {
        return Err(wrong_domain(config, "the join token", token.trust_domain().as_str()));
    }
    let key = match files.key(Turn::Current).map_err(unusable)? {
        Some(key) => key,
        None => {
            let key = NodeMadeKey::generate().map_err(|error| internal("the node's key cannot be made", error))?;
            files.put_key(Turn::Current, &key).map_err(unusable)?;
            key
        }
    };
    let joined = match enrol(config, &token, key, clock).await {
        Ok(joined) => joined,
        Err(refused @ (StartError::TokenRefused | StartError::TokenExpired)) if files.has_svid() => {
            files.put_spent_token(&token.digest()).map_err(unusable)?;
            return Err(refused);
        }
        Err(other) => return Err(other),
    };
    if node.is_some_and(|node| node != joined.identity.svid.id()) {
        files.put_spent_token(&token.digest()).map_err(unusable)?;
        return Err(internal("the join token is another node's", joined.identity.svid.id()));
    }
    files.put_bundle(&joined.bundle).map_err(unusable)?;
    files.put_svid(Turn::Current, &joined.identity.svid).map_err(unusable)?;
    files.drop_next().map_err(unusable)?;
    files.put_spent_token(&token.digest()).map_err(unusable)?;
    tracing::info!(node = %joined.identity.svid.id(), until = ?joined.identity.svid.not_after(), "node.join.done");
    Ok(joined)
}

/// Asks until there is an answer, or patience is at its end.
async fn enrol(
    config: &HelperConfig,
    token: &JoinToken,
    key: NodeMadeKey,
    clock: &Arc<dyn Clock>,
) -> Result<Joined, StartError> {
    let csr = key.csr().map_err(|error| internal("the node's request cannot be made", error))?;
    let patience = tokio::time::Instant::now() + PATIENCE;
    // Any issuer will do: they share what the token is checked against, and a repeated request is answered again.
    let mut issuers = config.issuers.iter().cycle();
    loop {
        let address = issuers.next().map_or("", String::as_str);
        let asked = tokio::time::timeout(ATTEMPT, ask(config, address, token, &csr, clock)).await;
        let failed = match asked {
            Ok(Ok((answer, authority))) => return admit(config, &answer, &authority, key, clock.now()),
            Ok(Err(failed)) => failed,
            Err(_) => unreachable(address, "no answer in time"),
        };
        let again = matches!(failed, StartError::Unreachable { .. }) && tokio::time::Instant::now() < patience;
        if !again {
            return Err(failed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(
    config: &HelperConfig,
    address: &str,
    token: &JoinToken,
    csr: &[u8],
    clock: &Arc<dyn Clock>,
) -> Result<(NodeSvid, X509Authority), StartError> {
    let (tls, pinned) = tls::first_contact_config(token.pin(), token.trust_domain().clone(), clock.clone())
        .map_err(|error| internal("TLS cannot be set up", error))?;
    let channel = tls::dial(address, tls).await.map_err(|error| match error {
        DialError::Unreachable { reason, .. } => unreachable(address, &reason),
        DialError::NotExpected { address, reason } => StartError::Imposter { address, reason },
        DialError::NotNow { address, reason } => StartError::NotNow { address, reason },
    })?;
    // Only now, with the handshake done, does the token's secret part leave this process.
    let authority =
        pinned.authority().cloned().ok_or_else(|| unreachable(address, "the handshake showed no authority"))?;
    let request = EnrolRequest {
        attestor: join_token::NAME.to_owned(),
        evidence: token.evidence().expose().to_vec(),
        csr: csr.to_vec(),
        trust_domain: config.trust_domain.to_string(),
        helper_time_ms: clock.now().0,
    };
    let answer =
        EnrolmentClient::new(channel).enrol(request).await.map_err(|status| refused(config, address, &status))?;
    Ok((answer.into_inner(), authority))
}

/// Chain, key, ID and trust domain, before anything of it is stored.
fn admit(
    config: &HelperConfig,
    answer: &NodeSvid,
    authority: &X509Authority,
    key: NodeMadeKey,
    now: Millis,
) -> Result<Joined, StartError> {
    if now.since(Millis(answer.issuer_time_ms)).max(Millis(answer.issuer_time_ms).since(now)) > CLOCKS_APART {
        return Err(StartError::Clock { limit: CLOCKS_APART });
    }
    let id =
        SpiffeId::parse(&answer.spiffe_id).map_err(|error| internal("the issuer's answer is no node SVID", error))?;
    if !is_node(&id, config) {
        return Err(wrong_domain(config, "the issuer", id.trust_domain().as_str()));
    }
    let x509: Vec<_> = answer.bundle.iter().map(|der| X509Authority(CertificateDer::from(der.clone()))).collect();
    if !x509.contains(authority) {
        return Err(internal("the issuer's answer is no node SVID", "its bundle lacks the authority that was pinned"));
    }
    let bundle = Bundle { trust_domain: config.trust_domain.clone(), x509, jwt: Vec::new() };
    let chain: Vec<_> = answer.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let svid = validate::check(&id, &chain, &key, &bundle, now)
        .map_err(|error| internal("the issuer's answer is no node SVID", error))?;
    Ok(Joined { identity: NodeIdentity { key: Arc::new(key), svid }, bundle })
}

/// Whether this is a node's ID of our trust domain.
pub fn is_node(id: &SpiffeId, config: &HelperConfig) -> bool {
    id.is_member_of(&config.trust_domain) && id.path().starts_with("/node/")
}

fn read_token(place: &config::JoinToken) -> Result<JoinToken, StartError> {
    let text = match place {
        config::JoinToken::File(path) => {
            config::read_secret(path).map_err(|fault| StartError::TokenFile { path: path.clone(), fault })?
        }
        config::JoinToken::Stdin => read_stdin().map_err(|error| StartError::TokenMalformed(error.to_string()))?,
    };
    JoinToken::parse(&text).map_err(|error| StartError::TokenMalformed(error.to_string()))
}

/// The first line of the standard input, in a buffer that does not grow.
fn read_stdin() -> std::io::Result<Secret> {
    let mut bytes = Vec::with_capacity(MAX_TOKEN);
    let mut byte = [0];
    let mut input = std::io::stdin().lock();
    while bytes.len() < MAX_TOKEN && input.read(&mut byte)? == 1 && byte != *b"\n" {
        bytes.extend_from_slice(&byte);
    }
    Ok(Secret::new(bytes))
}

/// The issuer's stable codes, each with its own way to fail.
fn refused(config: &HelperConfig, address: &str, status: &Status) -> StartError {
    let refusal = Refusal::decode(status.details()).unwrap_or_default();
    match (refusal.code.as_str(), status.code()) {
        ("token_expired", _) => StartError::TokenExpired,
        ("token_used" | "denied", _) => StartError::TokenRefused,
        ("wrong_trust_domain", _) => wrong_domain(config, "the issuer", "another"),
        ("clock_off", _) => StartError::Clock { limit: CLOCKS_APART },
        (_, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Unknown) => {
            unreachable(address, status.message())
        }
        _ => StartError::Refused { message: refusal.message, action: refusal.action },
    }
}

fn wrong_domain(config: &HelperConfig, what: &'static str, found: &str) -> StartError {
    StartError::TrustDomain { settings: config.trust_domain.to_string(), what, found: found.to_owned() }
}

fn unreachable(address: &str, reason: &str) -> StartError {
    StartError::Unreachable { address: address.to_owned(), reason: reason.to_owned() }
}

fn unusable(fault: FileFault) -> StartError {
    internal("the node's identity cannot be read or stored", fault)
}

pub(crate) fn internal(what: &'static str, reason: impl ToString) -> StartError {
    StartError::Internal { what, reason: reason.to_string() }
}

/// One attempt, handshake and answer.
const ATTEMPT: Duration = Duration::from_secs(10);
/// For how long an issuer that cannot be reached is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);
/// Further apart the clocks may not be.
const CLOCKS_APART: Duration = Duration::from_secs(30);
/// Longer than any token.
const MAX_TOKEN: usize = 1024;

#[cfg(test)]
mod tests;
