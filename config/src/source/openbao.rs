//! `kind = "openbao"`, which is also for HashiCorp Vault.

use super::file::private_path;
use super::{address, text};
use crate::parse;
use crate::read::Table;
use std::path::PathBuf;

/// An OpenBao or a Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBaoSource {
    /// Its address.
    pub address: String,
    /// The only certificates that are believed; the system's without.
    pub ca_file: Option<PathBuf>,
    /// The namespace that everything is asked in.
    pub namespace: Option<String>,
    /// How it is entered.
    pub login: OpenBaoLogin,
}

/// How an OpenBao is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenBaoLogin {
    /// With the brokered JWT-SVID.
    Jwt {
        /// Where the auth method is mounted.
        mount: String,
        /// An agent's role, in which `{agent}` stands for its name.
        role: String,
        /// The node's role, which can give back and nothing else.
        revoke_role: String,
        /// The audience of the JWT-SVID.
        audience: String,
    },
    /// With the brokered X.509-SVID.
    Cert {
        /// Where the auth method is mounted.
        mount: String,
        /// An agent's role, in which `{agent}` stands for its name.
        role: String,
        /// The node's role, which can give back and nothing else.
        revoke_role: String,
    },
    /// With a role id, and a secret id in a file for the helper's eyes alone.
    AppRole {
        /// Where the auth method is mounted.
        mount: String,
        /// The role's id.
        role_id: String,
        /// The file of the secret id.
        secret_id_file: String,
    },
    /// With a token in a file for the helper's eyes alone.
    TokenFile(String),
}

const ADDRESS: &str = "write where it is, such as address = \"https://vault.example.test:8200\"";
const METHOD: &str = "write how it is entered, such as method = \"jwt\"";
const AUDIENCE: &str = "write the audience that its roles are bound to, such as audience = \"openbao\"";
const ROLE_ID: &str = "write the role's id, as bao read auth/approle/role/NAME/role-id shows it";
const SECRET_ID: &str = "write where the secret id is, such as secret_id_file = \"/etc/avouch/secret-id\"";
const TOKEN: &str = "write where the token is, such as token_file = \"/run/vault-agent/token\"";
const AGENT: &str = "{agent}";
const REVOKE_ROLE: &str = "avouch-revoke";

pub(super) fn read(table: &Table<'_, '_>) -> Option<OpenBaoSource> {
    let address = table.must("address", ADDRESS, address);
    let ca_file = table.or("ca_file", None, |value| parse::path(value).map(Some));
    let namespace = table.or("namespace", None, |value| text(value).map(Some));
    let login = table.table("login", login);
    Some(OpenBaoSource { address: address?, ca_file: ca_file?, namespace: namespace?, login: login? })
}

fn login(table: &Table<'_, '_>) -> Option<OpenBaoLogin> {
    let method = table.must("method", METHOD, |value| Some(value.text()?.to_owned()))?;
    let mount = || table.or("mount", method.clone(), text);
    match method.as_str() {
        "jwt" => {
            let (mount, roles) = (mount(), roles(table));
            let audience = table.must("audience", AUDIENCE, text);
            let (role, revoke_role) = roles?;
            Some(OpenBaoLogin::Jwt { mount: mount?, role, revoke_role, audience: audience? })
        }
        "cert" => {
            let (mount, roles) = (mount(), roles(table));
            let (role, revoke_role) = roles?;
            Some(OpenBaoLogin::Cert { mount: mount?, role, revoke_role })
        }
        "approle" => {
            let mount = mount();
            let role_id = table.must("role_id", ROLE_ID, text);
            let secret_id_file = table.must("secret_id_file", SECRET_ID, private_path);
            Some(OpenBaoLogin::AppRole { mount: mount?, role_id: role_id?, secret_id_file: secret_id_file? })
        }
        "token_file" => table.must("token_file", TOKEN, private_path).map(OpenBaoLogin::TokenFile),
        other => table.get("method")?.wrong(format!("must be jwt, cert, approle or token_file, not {other:?}")),
    }
}

fn roles(table: &Table<'_, '_>) -> Option<(String, String)> {
    let role = table.or("role", AGENT.to_owned(), |value| match text(value)? {
        role if role.contains(AGENT) => Some(role),
        role => value.wrong(format!("is {role:?}, one for all agents: write {AGENT} where the agent's name stands")),
    });
    let revoke_role = table.or("revoke_role", REVOKE_ROLE.to_owned(), text);
    Some((role?, revoke_role?))
}
