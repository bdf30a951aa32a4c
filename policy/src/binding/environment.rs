//! The variable in which a session's programs find a placeholder. Names that steer a program, its libraries, its
//! network or avouch itself are refused: a placeholder in them would break the session, or worse.

use crate::placeholder::PLACEHOLDER;
use avouch_words::Name;
use serde::{Deserialize, Serialize};

/// A variable as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// The variable, as `GITHUB_TOKEN`.
    pub name: String,
    /// What a tool wants to see before the placeholder, as `xoxb-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A checked variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    name: String,
    prefix: String,
}

/// Why a variable cannot hold a placeholder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvironment {
    /// POSIX names.
    #[error(
        "{0} is no name of a variable; write 1 to 64 letters, digits and '_' that do not begin with a digit, as GITHUB_TOKEN"
    )]
    Name(String),
    /// A name that is not free.
    #[error(
        "{0} steers programs or the session and never holds a placeholder; name the variable in which the tool expects its key"
    )]
    Reserved(String),
    /// Other bytes than those of keys.
    #[error(
        "the prefix is longer than 32 bytes or holds other bytes than letters, digits, '-', '_' and '.'; write it as xoxb-"
    )]
    Prefix,
}

impl Environment {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 64;
    /// The longest prefix, in bytes.
    pub const MAX_PREFIX: usize = 32;

    /// The variable.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands before the placeholder; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What the variable holds for the credential of this name.
    pub fn value(&self, credential: &Name) -> String {
        format!("{}{PLACEHOLDER}{credential}", self.prefix)
    }

    /// The variable as it is written.
    pub fn spec(&self) -> EnvironmentSpec {
        EnvironmentSpec { name: self.name.clone(), prefix: (!self.prefix.is_empty()).then(|| self.prefix.clone()) }
    }

    /// Whether a variable of this name may hold a placeholder, whatever its case.
    pub fn may_hold(name: &str) -> bool {
        let name = name.to_ascii_uppercase();
        let steers = RESERVED.contains(&name.as_str())
            || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || RESERVED_ENDS.iter().any(|end| name.ends_with(end));
        !steers
    }
}

impl EnvironmentSpec {
    /// Checks the variable.
    pub fn check(&self) -> Result<Environment, BadEnvironment> {
        let fits = (1..=Environment::MAX_NAME).contains(&self.name.len())
            && !self.name.as_bytes()[0].is_ascii_digit()
            && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits {
            return Err(BadEnvironment::Name(self.name.clone()));
        }
        if !Environment::may_hold(&self.name) {
            return Err(BadEnvironment::Reserved(self.name.clone()));
        }
        let prefix = self.prefix.clone().unwrap_or_default();
        let fits = prefix.len() <= Environment::MAX_PREFIX
            && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !fits {
            return Err(BadEnvironment::Prefix);
        }
        Ok(Environment { name: self.name.clone(), prefix })
    }
}

/// The shell's, the loader's and the user's; the session's own trust, proxy and identity.
const RESERVED: [&str; 46] = [
    "ALL_PROXY",
    "BASH_ENV",
    "BROWSER",
    "CDPATH",
    "DBUS_SESSION_BUS_ADDRESS",
    "DENO_CERT",
    "DISPLAY",
    "DOCKER_HOST",
    "EDITOR",
    "ENV",
    "FTP_PROXY",
    "GRPC_PROXY",
    "HOME",
    "HOSTNAME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IFS",
    "KUBECONFIG",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_USE_ENV_PROXY",
    "NO_PROXY",
    "OLDPWD",
    "OPENCLAW_PROXY_URL",
    "PAGER",
    "PATH",
    "PIP_CERT",
    "PROMPT_COMMAND",
    "PS4",
    "PWD",
    "RUBYLIB",
    "RUBYOPT",
    "RUSTC",
    "RUSTC_WRAPPER",
    "SHELL",
    "SHELLOPTS",
    "SSH_ASKPASS",
    "SSH_AUTH_SOCK",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "VISUAL",
];
/// Of the loader, of interpreters, of avouch.
const RESERVED_PREFIXES: [&str; 13] = [
    "AVOUCH_",
    "BASH_FUNC_",
    "DYLD_",
    "GIT_SSH",
    "GIT_EXEC",
    "GIT_CONFIG",
    "LC_",
    "LD_",
    "PERL5",
    "PYTHON",
    "SPIFFE_",
    "WAYLAND_",
    "XDG_",
];
/// Where tools look for the certificates that they trust.
const RESERVED_ENDS: [&str; 7] =
    ["_CA_BUNDLE", "_CAINFO", "_CA_CERTS", "_CERT_FILE", "_CERT_DIR", "_CACERT", "_CA_CERTS_FILE"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, prefix: Option<&str>) -> Result<Environment, BadEnvironment> {
        EnvironmentSpec { name: name.to_owned(), prefix: prefix.map(str::to_owned) }.check()
    }

    #[test]
    fn a_variable_holds_the_placeholder_of_its_credential() {
        let slack = Name::parse("slack").unwrap();
        assert_eq!(check("SLACK_BOT_TOKEN", Some("xoxb-")).unwrap().value(&slack), "xoxb-avouch:slack");
        assert_eq!(check("slack_token", None).unwrap().value(&slack), "avouch:slack");
        let spec = EnvironmentSpec { name: "A".to_owned(), prefix: Some(String::new()) };
        assert_eq!(spec.check().unwrap().spec(), EnvironmentSpec { name: "A".to_owned(), prefix: None });
    }

    #[test]
    fn names_that_would_break_or_steer_the_session_are_refused() {
        for name in RESERVED.iter().chain(&[
            "path",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "http_proxy",
            "SPIFFE_ENDPOINT_SOCKET",
            "AVOUCH_DIR",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "GIT_SSH_COMMAND",
            "CARGO_HTTP_CAINFO",
            "AWS_CA_BUNDLE",
            "NIX_SSL_CERT_FILE",
            "NODE_EXTRA_CA_CERTS",
            "PYTHONSTARTUP",
            "XDG_RUNTIME_DIR",
        ]) {
            assert_eq!(check(name, None), Err(BadEnvironment::Reserved((*name).to_owned())));
        }
        for name in ["", "1A", "A-B", "A B", "A=B", "É", &"A".repeat(65)] {
            assert_eq!(check(name, None), Err(BadEnvironment::Name(name.to_owned())), "{name:?}");
        }
        for prefix in ["a b", "a:", "a\n", "é", "\"", &"a".repeat(33)] {
            assert_eq!(check("A", Some(prefix)), Err(BadEnvironment::Prefix), "{prefix:?}");
        }
    }
}
