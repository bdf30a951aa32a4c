//! Where the settings say that the database is, with the files that they name.

use avouch_config::{
    DATABASE_FILE, DatabaseHost, DatabaseSettings, MAX_PRIVATE_FILE, ServerConfig, StartError, check_outside,
    read_secret,
};
use avouch_store::{Host, OpenError, Place, Postgres, PostgresTls, Store};
use avouch_words::{Millis, Secret};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Opens the database of these settings.
pub(crate) async fn open(config: &ServerConfig, random: [u8; 16], now: Millis) -> Result<Store, StartError> {
    let (place, name) = match &config.database {
        None => {
            let file = config.state_dir.join(DATABASE_FILE);
            (Place::File(file.clone()), file)
        }
        Some(settings) => {
            let postgres = postgres(config, settings)?;
            let name = PathBuf::from(postgres.name());
            (Place::Postgres { settings: Box::new(postgres), marker: config.state_dir.join(MARKER) }, name)
        }
    };
    Store::open(place, &config.trust_domain, random, now).await.map_err(|error| match error {
        OpenError::TrustDomain { stored, configured, .. } => {
            StartError::TrustDomain { settings: configured, what: "the database", found: stored }
        }
        other => StartError::Database { path: name, reason: other.to_string() },
    })
}

fn postgres(config: &ServerConfig, settings: &DatabaseSettings) -> Result<Postgres, StartError> {
    // The driver would add what it finds there to what the settings say.
    if let Some(set) = FOREIGN.iter().find(|name| std::env::var_os(name).is_some()) {
        return Err(StartError::SecretInEnvironment((*set).to_owned()));
    }
    let unusable = |path: &Path, why: &dyn std::fmt::Display| StartError::Database {
        path: path.to_owned(),
        reason: format!("the settings name this file for it, and {why}"),
    };
    let secret = |path: &Path| {
        check_outside(&config.state_dir, path)?;
        read_secret(path).map_err(|fault| unusable(path, &fault))
    };
    let public = |path: &Path| read(path).map_err(|error| unusable(path, &error));
    let password = match &settings.password_file {
        Some(path) => Some(line(&secret(path)?)),
        None => None,
    };
    let tls = match &settings.tls {
        Some(tls) => {
            let identity = match &tls.identity {
                Some((certificate, key)) => Some((public(certificate)?, secret(key)?)),
                None => None,
            };
            Some(PostgresTls { authorities: public(&tls.ca_file)?, identity })
        }
        None => None,
    };
    let host = match &settings.host {
        DatabaseHost::Directory(path) => Host::Directory(path.clone()),
        DatabaseHost::Name(name) => Host::Name(name.clone()),
    };
    let (user, database) = (settings.user.clone(), settings.dbname.clone());
    Ok(Postgres { host, port: settings.port, user, database, password, tls })
}

/// Without the end of the line that editors put there.
fn line(text: &Secret) -> Secret {
    let bytes = text.expose();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    Secret::new(bytes.strip_suffix(b"\r").unwrap_or(bytes).to_vec())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_PRIVATE_FILE).unwrap_or(u64::MAX);
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Says which database this issuer has seen on its server.
const MARKER: &str = "database.made";
/// What Postgres's own library takes from the environment and the settings here do not overrule.
const FOREIGN: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];
