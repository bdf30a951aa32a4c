//! How an OpenBao or a Vault is reached and entered.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;

use avouch_words::Name;

use crate::file::PrivateFile;
use crate::unusable;

/// What stands for the agent's name in the name of a role.
pub const AGENT: &str = "{agent}";
/// The largest file of certificates, in bytes.
pub const CA_MAX: u64 = 1024 * 1024;

const TEXT_MAX: usize = 256;

/// How one is reached and entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `https://HOST[:PORT]`; plain `http://` only to an address of this machine.
    pub address: String,
    /// PEM certificates that its server is verified against, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The namespace that everything is asked in.
    pub namespace: Option<String>,
    /// How it is entered.
    pub login: Login,
}

/// How it is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// The auth method `jwt`, with a brokered JWT-SVID.
    Jwt {
        /// Where the auth method is mounted.
        mount: String,
        /// The role of an agent, in which [`AGENT`] stands for its name.
        role: String,
        /// The node's role, which can revoke and nothing else.
        revoke_role: String,
        /// The audience, which the issuer's settings reserve.
        audience: String,
    },
    /// The auth method `cert`, with a brokered X.509-SVID.
    Cert {
        /// Where the auth method is mounted.
        mount: String,
        /// The role of an agent, in which [`AGENT`] stands for its name.
        role: String,
        /// The node's role, which can revoke and nothing else.
        revoke_role: String,
    },
    /// AppRole, the same for all agents and for the node.
    AppRole {
        /// Where the auth method is mounted.
        mount: String,
        /// The role's id, which is no secret.
        role_id: String,
        /// A file of mode 0600 with the secret id, read at each login.
        secret_id_file: String,
    },
    /// A token that something else keeps, the same for all agents and for the node.
    TokenFile {
        /// A file of mode 0600 with the token, read at each use.
        token_file: String,
    },
}

/// Settings that cannot be, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSettings(pub(super) String);

impl Settings {
    /// Whether they can be.
    pub fn check(&self) -> Result<(), BadSettings> {
        base(&self.address)?;
        if let Some(namespace) = &self.namespace {
            plain("namespace", namespace, "/")?;
        }
        match &self.login {
            Login::Jwt { mount, role, revoke_role, audience } => {
                plain("mount", mount, "/")?;
                roles(role, revoke_role)?;
                plain("audience", audience, "/:")
            }
            Login::Cert { mount, role, revoke_role } => {
                if self.address.starts_with("http:") {
                    return bad("cert shows a certificate, which needs https: write https:// in address");
                }
                plain("mount", mount, "/")?;
                roles(role, revoke_role)
            }
            Login::AppRole { mount, role_id, secret_id_file } => {
                plain("mount", mount, "/")?;
                plain("role_id", role_id, "")?;
                secret("secret_id_file", secret_id_file)
            }
            Login::TokenFile { token_file } => secret("token_file", token_file),
        }
    }

    /// What its server is verified against.
    pub(super) fn roots(&self, system: &RootCertStore) -> Result<RootCertStore, BadSettings> {
        let Some(file) = &self.ca_file else { return Ok(system.clone()) };
        let place = file.display();
        let unread = |error: std::io::Error| BadSettings(format!("cannot read ca_file {place}: {}", error.kind()));
        if std::fs::metadata(file).map_err(unread)?.len() > CA_MAX {
            return bad(format!("ca_file {place} is larger than 1 MiB"));
        }
        let pem = std::fs::read(file).map_err(unread)?;
        unusable::roots(&pem).map_err(|unusable| BadSettings(format!("{place}: {unusable}")))
    }
}

impl Login {
    /// The role by which somebody enters.
    pub(super) fn role_of(role: &str, agent: &Name) -> String {
        role.replace(AGENT, agent.as_str())
    }

    /// Whether a token is made for what is shown; else what is shown is the token.
    pub(super) fn is_by_exchange(&self) -> bool {
        !matches!(self, Self::TokenFile { .. })
    }

    /// The file of its secret, where it has one.
    pub(super) fn file(&self, credentials: Option<&Path>) -> Result<Option<PrivateFile>, BadSettings> {
        let path = match self {
            Self::Jwt { .. } | Self::Cert { .. } => return Ok(None),
            Self::AppRole { secret_id_file: path, .. } | Self::TokenFile { token_file: path } => path,
        };
        match PrivateFile::new(path, credentials) {
            Some(file) => Ok(Some(file)),
            None => bad(format!("{path} has to begin with / or with $CREDENTIALS_DIRECTORY/, and that to be given")),
        }
    }
}

/// The address with the slash that paths are put after. A path of its own would come before the API's version, so
/// there is none.
pub(super) fn base(address: &str) -> Result<String, BadSettings> {
    let Ok(url) = reqwest::Url::parse(address) else {
        return bad(format!("address {address:?} is no URL: write https://HOST:8200"));
    };
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return bad(format!("address {address:?} has more than scheme, host and port: leave the rest out"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return bad("address has a user name or password in it: avouch enters by [source.login]");
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url.to_string()),
        "http" if is_loopback(&url) => Ok(url.to_string()),
        "http" => bad(format!(
            "address {address:?} is plain HTTP to another machine, which shows the token to all between: write https://"
        )),
        _ => bad(format!("address {address:?} is not https://HOST[:PORT]")),
    }
}

/// By its address: what a name leads to is somebody else's to say.
fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn roles(role: &str, revoke_role: &str) -> Result<(), BadSettings> {
    plain("role", &role.replace(AGENT, "a"), "")?;
    plain("revoke_role", revoke_role, "")?;
    match role.contains(AGENT) {
        true => Ok(()),
        false => bad(format!(
            "role {role:?} is one for all agents, whom the store could not tell apart: write {AGENT} in it"
        )),
    }
}

/// What becomes a part of a path or a header's value.
fn plain(what: &str, text: &str, besides: &str) -> Result<(), BadSettings> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b) || besides.as_bytes().contains(&b);
    let steps = text.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..");
    let steps = steps || what == "audience";
    match !text.is_empty() && text.len() <= TEXT_MAX && text.bytes().all(fits) && steps {
        true => Ok(()),
        false => bad(format!("{what} {text:?} is not 1 to {TEXT_MAX} of A-Z a-z 0-9 - _ . ~ {besides}")),
    }
}

fn secret(what: &str, path: &str) -> Result<(), BadSettings> {
    match path.starts_with('/') || path.starts_with(crate::file::CREDENTIALS_DIRECTORY) {
        true => Ok(()),
        false => bad(format!("{what} {path:?} has to begin with / or with $CREDENTIALS_DIRECTORY/")),
    }
}

fn bad<T>(sentence: impl Into<String>) -> Result<T, BadSettings> {
    Err(BadSettings(sentence.into()))
}
