//! What each vendor wants. Names of variables, fields and audiences are those of the vendors' own SDKs and documents.

use super::Target;
use serde_json::json;
use std::collections::BTreeMap;

/// A vendor that trades an identity token for access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vendor {
    /// The Claude API.
    Anthropic,
    /// The OpenAI API, and Codex.
    Openai,
    /// STS web identity.
    Aws,
    /// Workload identity federation of Google Cloud.
    Gcp,
    /// Federated identity credentials of Microsoft Entra.
    Azure,
}

/// A setting of a vendor's SDK.
#[derive(Debug)]
pub struct Setting {
    /// Its name here.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The variables that the SDK reads it from.
    pub variables: &'static [&'static str],
    /// Nothing works without it.
    pub required: bool,
    /// What it looks like, in words.
    pub form: &'static str,
    /// Whether a value does.
    pub fits: fn(&str) -> bool,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Anthropic, Self::Openai, Self::Aws, Self::Gcp, Self::Azure];

    /// A stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
        }
    }

    /// Reads the word again.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vendor| vendor.as_str() == text)
    }

    /// Its settings.
    pub const fn settings(self) -> &'static [Setting] {
        match self {
            Self::Anthropic => ANTHROPIC,
            Self::Openai => OPENAI,
            Self::Aws => AWS,
            Self::Gcp => GCP,
            Self::Azure => AZURE,
        }
    }

    /// The longest subject that it takes, in bytes.
    pub const fn longest_subject(self) -> usize {
        match self {
            // `google.subject` has at most 127.
            Self::Gcp => 127,
            _ => super::MAX_SUBJECT,
        }
    }

    /// It takes uploaded keys, so that it never has to reach the issuer.
    pub const fn takes_uploaded_keys(self) -> bool {
        match self {
            Self::Anthropic | Self::Openai | Self::Gcp => true,
            Self::Aws | Self::Azure => false,
        }
    }

    /// It takes tokens of RS256 alone.
    pub const fn wants_rs256(self) -> bool {
        matches!(self, Self::Azure)
    }

    /// Where its tokens are exchanged, unless a private endpoint is named.
    pub fn token_endpoint(self, settings: &BTreeMap<String, String>) -> String {
        let setting = |name: &str| settings.get(name).map(String::as_str);
        match self {
            Self::Anthropic => "https://api.anthropic.com/v1/oauth/token".to_owned(),
            Self::Openai => "https://auth.openai.com/oauth/token".to_owned(),
            Self::Aws => match setting("region") {
                Some(region) => format!("https://sts.{region}.amazonaws.com/"),
                None => "https://sts.amazonaws.com/".to_owned(),
            },
            Self::Gcp => setting("token_url").unwrap_or(GCP_TOKEN_URL).to_owned(),
            Self::Azure => {
                let authority =
                    setting("authority").unwrap_or("https://login.microsoftonline.com").trim_end_matches('/');
                format!("{authority}/{}/oauth2/v2.0/token", setting("tenant").unwrap_or_default())
            }
        }
    }

    pub(super) fn usual_audience(self, settings: &BTreeMap<String, String>) -> String {
        match self {
            Self::Anthropic => "https://api.anthropic.com".to_owned(),
            Self::Openai => "https://api.openai.com/v1".to_owned(),
            Self::Aws => "sts.amazonaws.com".to_owned(),
            Self::Gcp => {
                format!("https://iam.googleapis.com/{}", settings.get("provider").map_or("", String::as_str))
            }
            Self::Azure => "api://AzureADTokenExchange".to_owned(),
        }
    }

    /// A setting that is missing beside the others: OpenAI's API wants two, Codex one.
    pub(super) fn lacks(self, settings: &BTreeMap<String, String>) -> Option<&'static str> {
        let has = |name: &str| settings.contains_key(name);
        match self {
            Self::Openai if has("identity_provider") != has("service_account") => {
                Some(if has("service_account") { "identity_provider" } else { "service_account" })
            }
            Self::Openai if !has("rule") && !has("identity_provider") => Some("identity_provider"),
            _ => None,
        }
    }

    /// The variable that names the token's file.
    pub const fn token_variable(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => Some("ANTHROPIC_IDENTITY_TOKEN_FILE"),
            Self::Openai => Some("OPENAI_IDENTITY_TOKEN_FILE"),
            Self::Aws => Some("AWS_WEB_IDENTITY_TOKEN_FILE"),
            Self::Gcp => None,
            Self::Azure => Some("AZURE_FEDERATED_TOKEN_FILE"),
        }
    }

    /// The variable that names a file of settings, and that file's name.
    pub(super) const fn config_file(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Gcp => Some(("GOOGLE_APPLICATION_CREDENTIALS", "gcp.json")),
            _ => None,
        }
    }
}

/// Google's `external_account` credentials that read the token from a file.
pub(super) fn external_account(target: &Target, token_file: &str) -> String {
    let mut config = json!({
        "type": "external_account",
        "audience": format!("//iam.googleapis.com/{}", target.setting("provider").unwrap_or_default()),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": target.vendor().token_endpoint(target.settings()),
        "credential_source": { "file": token_file, "format": { "type": "text" } },
    });
    if let Some(account) = target.setting("service_account") {
        config["service_account_impersonation_url"] = json!(format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        ));
    }
    config.to_string()
}

const fn any(name: &'static str, about: &'static str, variables: &'static [&'static str], required: bool) -> Setting {
    Setting {
        name,
        about,
        variables,
        required,
        form: "1 to 512 printable characters without blanks or quotes",
        fits: |_| true,
    }
}

const GCP_TOKEN_URL: &str = "https://sts.googleapis.com/v1/token";

const ANTHROPIC: &[Setting] = &[
    any("rule", "the federation rule, fdrl_…", &["ANTHROPIC_FEDERATION_RULE_ID"], true),
    any("organization", "the organization's UUID", &["ANTHROPIC_ORGANIZATION_ID"], true),
    any("service_account", "the service account, svac_…", &["ANTHROPIC_SERVICE_ACCOUNT_ID"], false),
    any("workspace", "the workspace, wrkspc_… or default", &["ANTHROPIC_WORKSPACE_ID"], false),
];
const OPENAI: &[Setting] = &[
    any("identity_provider", "the API's workload identity provider", &[], false),
    any("service_account", "the API's service account", &[], false),
    any("rule", "the federation rule of Codex", &["OPENAI_FEDERATION_RULE_ID"], false),
];
const AWS: &[Setting] = &[
    Setting {
        name: "role_arn",
        about: "the role to assume",
        variables: &["AWS_ROLE_ARN"],
        required: true,
        form: "the ARN of an IAM role, arn:aws:iam::ACCOUNT:role/NAME",
        fits: |value| value.starts_with("arn:aws") && value.contains(":iam::") && value.contains(":role/"),
    },
    Setting {
        name: "region",
        about: "the region, whose STS is asked",
        variables: &["AWS_REGION", "AWS_DEFAULT_REGION"],
        required: false,
        form: "the name of a region, such as eu-west-1",
        fits: |value| value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
    },
    any("session_name", "the name of the role's session", &["AWS_ROLE_SESSION_NAME"], false),
];
const GCP: &[Setting] = &[
    Setting {
        name: "provider",
        about: "the workload identity provider",
        variables: &[],
        required: true,
        form: "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER",
        fits: |value| {
            value.starts_with("projects/") && value.contains("/workloadIdentityPools/") && value.contains("/providers/")
        },
    },
    Setting {
        name: "service_account",
        about: "a service account to act as",
        variables: &[],
        required: false,
        form: "the e-mail address of a service account",
        fits: |value| value.contains('@') && !value.contains('/'),
    },
    any("project", "the project that calls are for", &["GOOGLE_CLOUD_PROJECT"], false),
    Setting {
        name: "token_url",
        about: "a private endpoint of STS",
        variables: &[],
        required: false,
        form: "a URL that begins with https://",
        fits: |value| value.starts_with("https://"),
    },
];
const AZURE: &[Setting] = &[
    any("tenant", "the tenant's ID", &["AZURE_TENANT_ID"], true),
    any("client", "the application's ID", &["AZURE_CLIENT_ID"], true),
    Setting {
        name: "authority",
        about: "another authority than login.microsoftonline.com",
        variables: &["AZURE_AUTHORITY_HOST"],
        required: false,
        form: "a URL that begins with https://",
        fits: |value| value.starts_with("https://"),
    },
];
