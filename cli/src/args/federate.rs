//! `federate` and `jwks`: agents that go to clouds and model vendors with identity tokens of their own.

use super::name;
use crate::complete::live;
use avouch_words::Name;
use avouch_words::target::Vendor;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `federate`.
#[derive(Debug, Subcommand)]
pub enum FederateVerb {
    /// Let an agent use the Claude API without a key.
    #[command(
        before_help = "Example:\n  avouch federate anthropic --agent researcher --rule fdrl_01 --organization 5f0c0f5e-0f51-4d3b-8d3f-6a0f5b7f3c11 --service-account svac_01"
    )]
    Anthropic(Box<ToAnthropic>),
    /// Let an agent use the OpenAI API or Codex without a key.
    #[command(
        before_help = "Examples:\n  avouch federate openai --agent researcher --identity-provider idp_01 --service-account sa_01\n  avouch federate openai --agent coder --rule idpm_01"
    )]
    Openai(Box<ToOpenai>),
    /// Let an agent assume a role of AWS.
    #[command(
        before_help = "Example:\n  avouch federate aws --agent researcher --role-arn arn:aws:iam::123456789012:role/researcher --region eu-west-1"
    )]
    Aws(Box<ToAws>),
    /// Let an agent use Google Cloud.
    #[command(
        before_help = "Example:\n  avouch federate gcp --agent researcher --provider projects/123456789012/locations/global/workloadIdentityPools/avouch/providers/avouch"
    )]
    Gcp(Box<ToGcp>),
    /// Let an agent use Azure.
    #[command(
        before_help = "Example:\n  avouch federate azure --agent researcher --tenant 11111111-2222-3333-4444-555555555555 --client 66666666-7777-8888-9999-000000000000"
    )]
    Azure(Box<ToAzure>),
    /// List who may go where.
    #[command(before_help = "Example:\n  avouch federate list")]
    List,
    /// Let an agent go to a vendor no more. Tokens that it has hold until they end.
    #[command(before_help = "Example:\n  avouch federate close aws --agent researcher")]
    Close {
        /// The vendor: anthropic, openai, aws, gcp or azure.
        #[arg(value_parser = vendor)]
        vendor: Vendor,
        /// The agent.
        #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::agents))]
        agent: Name,
    },
    /// One exchange of this session's token, as --test makes it: the order comes on stdin.
    #[command(hide = true, before_help = "Example:\n  avouch federate exchange")]
    Exchange,
}

/// What is asked for every vendor.
#[derive(Debug, Args)]
pub struct Federated {
    /// The agent.
    #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::agents))]
    pub agent: Name,
    /// Whom the tokens are for, where it is not the vendor's usual audience.
    #[arg(long, value_name = "AUDIENCE")]
    pub audience: Option<String>,
    /// Exchange one token with the vendor, in a session of the agent.
    #[arg(long)]
    pub test: bool,
    /// Where to exchange it: a private endpoint, instead of the vendor's own.
    #[arg(long, value_name = "URL", requires = "test")]
    pub endpoint: Option<String>,
    /// Certificates that the endpoint is verified with, PEM, beside the system's.
    #[arg(long, value_name = "FILE", requires = "test")]
    pub ca: Option<PathBuf>,
}

/// `federate anthropic`.
#[derive(Debug, Args)]
pub struct ToAnthropic {
    /// For every vendor.
    #[command(flatten)]
    pub common: Federated,
    /// The federation rule, fdrl_ID
    #[arg(long, value_name = "ID")]
    pub rule: String,
    /// The organization's UUID.
    #[arg(long, value_name = "UUID")]
    pub organization: String,
    /// The service account, svac_ID
    #[arg(long, value_name = "ID")]
    pub service_account: Option<String>,
    /// The workspace, wrkspc_ID or default.
    #[arg(long, value_name = "ID")]
    pub workspace: Option<String>,
}

/// `federate openai`.
#[derive(Debug, Args)]
pub struct ToOpenai {
    /// For every vendor.
    #[command(flatten)]
    pub common: Federated,
    /// The API's workload identity provider.
    #[arg(long, value_name = "ID", requires = "service_account", required_unless_present = "rule")]
    pub identity_provider: Option<String>,
    /// The API's service account.
    #[arg(long, value_name = "ID", requires = "identity_provider")]
    pub service_account: Option<String>,
    /// The federation rule of Codex.
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
}

/// `federate aws`.
#[derive(Debug, Args)]
pub struct ToAws {
    /// For every vendor.
    #[command(flatten)]
    pub common: Federated,
    /// The role to assume.
    #[arg(long, value_name = "ARN")]
    pub role_arn: String,
    /// The region, whose STS is asked.
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// The name of the role's session.
    #[arg(long, value_name = "NAME")]
    pub session_name: Option<String>,
}

/// `federate gcp`.
#[derive(Debug, Args)]
pub struct ToGcp {
    /// For every vendor.
    #[command(flatten)]
    pub common: Federated,
    /// The workload identity provider: projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER
    #[arg(long, value_name = "RESOURCE")]
    pub provider: String,
    /// A service account to act as.
    #[arg(long, value_name = "EMAIL")]
    pub service_account: Option<String>,
    /// The project that calls are for.
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// A private endpoint of STS, which the SDK is told too.
    #[arg(long, value_name = "URL")]
    pub token_url: Option<String>,
}

/// `federate azure`.
#[derive(Debug, Args)]
pub struct ToAzure {
    /// For every vendor.
    #[command(flatten)]
    pub common: Federated,
    /// The tenant's ID.
    #[arg(long, value_name = "ID")]
    pub tenant: String,
    /// The application's ID.
    #[arg(long, value_name = "ID")]
    pub client: String,
    /// Another authority than login.microsoftonline.com, which the SDK is told too.
    #[arg(long, value_name = "URL")]
    pub authority: Option<String>,
}

/// A vendor, what is asked for every vendor, and the settings of this one.
pub type Ordered = (Vendor, Federated, BTreeMap<String, String>);

impl FederateVerb {
    /// The vendor that is to be opened, with its settings; the verb itself where it is another.
    pub fn opened(self) -> Result<Ordered, Self> {
        let some = |all: Vec<(&str, Option<String>)>| {
            all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        };
        Ok(match self {
            Self::Anthropic(to) => {
                let to = *to;
                let settings = vec![
                    ("rule", Some(to.rule)),
                    ("organization", Some(to.organization)),
                    ("service_account", to.service_account),
                    ("workspace", to.workspace),
                ];
                (Vendor::Anthropic, to.common, some(settings))
            }
            Self::Openai(to) => {
                let to = *to;
                let settings = vec![
                    ("identity_provider", to.identity_provider),
                    ("service_account", to.service_account),
                    ("rule", to.rule),
                ];
                (Vendor::Openai, to.common, some(settings))
            }
            Self::Aws(to) => {
                let to = *to;
                let settings =
                    vec![("role_arn", Some(to.role_arn)), ("region", to.region), ("session_name", to.session_name)];
                (Vendor::Aws, to.common, some(settings))
            }
            Self::Gcp(to) => {
                let to = *to;
                let settings = vec![
                    ("provider", Some(to.provider)),
                    ("service_account", to.service_account),
                    ("project", to.project),
                    ("token_url", to.token_url),
                ];
                (Vendor::Gcp, to.common, some(settings))
            }
            Self::Azure(to) => {
                let to = *to;
                let settings =
                    vec![("tenant", Some(to.tenant)), ("client", Some(to.client)), ("authority", to.authority)];
                (Vendor::Azure, to.common, some(settings))
            }
            other @ (Self::List | Self::Close { .. } | Self::Exchange) => return Err(other),
        })
    }
}

/// `jwks`.
#[derive(Debug, Subcommand)]
pub enum JwksVerb {
    /// Print the keys that tokens are verified with, for vendors that take uploaded keys, and say until when they do.
    #[command(before_help = "Examples:\n  avouch jwks print\n  avouch jwks print --url")]
    Print {
        /// Print where the keys are served instead.
        #[arg(long)]
        url: bool,
    },
}

fn vendor(text: &str) -> Result<Vendor, String> {
    Vendor::parse(text).ok_or_else(|| "the vendors are anthropic, openai, aws, gcp and azure".to_owned())
}
