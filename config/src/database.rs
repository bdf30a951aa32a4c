//! Where the issuer's database is, if it is not a file of its own: on a Postgres server.

use crate::parse;
use crate::read::{Table, Value};
use std::net::IpAddr;
use std::path::PathBuf;

/// A database on a Postgres server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Where the server is.
    pub host: DatabaseHost,
    /// Its port; on a Unix socket, the number in the socket's name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub dbname: String,
    /// The file with the role's password: 0600.
    pub password_file: Option<PathBuf>,
    /// How the connection is protected; none only where it does not leave this machine.
    pub tls: Option<DatabaseTls>,
}

/// Where a Postgres server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseHost {
    /// Behind a Unix socket in this directory.
    Directory(PathBuf),
    /// At this name or address.
    Name(String),
}

/// How the connection to a Postgres server is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseTls {
    /// The authorities that the server's certificate may be of, PEM.
    pub ca_file: PathBuf,
    /// A certificate of the issuer's and its key, PEM; the key 0600.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl DatabaseHost {
    /// Whether what is sent there leaves this machine.
    fn is_far(&self) -> bool {
        match self {
            Self::Directory(_) => false,
            Self::Name(host) => {
                host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

pub(crate) fn database(root: &Table<'_, '_>) -> Option<Option<DatabaseSettings>> {
    root.table("database", |table| {
        let host = table.or("host", None, |value| host(value).map(Some));
        let port = table.or("port", PORT, |value| match parse::whole::<u16>(value, "a port, 1 to 65535")? {
            0 => value.wrong("must be a port, 1 to 65535, not 0"),
            port => Some(port),
        });
        let user = table.or("user", NAME.to_owned(), name);
        let dbname = table.or("dbname", NAME.to_owned(), name);
        let file = |key| table.or(key, None, |value| parse::path(value).map(Some));
        let (password_file, ca_file) = (file("password_file"), file("ca_file"));
        let (certificate_file, key_file) = (file("certificate_file"), file("key_file"));
        let (host, ca_file) = (host?, ca_file?);
        let Some(host) = host else {
            let others = [
                ("password_file", password_file?.is_some()),
                ("ca_file", ca_file.is_some()),
                ("certificate_file", certificate_file?.is_some()),
                ("key_file", key_file?.is_some()),
            ];
            for (key, _) in others.iter().filter(|(_, set)| *set) {
                table.wrong(key, "is for a Postgres server, and no `host` names one".to_owned());
            }
            return Some(None);
        };
        let identity = match (certificate_file?, key_file?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                table.wrong("certificate_file", "needs a `key_file` beside it".to_owned());
                return None;
            }
            (None, Some(_)) => {
                table.wrong("key_file", "needs a `certificate_file` beside it".to_owned());
                return None;
            }
        };
        let tls = match ca_file {
            Some(ca_file) => Some(DatabaseTls { ca_file, identity }),
            None if identity.is_some() => {
                table.wrong("certificate_file", "is for TLS, which needs a `ca_file`".to_owned());
                return None;
            }
            None => None,
        };
        if tls.is_none() && host.is_far() {
            table.wrong("host", "is another machine, so `ca_file` must name whom its certificate is of".to_owned());
        }
        if tls.is_some() && matches!(host, DatabaseHost::Directory(_)) {
            table.wrong("ca_file", "is for TLS, which there is none of on a Unix socket".to_owned());
        }
        Some(Some(DatabaseSettings {
            host,
            port: port?,
            user: user?,
            dbname: dbname?,
            password_file: password_file?,
            tls,
        }))
    })
}

fn host(value: &Value<'_, '_>) -> Option<DatabaseHost> {
    let text = value.text()?;
    if text.starts_with('/') {
        return parse::path(value).map(DatabaseHost::Directory);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(plain) {
        return value.wrong("must be a host name, an address, or the directory of a Unix socket");
    }
    Some(DatabaseHost::Name(text.to_owned()))
}

fn name(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return value.wrong(format!("must be 1 to {MAX_NAME} bytes long, without control characters"));
    }
    Some(text.to_owned())
}

const PORT: u16 = 5432;
const NAME: &str = "avouch";
const MAX_NAME: usize = 255;
