//! AWS Secrets Manager, by the vendor's own client. No environment, profile or metadata service is read unless the
//! settings name it as the login.

mod fault;
mod http;
mod login;
mod reference;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use avouch_words::{Clock, Name, Reference};
use aws_config::provider_config::ProviderConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::{
    BehaviorVersion, IdentityCache, Region, SharedAsyncSleep, StalledStreamProtectionConfig,
};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use fault::{Refused, refused};
use login::Sessions;
use reference::SecretReference;

pub use fault::{PATIENCE, PATIENCE_MAX};
pub use http::BODY_MAX;
pub use login::{Login, MARGIN, SESSIONS_MAX, WITHOUT_END};

use crate::json::{Field, Fields};
use crate::unusable::{Unusable, check_address};
use crate::value::lease;
use crate::{About, Doing, Entered, Entrant, Found, Lease, Obligations, Source, SourceFault, Wanted};

/// How long a connection may take.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// How long one call may take; the broker's own deadline is a little longer.
pub const CALL_DEADLINE: Duration = Duration::from_secs(8);

/// An account, as the settings say it.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// Its region.
    pub region: String,
    /// Where Secrets Manager is, as for a VPC endpoint; the region's own without one.
    pub endpoint: Option<String>,
    /// The only certificates that are believed, PEM; the system's without.
    pub ca_pem: Option<Vec<u8>>,
    /// How it is entered.
    pub login: Login,
    /// How binary values are given.
    pub binary: Binary,
}

/// How binary values are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Binary {
    /// As they are, if they are text.
    #[default]
    Text,
    /// In base64.
    Base64,
}

/// An account's secrets as a source.
pub struct AwsSource {
    name: Name,
    place: String,
    sessions: Sessions,
    binary: Binary,
}

impl AwsSource {
    /// The source of this name. `credentials` is the directory that `$CREDENTIALS_DIRECTORY/` stands for.
    pub fn new(
        name: Name,
        settings: AwsSettings,
        credentials: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Unusable> {
        settings.endpoint.as_deref().map_or(Ok(()), check_address)?;
        let client = http::client(settings.ca_pem.as_deref())?;
        let place = settings.endpoint.clone().unwrap_or_else(|| format!("secretsmanager.{}", settings.region));
        let region = Region::new(settings.region);
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_DEADLINE).operation_timeout(CALL_DEADLINE).build();
        let sleep = SharedAsyncSleep::new(Sleep);
        let mut base = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(region.clone())
            .http_client(client.clone())
            // The broker tries again, and knows when it must not.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.clone())
            .sleep_impl(sleep.clone())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .identity_cache(IdentityCache::no_cache());
        base.set_endpoint_url(settings.endpoint);
        let sts = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(region.clone())
            .http_client(client.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.clone())
            .sleep_impl(sleep.clone())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .identity_cache(IdentityCache::no_cache());
        let provider = ProviderConfig::empty()
            .with_region(Some(region))
            .with_http_client(client)
            .with_sleep_impl(sleep)
            .with_retry_config(RetryConfig::disabled())
            .with_timeout_config(timeouts)
            .with_behavior_version(Some(BehaviorVersion::v2026_01_12()));
        let sessions = Sessions::new(name.clone(), settings.login, base, sts, &provider, credentials, clock)?;
        Ok(Self { name, place, sessions, binary: settings.binary })
    }

    async fn get(&self, wanted: &Wanted) -> Result<Lease, SourceFault> {
        let reference = SecretReference::parse(wanted.reference.as_str()).map_err(|_| SourceFault::Reference)?;
        let mut last = false;
        loop {
            let client = self.sessions.enter(wanted.entrant.as_ref()).await?;
            match self.get_with(&client, &reference).await {
                Ok(lease) => return Ok(lease),
                Err(refused) if refused.by_login => {
                    // It may have ended by AWS's clock though not by ours: once more, with a new one (case T13).
                    self.sessions.forget(wanted.entrant.who());
                    if std::mem::replace(&mut last, true) {
                        return Err(refused.fault);
                    }
                }
                Err(refused) => return Err(refused.fault),
            }
        }
    }

    async fn get_with(&self, client: &Client, reference: &SecretReference<'_>) -> Result<Lease, Refused> {
        let asked = client.get_secret_value().secret_id(reference.id).version_stage(reference.stage);
        let answer = asked.send().await.map_err(|error| refused("GetSecretValue", error))?;
        let version = answer.version_id().map(str::to_owned);
        let mut lease = match reference.key {
            Some(key) => lease(one_key(&whole(answer)?, key)?)?,
            None => lease(self.value(answer)?)?,
        };
        lease.version = version;
        Ok(lease)
    }

    fn value(&self, answer: GetSecretValueOutput) -> Result<Vec<u8>, SourceFault> {
        let binary = answer.secret_string.is_none();
        let mut bytes = whole(answer)?;
        if binary && self.binary == Binary::Base64 {
            let mut coded = vec![0; bytes.len().div_ceil(3) * 4];
            let length = STANDARD.encode_slice(bytes.as_slice(), &mut coded).map_err(|_| SourceFault::Garbage)?;
            coded.truncate(length);
            return Ok(coded);
        }
        Ok(std::mem::take(&mut *bytes))
    }
}

/// What the SDK made of the answer is wrapped at once; its own copy of the body is not wiped by itself.
fn whole(answer: GetSecretValueOutput) -> Result<Zeroizing<Vec<u8>>, SourceFault> {
    match (answer.secret_string, answer.secret_binary) {
        (Some(text), None) => Ok(Zeroizing::new(text.into_bytes())),
        (None, Some(blob)) => Ok(Zeroizing::new(blob.into_inner())),
        _ => Err(SourceFault::Garbage),
    }
}

fn one_key(json: &[u8], key: &str) -> Result<Vec<u8>, SourceFault> {
    let mut fields: Fields = serde_json::from_slice(json).map_err(|_| SourceFault::Garbage)?;
    match fields.get_mut(key) {
        Some(Field::Text(text)) => Ok(std::mem::take(&mut **text).into_bytes()),
        Some(Field::Other) => Err(SourceFault::Garbage),
        None => Err(SourceFault::Missing),
    }
}

impl Source for AwsSource {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "aws"
    }

    fn check_reference(&self, reference: &Reference) -> Result<(), String> {
        SecretReference::parse(reference.as_str()).map(drop).map_err(str::to_owned)
    }

    fn about(&self) -> About {
        let (login, shown) = self.sessions.about();
        About { place: self.place.clone(), login, shown }
    }

    fn try_entry<'a>(
        &'a self,
        entrant: &'a dyn Entrant,
        sought: Option<&'a Wanted>,
        _owed: &'a dyn Obligations,
    ) -> Doing<'a, Entered> {
        Box::pin(async move {
            let (client, seen_as) = self.sessions.enter_anew(entrant).await?;
            let found = match sought.map(|wanted| SecretReference::parse(wanted.reference.as_str())) {
                Some(Ok(reference)) => match self.get_with(&client, &reference).await {
                    Ok(lease) => Some(Found::of(&lease)),
                    Err(refused) => Some(Err(refused.fault)),
                },
                Some(Err(_)) => Some(Err(SourceFault::Reference)),
                None => None,
            };
            Ok(Entered { rights: Vec::new(), seen_as, found })
        })
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, _owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(self.get(wanted))
    }

    fn leave<'a>(&'a self, agent: &'a Name) -> Doing<'a, ()> {
        Box::pin(async {
            self.sessions.leave(agent);
            Ok(())
        })
    }
}

impl std::fmt::Debug for AwsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsSource").field("name", &self.name).finish()
    }
}

/// The SDK's timeouts on our runtime.
#[derive(Debug)]
struct Sleep;

impl aws_sdk_secretsmanager::config::AsyncSleep for Sleep {
    fn sleep(&self, duration: Duration) -> aws_sdk_secretsmanager::config::Sleep {
        aws_sdk_secretsmanager::config::Sleep::new(tokio::time::sleep(duration))
    }
}
