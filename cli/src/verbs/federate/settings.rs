//! What each vendor has to be told, in the words of its own tools and APIs.

use avouch_wire::admin::{self, ShowKeysReply};
use avouch_words::target::{Target, Vendor};
use serde_json::{Value, json};

/// One thing to do at the vendor's.
pub struct Step {
    /// What it is.
    pub about: String,
    /// What to type, or to send.
    pub text: String,
}

/// Everything that has to be done at the vendor's once. With `uploaded` the keys are given instead of fetched.
pub fn of(target: &Target, opened: &admin::Target, keys: &ShowKeysReply, uploaded: bool) -> Vec<Step> {
    let told = Told { target, opened, issuer: &keys.issuer, jwks: &keys.jwks, uploaded };
    match target.vendor() {
        Vendor::Anthropic => told.anthropic(),
        Vendor::Openai => told.openai(),
        Vendor::Aws => told.aws(),
        Vendor::Gcp => told.gcp(),
        Vendor::Azure => told.azure(),
    }
}

struct Told<'a> {
    target: &'a Target,
    opened: &'a admin::Target,
    issuer: &'a str,
    jwks: &'a str,
    uploaded: bool,
}

impl Told<'_> {
    fn setting(&self, name: &str) -> &str {
        self.target.setting(name).unwrap_or_default()
    }

    fn keys(&self) -> Value {
        serde_json::from_str(self.jwks).unwrap_or_default()
    }

    fn anthropic(&self) -> Vec<Step> {
        let jwks = match self.uploaded {
            true => json!({"type": "inline", "keys": self.keys()["keys"]}),
            false => json!({"type": "discovery"}),
        };
        // Programs of one session share a token until it is replaced, so it is shown more than once.
        let issuer = json!({"name": "avouch", "issuer_url": self.issuer, "jwks": jwks, "check_jti": false});
        let mut rule = json!({
            "name": format!("avouch-{}", self.opened.agent),
            "issuer_id": "the federation issuer's ID, fdis_…",
            "match": {"audience": self.opened.audience, "subject_prefix": self.opened.subject},
            "target": {"type": "service_account", "service_account_id": self.or("service_account", "svac_…")},
            "oauth_scope": "workspace:inference",
        });
        rule["workspace_id"] = json!(self.or("workspace", "wrkspc_…"));
        vec![
            step("Claude Console, Workload identity: the issuer (POST /v1/organizations/federation_issuers)", &issuer),
            step("and the rule (POST /v1/organizations/federation_rules), whose ID goes to --rule", &rule),
        ]
    }

    fn openai(&self) -> Vec<Step> {
        let verification = match self.uploaded {
            true => json!({"type": "uploaded_jwks", "jwks": self.keys()}),
            false => json!({"type": "discovery", "discovery_url": null}),
        };
        let provider = json!({
            "type": "oidc", "name": "avouch", "issuer": self.issuer, "audience": self.opened.audience,
            "verification": verification,
        });
        let rule = json!({
            "name": format!("avouch-{}", self.opened.agent),
            "project_id": "the project's ID",
            "service_account_id": self.or("service_account", "the service account's ID"),
            "attribute_matchers": {"sub": self.opened.subject},
        });
        let mut steps = vec![
            step("OpenAI Platform, Workload identity: the provider", &provider),
            step("and its federation rule", &rule),
        ];
        if self.target.setting("identity_provider").is_some() {
            steps.push(Step {
                about: "The client of the API, as the SDK has no variables for it".to_owned(),
                text: format!(
                    "OpenAI(workload_identity={{\"identity_provider_id\": \"{}\", \"service_account_id\": \"{}\",\n  \
                     \"provider\": k8s_service_account_token_provider(os.environ[\"OPENAI_IDENTITY_TOKEN_FILE\"])}})",
                    self.setting("identity_provider"),
                    self.setting("service_account"),
                ),
            });
        }
        steps
    }

    fn aws(&self) -> Vec<Step> {
        let role = self.setting("role_arn");
        let mut parts = role.split(':');
        let partition = parts.nth(1).unwrap_or("aws");
        let account = parts.nth(2).unwrap_or_default();
        let name = role.rsplit('/').next().unwrap_or_default();
        let provider = self.issuer.trim_start_matches("https://");
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Federated": format!("arn:{partition}:iam::{account}:oidc-provider/{provider}")},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {
                    format!("{provider}:aud"): self.opened.audience,
                    format!("{provider}:sub"): self.opened.subject,
                }},
            }],
        });
        vec![
            Step {
                about: "The provider, once for the account".to_owned(),
                text: format!(
                    "aws iam create-open-id-connect-provider --url {} --client-id-list {}",
                    self.issuer, self.opened.audience
                ),
            },
            Step {
                about: format!("Who may assume {name}; both conditions are needed"),
                text: format!("aws iam update-assume-role-policy --role-name {name} --policy-document '{policy}'"),
            },
        ]
    }

    fn gcp(&self) -> Vec<Step> {
        let provider = self.setting("provider");
        let part = |after: &str| {
            let mut parts = provider.split('/').skip_while(|part| *part != after);
            parts.nth(1).unwrap_or_default()
        };
        let (project, pool, name) = (part("projects"), part("workloadIdentityPools"), part("providers"));
        let keys = if self.uploaded { " \\\n  --jwk-json-path=jwks.json" } else { "" };
        let mut steps = Vec::new();
        if self.uploaded {
            steps.push(Step {
                about: "The keys, as jwks.json".to_owned(),
                text: "avouch jwks print > jwks.json".to_owned(),
            });
        }
        steps.push(Step {
            about: "The provider, once for each agent or with a wider condition".to_owned(),
            text: format!(
                "gcloud iam workload-identity-pools providers create-oidc {name} --project={project} \\\n  \
                 --location=global --workload-identity-pool={pool} --issuer-uri={} \\\n  --allowed-audiences={} \\\n  \
                 --attribute-mapping=google.subject=assertion.sub \\\n  \
                 --attribute-condition=\"assertion.sub == '{}'\"{keys}",
                self.issuer, self.opened.audience, self.opened.subject
            ),
        });
        let principal = format!(
            "principal://iam.googleapis.com/projects/{project}/locations/global/workloadIdentityPools/{pool}/subject/{}",
            self.opened.subject
        );
        steps.push(match self.target.setting("service_account") {
            Some(account) => Step {
                about: format!("Let it act as {account}"),
                text: format!(
                    "gcloud iam service-accounts add-iam-policy-binding {account} \\\n  \
                     --role=roles/iam.workloadIdentityUser --member=\"{principal}\""
                ),
            },
            None => Step {
                about: "What it may do: the role that it needs, on the project or less".to_owned(),
                text: format!("gcloud projects add-iam-policy-binding {project} --role=ROLE --member=\"{principal}\""),
            },
        });
        steps
    }

    fn azure(&self) -> Vec<Step> {
        let credential = json!({
            "name": format!("avouch-{}", self.opened.agent),
            "issuer": self.issuer,
            "subject": self.opened.subject,
            "audiences": [self.opened.audience],
        });
        vec![Step {
            about: "The application's federated credential".to_owned(),
            text: format!(
                "az ad app federated-credential create --id {} --parameters '{credential}'",
                self.setting("client")
            ),
        }]
    }

    fn or<'b>(&'b self, name: &str, otherwise: &'b str) -> &'b str {
        self.target.setting(name).unwrap_or(otherwise)
    }
}

fn step(about: &str, body: &Value) -> Step {
    Step { about: about.to_owned(), text: format!("{body:#}") }
}
