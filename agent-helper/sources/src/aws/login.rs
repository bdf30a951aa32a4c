//! Who AWS takes us for. With a web identity each instance of an agent has a session of its own, so that AWS's own
//! policies and trail see the agent; with the other logins all of them are one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avouch_words::{Clock, Millis, Name};
use aws_config::imds::{self, credentials::ImdsCredentialsProvider};
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::{Credentials, ProvideCredentials};
use tokio::sync::Mutex as AsyncMutex;
use zeroize::Zeroizing;

use super::fault::{Refused, refused};
use crate::file::PrivateFile;
use crate::unusable::{Unusable, check_address};
use crate::{Entrant, Shown, SourceFault, Who};

/// How long a session lasts, by [`DURATION_SECONDS`]: the shortest that STS makes.
const DURATION_SECONDS: i32 = 900;
/// How long before its end a session is used no more.
pub const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How long keys are kept that do not say when they end.
pub const WITHOUT_END: Duration = Duration::from_secs(60);
/// The most sessions at once; with more, the one that was not asked for the longest is dropped.
pub const SESSIONS_MAX: usize = 1024;
/// What stands for the agent's name in a role's ARN.
const AGENT: &str = "{agent}";
/// The shortest name of a session.
const SESSION_NAME_MIN: usize = 2;

/// A session can read secrets and nothing else, whatever else its role may do. Secrets under a key of one's own are
/// decrypted with the rights of whoever reads them.
const SESSION_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["secretsmanager:GetSecretValue","kms:Decrypt"],"Resource":"*"}]}"#;

/// How the account is entered.
#[derive(Debug, Clone)]
pub enum Login {
    /// With the brokered JWT-SVID of the agent, by `AssumeRoleWithWebIdentity`.
    WebIdentity {
        /// The role's ARN, in which `{agent}` stands for the agent's name.
        role_arn: String,
        /// The audience: a client id of the account's OIDC provider.
        audience: String,
        /// Where STS is; the region's own without one.
        sts_endpoint: Option<String>,
    },
    /// With a profile of the helper's own user.
    Profile(Option<String>),
    /// With the role of the machine, by IMDSv2.
    Instance {
        /// Where the metadata service is; the link-local address without one.
        endpoint: Option<String>,
    },
    /// With keys from a file for the helper's eyes alone, in the form of a shared credentials file.
    File(String),
}

pub(super) struct Sessions {
    source: Name,
    way: Way,
    base: aws_sdk_secretsmanager::config::Builder,
    kept: Mutex<HashMap<Option<Who>, Slot>>,
    clock: Arc<dyn Clock>,
}

enum Way {
    WebIdentity { sts: aws_sdk_sts::Client, role_arn: String, audience: String },
    Provider { word: &'static str, keys: Box<dyn ProvideCredentials> },
    File(PrivateFile),
}

struct Slot {
    session: Arc<AsyncMutex<Option<Session>>>,
    asked: Duration,
}

/// Keys with their client, until they are used no more.
struct Session {
    client: Client,
    until: Millis,
    /// Of the file that they are from.
    version: Option<String>,
    /// Whom AWS takes us for, where it said so.
    seen_as: Option<String>,
}

impl Sessions {
    pub(super) fn new(
        source: Name,
        login: Login,
        base: aws_sdk_secretsmanager::config::Builder,
        sts: aws_sdk_sts::config::Builder,
        provider: &ProviderConfig,
        credentials: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Unusable> {
        let way = match login {
            Login::WebIdentity { role_arn, audience, sts_endpoint } => {
                sts_endpoint.as_deref().map_or(Ok(()), check_address)?;
                let mut sts = sts;
                sts.set_endpoint_url(sts_endpoint);
                Way::WebIdentity { sts: aws_sdk_sts::Client::from_conf(sts.build()), role_arn, audience }
            }
            Login::Profile(profile) => {
                let mut builder = ProfileFileCredentialsProvider::builder().configure(provider);
                if let Some(profile) = profile {
                    builder = builder.profile_name(profile);
                }
                Way::Provider { word: "profile", keys: Box::new(builder.build()) }
            }
            Login::Instance { endpoint } => {
                let mut client = imds::Client::builder().configure(provider).max_attempts(1);
                if let Some(endpoint) = endpoint {
                    client = client.endpoint(endpoint).map_err(|_| Unusable::Address)?;
                }
                let builder = ImdsCredentialsProvider::builder().configure(provider).imds_client(client.build());
                Way::Provider { word: "instance", keys: Box::new(builder.build()) }
            }
            Login::File(path) => Way::File(PrivateFile::new(&path, credentials).ok_or(Unusable::Path)?),
        };
        Ok(Self { source, way, base, kept: Mutex::default(), clock })
    }

    /// A client that AWS takes for whoever enters. One login at a time for each.
    pub(super) async fn enter(&self, entrant: &dyn Entrant) -> Result<Client, SourceFault> {
        let slot = self.slot(self.key(entrant.who()));
        let mut held = slot.lock().await;
        let version = match &self.way {
            Way::File(file) => file.version(),
            Way::WebIdentity { .. } | Way::Provider { .. } => None,
        };
        if let Some(session) = held.as_ref()
            && self.clock.now() < session.until
            && session.version == version
        {
            return Ok(session.client.clone());
        }
        *held = None;
        let session = self.log_in(entrant).await.map_err(|refused| refused.fault)?;
        let client = session.client.clone();
        *held = Some(session);
        Ok(client)
    }

    /// A client of a login that is made now and not kept, and whom AWS takes us for, where it says so.
    pub(super) async fn enter_anew(&self, entrant: &dyn Entrant) -> Result<(Client, Option<String>), SourceFault> {
        let session = self.log_in(entrant).await.map_err(|refused| refused.fault)?;
        Ok((session.client, session.seen_as))
    }

    /// The way in, in the word that the settings use, and for which audience it shows an identity.
    pub(super) fn about(&self) -> (&'static str, Shown) {
        match &self.way {
            Way::WebIdentity { audience, .. } => ("web_identity", Shown::Jwt { audience: audience.clone() }),
            Way::Provider { word, .. } => (word, Shown::Nothing),
            Way::File(_) => ("file", Shown::Nothing),
        }
    }

    /// Drops the session that was refused.
    pub(super) fn forget(&self, who: &Who) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key(who));
    }

    /// Drops the sessions of an agent. STS has no way to end one, so nothing is told to it.
    pub(super) fn leave(&self, left: &Name) {
        let of = |who: &Option<Who>| matches!(who, Some(Who::Agent { agent, .. }) if agent == left);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|who, _| !of(who));
    }

    fn key(&self, who: &Who) -> Option<Who> {
        matches!(self.way, Way::WebIdentity { .. }).then(|| who.clone())
    }

    fn slot(&self, key: Option<Who>) -> Arc<AsyncMutex<Option<Session>>> {
        let now = self.clock.boot();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains_key(&key)
            && kept.len() >= SESSIONS_MAX
            && let Some(oldest) = kept.iter().min_by_key(|(_, slot)| slot.asked).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        let slot = kept.entry(key).or_insert_with(|| Slot { session: Arc::default(), asked: now });
        slot.asked = now;
        Arc::clone(&slot.session)
    }

    async fn log_in(&self, entrant: &dyn Entrant) -> Result<Session, Refused> {
        match &self.way {
            Way::WebIdentity { sts, role_arn, audience } => {
                let agent = match entrant.who() {
                    Who::Agent { agent, .. } => agent,
                    // Nothing is read on behalf of a node, and nothing is owed here.
                    Who::Node => return Err(SourceFault::NoIdentity.into()),
                };
                let token = entrant.jwt(audience).await?;
                let token = std::str::from_utf8(token.expose()).map_err(|_| SourceFault::NoIdentity)?;
                let assumed = sts
                    .assume_role_with_web_identity()
                    .role_arn(role_arn.replace(AGENT, agent.as_str()))
                    .role_session_name(session_name(agent))
                    .web_identity_token(token)
                    .policy(SESSION_POLICY)
                    .duration_seconds(DURATION_SECONDS)
                    .send()
                    .await
                    .map_err(|error| refused("AssumeRoleWithWebIdentity", error))?;
                let keys = assumed.credentials.ok_or(SourceFault::Garbage)?;
                let ends = Millis(keys.expiration.to_millis().map_err(|_| SourceFault::Garbage)?);
                let token = Some(keys.session_token);
                let keys = Credentials::new(keys.access_key_id, keys.secret_access_key, token, None, PROVIDER);
                let mut session = self.session(keys, Some(ends), None);
                session.seen_as = assumed.assumed_role_user.map(|user| user.arn);
                Ok(session)
            }
            Way::Provider { keys, .. } => {
                let keys = keys.provide_credentials().await.map_err(|error| {
                    tracing::warn!(source = %self.source, "the login's keys cannot be had");
                    match error {
                        aws_credential_types::provider::error::CredentialsError::ProviderTimedOut(_) => {
                            SourceFault::Unavailable
                        }
                        _ => SourceFault::NoIdentity,
                    }
                })?;
                let ends = keys.expiry().map(millis);
                Ok(self.session(keys, ends, None))
            }
            Way::File(file) => {
                let held = file.read(&self.source).map_err(|fault| match fault {
                    SourceFault::Missing => SourceFault::NoIdentity,
                    other => other,
                })?;
                let keys = read_keys(&held.bytes).ok_or(SourceFault::NoIdentity)?;
                Ok(self.session(keys, None, Some(held.version)))
            }
        }
    }

    fn session(&self, keys: Credentials, ends: Option<Millis>, version: Option<String>) -> Session {
        let now = self.clock.now();
        let margin = i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX);
        let until = ends.map_or_else(|| now.plus(WITHOUT_END), |ends| Millis(ends.0.saturating_sub(margin)));
        let client = Client::from_conf(self.base.clone().credentials_provider(keys).build());
        Session { client, until, version, seen_as: None }
    }
}

const PROVIDER: &str = "avouch";

fn millis(time: SystemTime) -> Millis {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The agent's name, in which every character is one that a session's name may have; but one letter is too short.
fn session_name(agent: &Name) -> String {
    match agent.as_str() {
        short if short.len() < SESSION_NAME_MIN => format!("agent-{short}"),
        long => long.to_owned(),
    }
}

/// The keys of a shared credentials file with one section, or with none.
fn read_keys(bytes: &[u8]) -> Option<Credentials> {
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in std::str::from_utf8(bytes).ok()?.lines().map(str::trim) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let into = match key.trim() {
            "aws_access_key_id" => &mut id,
            "aws_secret_access_key" => &mut secret,
            "aws_session_token" => &mut token,
            _ => continue,
        };
        // A second section, or a doubled line: it is not clear which is meant.
        if into.replace(Zeroizing::new(value.trim().to_owned())).is_some() {
            return None;
        }
    }
    let (id, secret) = (id?, secret?);
    let token = token.map(|token| token.to_string());
    Some(Credentials::new(id.as_str(), secret.as_str(), token, None, PROVIDER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_a_shared_credentials_file() {
        let keys =
            read_keys(b"# ours\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=se/cret=\n").unwrap();
        assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("AKIA1", "se/cret="));
        assert_eq!(keys.session_token(), None);
        let keys = read_keys(b"aws_access_key_id=A\naws_secret_access_key=B\naws_session_token = C\n").unwrap();
        assert_eq!(keys.session_token(), Some("C"));
        let two = b"[a]\naws_access_key_id=A\naws_secret_access_key=B\n[b]\naws_access_key_id=C\n";
        for bad in [b"".as_slice(), b"aws_access_key_id=A", b"\xff", two] {
            assert!(read_keys(bad).is_none());
        }
    }

    #[test]
    fn a_sessions_name_is_the_agents() {
        let named = |agent: &str| session_name(&Name::parse(agent).unwrap());
        assert_eq!(named("researcher-1.x_y"), "researcher-1.x_y");
        assert_eq!(named("a"), "agent-a");
        assert_eq!(named(&"a".repeat(Name::MAX)).len(), 64, "the longest that STS takes");
    }
}
