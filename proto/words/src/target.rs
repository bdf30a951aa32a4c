//! Where an agent may go with an identity token of its own: a cloud or a model vendor that trusts the issuer, and what the
//! vendor's SDK has to be told. What a vendor wants is one table, read by everybody who deals with it.

mod vendor;

pub use vendor::{Setting, Vendor};

use std::collections::BTreeMap;

/// A vendor, the audience of the tokens for it, and the settings of its SDK; none of them is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    vendor: Vendor,
    audience: String,
    settings: BTreeMap<String, String>,
}

/// Why something is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Not a vendor that is known.
    #[error("the vendor is none of anthropic, openai, aws, gcp and azure")]
    Vendor,
    /// Empty, too long, or with bytes that no audience has.
    #[error("the audience is not 1 to 255 printable ASCII characters without blanks")]
    Audience,
    /// The vendor has no such setting.
    #[error("{vendor} has no setting {name:?}")]
    Unknown {
        /// Whose.
        vendor: &'static str,
        /// Which.
        name: String,
    },
    /// A setting without which the vendor's SDK asks nobody.
    #[error("{vendor} needs the setting {name}")]
    Missing {
        /// Whose.
        vendor: &'static str,
        /// Which.
        name: &'static str,
    },
    /// Not the vendor's form.
    #[error("the setting {name} is not {form}")]
    Form {
        /// Which.
        name: &'static str,
        /// What it has to be.
        form: &'static str,
    },
}

impl Target {
    /// Checks it. Without an audience it has the vendor's usual one.
    pub fn new(vendor: Vendor, audience: Option<&str>, settings: BTreeMap<String, String>) -> Result<Self, BadTarget> {
        let known = vendor.settings();
        if let Some(name) = settings.keys().find(|name| known.iter().all(|setting| setting.name != name.as_str())) {
            return Err(BadTarget::Unknown { vendor: vendor.as_str(), name: name.clone() });
        }
        for setting in known {
            match settings.get(setting.name) {
                None if setting.required => {
                    return Err(BadTarget::Missing { vendor: vendor.as_str(), name: setting.name });
                }
                Some(value) if !plain(value, MAX_SETTING) || !(setting.fits)(value) => {
                    return Err(BadTarget::Form { name: setting.name, form: setting.form });
                }
                _ => {}
            }
        }
        if let Some(name) = vendor.lacks(&settings) {
            return Err(BadTarget::Missing { vendor: vendor.as_str(), name });
        }
        let audience = audience.map_or_else(|| vendor.usual_audience(&settings), str::to_owned);
        if !plain(&audience, MAX_AUDIENCE) {
            return Err(BadTarget::Audience);
        }
        Ok(Self { vendor, audience, settings })
    }

    /// Whose.
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Whom its tokens are for.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// All settings.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// One of them.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// The name of the file that the token is in.
    pub fn token_file(&self) -> String {
        format!("{}.jwt", self.vendor.as_str())
    }

    /// What a session's programs find in their environment, where the files are in `directory`.
    pub fn environment(&self, directory: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        if let Some(variable) = self.vendor.token_variable() {
            all.push((variable.to_owned(), format!("{directory}/{}", self.token_file())));
        }
        if let Some((variable, file)) = self.vendor.config_file() {
            all.push((variable.to_owned(), format!("{directory}/{file}")));
        }
        for setting in self.vendor.settings() {
            let Some(value) = self.setting(setting.name) else { continue };
            all.extend(setting.variables.iter().map(|variable| ((*variable).to_owned(), value.to_owned())));
        }
        all
    }

    /// The file beside the token that the vendor's SDK reads, if it reads one: its name and what is in it.
    pub fn config(&self, directory: &str) -> Option<(&'static str, String)> {
        let (_, file) = self.vendor.config_file()?;
        Some((file, vendor::external_account(self, &format!("{directory}/{}", self.token_file()))))
    }
}

fn plain(text: &str, most: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\`$<>".contains(&byte);
    !text.is_empty() && text.len() <= most && text.bytes().all(fits)
}

/// The longest subject that every cloud takes, in bytes (DESIGN §6).
pub const MAX_SUBJECT: usize = 255;
const MAX_AUDIENCE: usize = 255;
const MAX_SETTING: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn target(vendor: Vendor, settings: &[(&str, &str)]) -> Result<Target, BadTarget> {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Target::new(vendor, None, settings)
    }

    const POOL: &str = "projects/1/locations/global/workloadIdentityPools/avouch/providers/avouch";

    #[test]
    fn each_vendor_is_told_what_its_sdk_reads() {
        let aws = target(Vendor::Aws, &[("role_arn", "arn:aws:iam::123456789012:role/agent"), ("region", "eu-west-1")]);
        let aws = aws.unwrap();
        assert_eq!(aws.audience(), "sts.amazonaws.com");
        let told = aws.environment("/run/t");
        let expected = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/t/aws.jwt"),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/agent"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(aws.config("/run/t"), None);

        let gcp = target(Vendor::Gcp, &[("provider", POOL)]).unwrap();
        assert_eq!(gcp.audience(), format!("https://iam.googleapis.com/{POOL}"));
        assert_eq!(
            gcp.environment("/run/t"),
            [("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), "/run/t/gcp.json".to_owned())]
        );
        let (file, config) = gcp.config("/run/t").unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!((file, &config["credential_source"]["file"]), ("gcp.json", &"/run/t/gcp.jwt".into()));
        assert_eq!(config["audience"], format!("//iam.googleapis.com/{POOL}"));
    }

    #[test]
    fn what_a_vendor_does_not_know_needs_or_takes_is_refused_by_name() {
        let missing = BadTarget::Missing { vendor: "aws", name: "role_arn" };
        assert_eq!(target(Vendor::Aws, &[]), Err(missing));
        let unknown = BadTarget::Unknown { vendor: "azure", name: "role_arn".to_owned() };
        assert_eq!(target(Vendor::Azure, &[("role_arn", "x")]), Err(unknown));
        for bad in ["", "role", "arn:aws:iam::1:role/a b", "arn:aws:iam::1:role/\"", "arn:aws:iam::1:role/a\n"] {
            assert!(matches!(target(Vendor::Aws, &[("role_arn", bad)]), Err(BadTarget::Form { .. })), "{bad:?}");
        }
        assert!(target(Vendor::Openai, &[]).is_err(), "neither a rule nor a provider");
        assert!(target(Vendor::Openai, &[("identity_provider", "idp_1")]).is_err(), "half of the API's two");
        assert!(target(Vendor::Openai, &[("rule", "idpm_1")]).is_ok());
        let gcp = [("provider", POOL), ("token_url", "http://127.0.0.1/")];
        assert!(target(Vendor::Gcp, &gcp).is_err(), "a token never goes over plain HTTP");
    }

    #[test]
    fn vendors_are_read_back_from_their_names() {
        for vendor in Vendor::ALL {
            assert_eq!(Vendor::parse(vendor.as_str()), Some(vendor));
        }
        assert_eq!(Vendor::parse("AWS"), None);
    }
}
