//! `kind = "kubernetes"`.

use super::address;
use crate::parse;
use crate::read::Table;
use std::path::PathBuf;

/// The Secrets of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSource {
    /// The API server.
    pub server: String,
    /// The certificates by which it is believed.
    pub ca_file: PathBuf,
    /// The service account's token.
    pub token_file: PathBuf,
}

const SERVER: &str = "https://kubernetes.default.svc";
const CA_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) fn read(table: &Table<'_, '_>) -> Option<KubernetesSource> {
    let server = table.or("server", SERVER.to_owned(), |value| match address(value)? {
        plain if plain.starts_with("http:") => value.wrong("must be an https:// address: the token goes there"),
        server => Some(server),
    });
    let ca_file = table.or("ca_file", CA_FILE.into(), parse::path);
    let token_file = table.or("token_file", TOKEN_FILE.into(), parse::path);
    Some(KubernetesSource { server: server?, ca_file: ca_file?, token_file: token_file? })
}
