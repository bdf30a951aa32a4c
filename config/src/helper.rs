//! The helper's settings.

use crate::fault::ConfigFaults;
use crate::file::read_settings;
use crate::parse;
use crate::paths::Paths;
use crate::read::{Table, document};
use crate::settings::{self, Log, Operator};
use crate::source::{self, SourceSettings};
use crate::start_error::StartError;
use avouch_words::TrustDomain;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// All settings of the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperConfig {
    /// The trust domain that the node joins.
    pub trust_domain: TrustDomain,
    /// Where the issuers are, each as `host:port`: one at least. They share one database; any will do.
    pub issuers: Vec<String>,
    /// The node's key and SVID, the audit spool, the sealed store.
    pub state_dir: PathBuf,
    /// Sockets, and the files of live sessions.
    pub runtime_dir: PathBuf,
    /// Where the join token is; needed until the node has joined.
    pub join_token: Option<JoinToken>,
    /// The key that seals the store of credentials; never below `state_dir`.
    pub seal_key_file: PathBuf,
    /// Who may administer this helper.
    pub operators: Vec<Operator>,
    /// Where credentials come from, beside the sealed store.
    pub sources: Vec<SourceSettings>,
    /// How sessions are opened.
    pub session: Session,
    /// What goes out that no credential is bound to.
    pub egress: Egress,
    /// Where liveness and readiness are told, if at all.
    pub health: Option<SocketAddr>,
    /// What is logged.
    pub log: Log,
}

/// Where a join token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinToken {
    /// In a file of mode 0600.
    File(PathBuf),
    /// On the standard input, one line.
    Stdin,
}

/// How sessions are opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Whether they are contained unless `avouch run` is told otherwise.
    pub contain: Contain,
}

/// Whether sessions are contained unless `avouch run` is told otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contain {
    /// They are; a host that cannot contain refuses, unless it is told `--no-contain`.
    Required,
    /// They are not.
    #[default]
    Off,
}

/// What a session's proxy lets out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// What happens to a host that no credential is bound to; unset, it is refused to contained sessions and passed on
    /// for others.
    pub unbound: Option<Unbound>,
    /// Ports that may be tunnelled to beside 80 and 443.
    pub ports: Vec<u16>,
}

/// What a session's proxy does with a host that no credential is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbound {
    /// It refuses.
    Deny,
    /// It passes bytes on and looks at none.
    Tunnel,
}

impl HelperConfig {
    /// The settings of a node of this trust domain and issuer (`host:port`) with every default, below these places.
    pub fn new(trust_domain: TrustDomain, issuer: String, paths: &Paths) -> Self {
        Self {
            trust_domain,
            issuers: vec![issuer],
            state_dir: paths.helper_state(),
            runtime_dir: paths.helper_runtime(),
            join_token: paths.join_token().map(JoinToken::File),
            seal_key_file: paths.helper_seal_key(),
            operators: settings::default_operators(),
            sources: Vec::new(),
            session: Session::default(),
            egress: Egress::default(),
            health: None,
            log: Log::default(),
        }
    }

    /// Reads the settings file. What it does not say has its default below `paths`.
    pub fn load(file: &Path, paths: &Paths) -> Result<Self, StartError> {
        Self::parse(&read_settings(file)?, file, paths).map_err(StartError::Config)
    }

    /// Reads settings from text; `file` is only named in faults.
    pub fn parse(text: &str, file: &Path, paths: &Paths) -> Result<Self, ConfigFaults> {
        document(text, file, |root| read(root, paths))
    }
}

/// One under `issuer`, or several under `issuers`.
fn issuers(root: &Table<'_, '_>) -> Option<Vec<String>> {
    let several = root.get("issuers");
    let Some(several) = several else {
        return root.must("issuer", ISSUER, parse::host_port).map(|issuer| vec![issuer]);
    };
    if root.get("issuer").is_some() {
        return several.wrong("says what `issuer` says too: keep one of them");
    }
    let issuers = several.list(parse::host_port)?;
    if issuers.is_empty() || issuers.len() > MAX_ISSUERS {
        return several.wrong(format!("must name 1 to {MAX_ISSUERS} issuers"));
    }
    let mut known = std::collections::BTreeSet::new();
    match issuers.iter().find(|issuer| !known.insert(*issuer)) {
        Some(twice) => several.wrong(format!("names {twice} twice")),
        None => Some(issuers),
    }
}

fn read(root: &Table<'_, '_>, paths: &Paths) -> Option<HelperConfig> {
    // Each is read before any is asked for with `?`, so that every fault is told.
    let trust_domain = root.must("trust_domain", settings::TRUST_DOMAIN, settings::trust_domain);
    let issuers = issuers(root);
    let state_dir = root.or("state_dir", paths.helper_state(), parse::path);
    let runtime_dir = root.or("runtime_dir", paths.helper_runtime(), parse::socket_dir);
    let join_token =
        root.or("join_token_file", paths.join_token().map(JoinToken::File), |value| match value.text()? {
            "-" => Some(Some(JoinToken::Stdin)),
            _ => parse::path(value).map(|path| Some(JoinToken::File(path))),
        });
    let seal_key_file = root.or("seal_key_file", paths.helper_seal_key(), parse::path);
    let operators = settings::operators(root);
    let sources = source::sources(root);
    let session = root.table("session", |table| {
        let contain = table.or("contain", Contain::default(), |value| match value.text()? {
            "required" => Some(Contain::Required),
            "off" => Some(Contain::Off),
            other => value.wrong(format!("must be required or off, not {other:?}")),
        });
        Some(Session { contain: contain? })
    });
    let egress = root.table("egress", |table| {
        let unbound = table.or("unbound", None, |value| match value.text()? {
            "deny" => Some(Some(Unbound::Deny)),
            "tunnel" => Some(Some(Unbound::Tunnel)),
            other => value.wrong(format!("must be deny or tunnel, not {other:?}")),
        });
        let ports = table.or("ports", Vec::new(), |value| {
            let ports = value.list(|value| match parse::whole(value, "a port, 1 to 65535")? {
                0_u16 => value.wrong("must be a port, 1 to 65535, not 0"),
                port => Some(port),
            })?;
            if ports.len() > MAX_PORTS {
                return value.wrong(format!("has {} ports: keep at most {MAX_PORTS}", ports.len()));
            }
            Some(ports)
        });
        Some(Egress { unbound: unbound?, ports: ports? })
    });
    let health = settings::health(root);
    let log = settings::log(root);
    if let (Some(state), Some(seal)) = (&state_dir, &seal_key_file)
        && seal.starts_with(state)
    {
        let place = state.display();
        root.wrong("seal_key_file", format!("is below {place}, where a backup would hold both: keep it elsewhere"));
    }
    Some(HelperConfig {
        trust_domain: trust_domain?,
        issuers: issuers?,
        state_dir: state_dir?,
        runtime_dir: runtime_dir?,
        join_token: join_token?,
        seal_key_file: seal_key_file?,
        operators: operators?,
        sources: sources?,
        session: session?,
        egress: egress?,
        health: health?,
        log: log?,
    })
}

const MAX_PORTS: usize = 64;

const ISSUER: &str = "write where the issuer is, such as issuer = \"issuer.example:8443\"";
const MAX_ISSUERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HelperConfig, ConfigFaults> {
        HelperConfig::parse(text, Path::new("helper.toml"), &Paths::system())
    }

    #[test]
    fn the_sample_is_the_defaults() {
        let mut read = parse(include_str!("../helper.toml")).unwrap();
        let domain = TrustDomain::parse("example.test").unwrap();
        let expected = HelperConfig::new(domain, "issuer.example.test:8443".to_owned(), &Paths::system());
        assert_eq!(read.operators.len(), 1);
        read.operators = expected.operators.clone();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_join_token_is_in_a_file_or_on_the_standard_input() {
        let with = |token: &str| parse(&format!("trust_domain = \"e\"\nissuer = \"i:1\"\njoin_token_file = {token:?}"));
        assert_eq!(with("-").unwrap().join_token, Some(JoinToken::Stdin));
        assert_eq!(with("/t").unwrap().join_token, Some(JoinToken::File("/t".into())));
        assert!(with("avouch-join.secret").is_err());
    }

    #[test]
    fn there_is_one_issuer_or_a_list_of_several() {
        let with = |lines: &str| parse(&format!("trust_domain = \"e\"\n{lines}"));
        assert_eq!(with("issuer = \"a:1\"").unwrap().issuers, ["a:1"]);
        assert_eq!(with("issuers = [\"a:1\", \"b:1\"]").unwrap().issuers, ["a:1", "b:1"]);
        for (lines, sentence) in [
            ("issuers = []", "`issuers` must name 1 to 16 issuers"),
            ("issuers = [\"a:1\", \"a:1\"]", "`issuers` names a:1 twice"),
            ("issuers = [\"a\"]", "`issuers[0]` must be a host and a port"),
            ("issuer = \"a:1\"\nissuers = [\"a:1\"]", "`issuers` says what `issuer` says too"),
            ("", "the key `issuer` is missing"),
        ] {
            let told = with(lines).unwrap_err().to_string();
            assert!(told.contains(sentence), "{lines}: {told}");
        }
    }

    #[test]
    fn what_is_not_said_of_unbound_hosts_is_left_to_containment() {
        let with = |more: &str| parse(&format!("trust_domain = \"e\"\nissuer = \"i:1\"\n{more}"));
        assert_eq!(with("").unwrap().egress.unbound, None);
        assert_eq!(with("[egress]\nunbound = \"deny\"").unwrap().egress.unbound, Some(Unbound::Deny));
        assert_eq!(with("[egress]\nunbound = \"tunnel\"").unwrap().egress.unbound, Some(Unbound::Tunnel));
        assert_eq!(with("").unwrap().session.contain, Contain::Off);
        assert_eq!(with("[session]\ncontain = \"required\"").unwrap().session.contain, Contain::Required);
        let told = with("[session]\ncontain = true").unwrap_err().to_string();
        assert!(told.contains("session.contain"), "{told}");
        let told = with("[session]\ncontain = \"yes\"").unwrap_err().to_string();
        assert!(told.contains("`session.contain` must be required or off, not \"yes\""), "{told}");
    }

    #[test]
    fn wrong_values_are_told_at_once() {
        let text = "trust_domain = \"e\"\nissuer = \"host\"\n[egress]\nunbound = \"allow\"\nports = [0, 70000, 8080]\n";
        let told = parse(text).unwrap_err().to_string();
        for sentence in [
            "helper.toml:2: `issuer` must be a host and a port",
            "helper.toml:4: `egress.unbound` must be deny or tunnel, not \"allow\"",
            "`egress.ports[0]` must be a port, 1 to 65535, not 0",
            "`egress.ports[1]` must be a port, 1 to 65535, not 70000",
        ] {
            assert!(told.contains(sentence), "{told}");
        }
        for (issuer, good) in
            [("[::1]:8443", true), ("a.b:0", false), (":1", false), ("a b:1", false), ("h:99999", false)]
        {
            assert_eq!(parse(&format!("trust_domain = \"e\"\nissuer = {issuer:?}")).is_ok(), good, "{issuer}");
        }
    }
}
