//! `kind = "aws"`.

use super::file::private_path;
use super::{address, text};
use crate::parse;
use crate::read::{Table, Value};
use std::path::PathBuf;

/// AWS Secrets Manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSource {
    /// The region.
    pub region: String,
    /// Where Secrets Manager is; the region's own without.
    pub endpoint: Option<String>,
    /// The only certificates that are believed; the system's without.
    pub ca_file: Option<PathBuf>,
    /// How binary values are given.
    pub binary: BinaryForm,
    /// How the account is entered.
    pub login: AwsLogin,
}

/// How binary values are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BinaryForm {
    /// As they are, if they are text.
    #[default]
    Text,
    /// In base64.
    Base64,
}

/// How an account is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsLogin {
    /// With the brokered JWT-SVID.
    WebIdentity {
        /// The role, in which `{agent}` stands for the agent's name.
        role_arn: String,
        /// The audience of the JWT-SVID.
        audience: String,
        /// Where STS is; the region's own without.
        sts_endpoint: Option<String>,
    },
    /// With a profile of the helper's user; the default one without a name.
    Profile(Option<String>),
    /// With the machine's role.
    Instance {
        /// Where the metadata service is; the link-local address without.
        endpoint: Option<String>,
    },
    /// With keys in a file for the helper's eyes alone.
    File(String),
}

const ROLE: &str = "write the role's ARN, such as role_arn = \"arn:aws:iam::123456789012:role/avouch\"";
const AUDIENCE: &str =
    "write the audience, a client id of the account's OIDC provider, such as audience = \"sts.amazonaws.com\"";
const METHOD: &str = "write how the account is entered, such as method = \"web_identity\"";
const ARN_MAX: usize = 2048;

pub(super) fn read(table: &Table<'_, '_>) -> Option<AwsSource> {
    let region = table.must("region", "write the region, such as region = \"eu-west-1\"", |value| {
        let region = value.text()?;
        let good =
            !region.is_empty() && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good { Some(region.to_owned()) } else { value.wrong(format!("must be a region's name, not {region:?}")) }
    });
    let endpoint = table.or("endpoint", None, |value| address(value).map(Some));
    let ca_file = table.or("ca_file", None, |value| parse::path(value).map(Some));
    let binary = table.or("binary", BinaryForm::default(), |value| match value.text()? {
        "text" => Some(BinaryForm::Text),
        "base64" => Some(BinaryForm::Base64),
        other => value.wrong(format!("must be text or base64, not {other:?}")),
    });
    let login = table.table("login", login);
    Some(AwsSource { region: region?, endpoint: endpoint?, ca_file: ca_file?, binary: binary?, login: login? })
}

fn login(table: &Table<'_, '_>) -> Option<AwsLogin> {
    let method = table.must("method", METHOD, |value| Some(value.text()?.to_owned()))?;
    match method.as_str() {
        "web_identity" => {
            let role_arn = table.must("role_arn", ROLE, role);
            let audience = table.must("audience", AUDIENCE, text);
            let sts_endpoint = table.or("sts_endpoint", None, |value| address(value).map(Some));
            Some(AwsLogin::WebIdentity { role_arn: role_arn?, audience: audience?, sts_endpoint: sts_endpoint? })
        }
        "profile" => table.or("profile", None, |value| text(value).map(Some)).map(AwsLogin::Profile),
        "instance" => {
            // The link-local service speaks no TLS; an address elsewhere has to.
            let endpoint = table.or("endpoint", None, |value| address(value).map(Some));
            Some(AwsLogin::Instance { endpoint: endpoint? })
        }
        "file" => {
            let action = "write where the keys are, such as path = \"/etc/avouch/aws-keys\"";
            table.must("path", action, private_path).map(AwsLogin::File)
        }
        other => table.get("method")?.wrong(format!("must be web_identity, profile, instance or file, not {other:?}")),
    }
}

fn role(value: &Value<'_, '_>) -> Option<String> {
    let arn = value.text()?;
    let plain = arn.replace("{agent}", "agent");
    let good = plain.starts_with("arn:") && plain.contains(":role/") && arn.len() <= ARN_MAX;
    if good && plain.bytes().all(|b| b.is_ascii_graphic() && b != b'{' && b != b'}') {
        return Some(arn.to_owned());
    }
    value.wrong(format!("must be a role's ARN, in which {{agent}} may stand for the agent's name, not {arn:?}"))
}
