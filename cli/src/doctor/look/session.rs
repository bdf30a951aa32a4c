//! The session that this process's environment leads to. What leads to it may have been replaced in part: whatever is
//! left says which session it was, and so what the rest would be.

use crate::doctor::scene::Session;
use avouch_contain::{SessionEnvironment, session_names};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Looks for it.
pub async fn look(environment: &BTreeMap<String, String>) -> Option<Session> {
    let dir = most(environment.values().filter_map(|value| files_of(value)))?;
    let proxy = most(PROXIES.iter().filter_map(|name| proxy(environment.get(*name)?)));
    let session = SessionEnvironment {
        workload_socket: PathBuf::new(),
        // Where no variable leads to one, the names are judged by none either.
        proxy: proxy.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        bundle_file: dir.join(BUNDLE),
        extra_file: dir.join(EXTRA),
    };
    let names = session_names(&session).into_iter().filter_map(|(name, value)| Some((name, value.into_string().ok()?)));
    let read = |file: PathBuf| {
        let read = std::fs::read(&file).map(drop).map_err(|error| error.kind());
        (file, read)
    };
    let proxy = match proxy {
        Some(address) => Some((address, answers(address).await)),
        None => None,
    };
    Some(Session { names: names.collect(), files: [session.bundle_file, session.extra_file].map(read).into(), proxy })
}

/// The directory of a session's files, if a variable leads to one of the two.
pub fn files_of(value: &str) -> Option<PathBuf> {
    let path = Path::new(value);
    let other = match path.file_name()?.to_str()? {
        BUNDLE => EXTRA,
        EXTRA => BUNDLE,
        _ => return None,
    };
    let dir = path.parent().filter(|dir| dir.is_absolute())?;
    // Elsewhere a file of this name has no sibling of the other, and ours lie below avouch's own directory.
    let ours = dir.join(other).exists() || dir.iter().any(|part| part == "avouch");
    ours.then(|| dir.to_owned())
}

fn proxy(value: &str) -> Option<SocketAddr> {
    let address: SocketAddr = value.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

async fn answers(address: SocketAddr) -> bool {
    let dialled = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(address)).await;
    matches!(dialled, Ok(Ok(_)))
}

/// What is said most often.
fn most<T: Ord>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut counts = BTreeMap::new();
    all.for_each(|one| *counts.entry(one).or_insert(0_usize) += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(one, _)| one)
}

const BUNDLE: &str = "bundle.pem";
const EXTRA: &str = "extra.pem";
const PROXIES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[tokio::test]
    async fn what_is_left_of_the_environment_leads_to_the_session() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(BUNDLE), "x").unwrap();
        std::fs::write(dir.path().join(EXTRA), "x").unwrap();
        let extra = dir.path().join(EXTRA).display().to_string();
        let found = look(&environment(&[("SSL_CERT_FILE", "/etc/ssl/cert.pem"), ("DENO_CERT", &extra)])).await.unwrap();
        assert_eq!(found.files, [(dir.path().join(BUNDLE), Ok(())), (dir.path().join(EXTRA), Ok(()))]);
        assert_eq!(found.proxy, None);
        let ssl = ("SSL_CERT_FILE".to_owned(), dir.path().join(BUNDLE).display().to_string());
        assert!(found.names.contains(&ssl), "{:?}", found.names);
    }

    #[tokio::test]
    async fn an_environment_of_somebody_else_is_no_session() {
        for (name, value) in [("SSL_CERT_FILE", "/opt/corp/bundle.pem"), ("HTTP_PROXY", "http://proxy.test:3128")] {
            assert_eq!(look(&environment(&[(name, value)])).await, None, "{name}");
        }
    }

    #[test]
    fn only_a_loopback_address_is_a_session_s_proxy() {
        assert!(proxy("http://127.0.0.1:4567").is_some() && proxy("http://[::1]:4567/").is_some());
        assert!(proxy("http://10.0.0.1:80").is_none() && proxy("socks5://127.0.0.1:80").is_none());
    }
}
