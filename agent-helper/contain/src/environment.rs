//! The environment of a session's program: names that the world's tools read already.

mod scrub;

pub use scrub::{Scrubbed, scrub};

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a session's program finds what is its own.
#[derive(Debug, Clone)]
pub struct SessionEnvironment {
    /// The Workload API socket.
    pub workload_socket: PathBuf,
    /// The session's proxy listener.
    pub proxy: SocketAddr,
    /// System roots and the session's anchor: for names that replace a tool's store.
    pub bundle_file: PathBuf,
    /// The session's anchor alone: for names that add to a tool's store.
    pub extra_file: PathBuf,
}

/// The environment of the session's program: what was inherited but for `AVOUCH_*`, and the session's own names
/// over it.
///
/// `NO_PROXY` is set to nothing, so that calls to loopback go through the broker too. Some clients (Go's among
/// them) never use a proxy for loopback, whatever it says.
pub fn child_environment(
    session: &SessionEnvironment,
    inherited: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let ours = session_names(session);
    let is_ours = |name: &OsString| ours.iter().any(|(own, _)| name.as_os_str() == own.as_str());
    let mut all: Vec<_> = inherited
        .filter(|(name, _)| !name.as_encoded_bytes().starts_with(PRIVATE.as_bytes()) && !is_ours(name))
        .collect();
    all.extend(ours.iter().map(|(name, value)| (OsString::from(name), value.clone())));
    all
}

/// The names that a session sets over whatever was inherited, with their values.
pub fn session_names(session: &SessionEnvironment) -> Vec<(String, OsString)> {
    let mut socket = OsString::from("unix://");
    socket.push(&session.workload_socket);
    let proxy = OsString::from(format!("http://{}", session.proxy));
    let mut names = vec![
        ("SPIFFE_ENDPOINT_SOCKET".to_owned(), socket),
        // Node's built-in fetch passes a proxy by without it.
        ("NODE_USE_ENV_PROXY".to_owned(), OsString::from("1")),
        ("NO_PROXY".to_owned(), OsString::new()),
        ("no_proxy".to_owned(), OsString::new()),
    ];
    for name in PROXIES {
        names.push((name.to_owned(), proxy.clone()));
        names.push((name.to_ascii_lowercase(), proxy.clone()));
    }
    names.extend(REPLACING.map(|name| (name.to_owned(), session.bundle_file.clone().into_os_string())));
    names.extend(ADDING.map(|name| (name.to_owned(), session.extra_file.clone().into_os_string())));
    names
}

/// Settings of avouch's own; a session's program is no part of avouch.
const PRIVATE: &str = "AVOUCH_";
const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
/// These replace a tool's store.
const REPLACING: [&str; 10] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "NIX_SSL_CERT_FILE",
    // A `cafile` in any npmrc replaces what NODE_EXTRA_CA_CERTS adds; npm reads the name in either case.
    "npm_config_cafile",
    "NPM_CONFIG_CAFILE",
];
/// These add to it.
const ADDING: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionEnvironment {
        SessionEnvironment {
            workload_socket: "/run/avouch/workload.sock".into(),
            proxy: "127.0.0.1:4567".parse().expect("address"),
            bundle_file: "/run/avouch/sessions/s/bundle.pem".into(),
            extra_file: "/run/avouch/sessions/s/extra.pem".into(),
        }
    }

    fn of(inherited: &[(&str, &str)]) -> Vec<(String, String)> {
        let inherited = inherited.iter().map(|(n, v)| (OsString::from(n), OsString::from(v)));
        child_environment(&session(), inherited)
            .into_iter()
            .map(|(n, v)| (n.into_string().expect("text"), v.into_string().expect("text")))
            .collect()
    }

    #[test]
    fn the_child_gets_the_names_that_tools_read() {
        let environment = of(&[]);
        let value = |name: &str| {
            let found: Vec<_> = environment.iter().filter(|(n, _)| n == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0].1.as_str()
        };
        assert_eq!(value("SPIFFE_ENDPOINT_SOCKET"), "unix:///run/avouch/workload.sock");
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            assert_eq!(value(name), "http://127.0.0.1:4567");
        }
        for name in REPLACING {
            assert_eq!(value(name), "/run/avouch/sessions/s/bundle.pem");
        }
        for name in ADDING {
            assert_eq!(value(name), "/run/avouch/sessions/s/extra.pem");
        }
        assert_eq!((value("NO_PROXY"), value("no_proxy"), value("NODE_USE_ENV_PROXY")), ("", "", "1"));
    }

    #[test]
    fn the_rest_is_passed_on_but_for_avouchs_own() {
        let environment = of(&[("PATH", "/bin"), ("AVOUCH_OUTPUT", "json"), ("AVOUCHED", "yes"), ("no_proxy", "*")]);
        let has = |name: &str, value: &str| environment.contains(&(name.to_owned(), value.to_owned()));
        assert!(has("PATH", "/bin") && has("AVOUCHED", "yes"));
        assert!(!environment.iter().any(|(name, _)| name == "AVOUCH_OUTPUT"));
        assert!(!has("no_proxy", "*"));
    }
}
