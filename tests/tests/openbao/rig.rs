//! An OpenBao, with a Postgres where one is wanted, set up by the lines of `docs/sources.md`.

use avouch_sources::openbao::{Login, Settings};
use avouch_sources::{Entrant, Lease, OpenBao, Part, Wanted};
use avouch_tests::Authority;
use avouch_tests::servers::{Bao, Postgres};
use avouch_words::{Digest, Name, Reference, SystemClock};
use rustls::RootCertStore;
use std::sync::Arc;

/// What lies at `secret/ci/github#token`.
pub const VALUE: &str = "correct-horse-battery-github";
const PAGE: &str = include_str!("../../../docs/sources.md");

pub struct Rig {
    pub bao: Bao,
    pub postgres: Option<Postgres>,
    pub authority: Arc<Authority>,
}

impl Rig {
    /// Starts one with these parts of the page.
    pub fn start(tls: bool, parts: &[&str]) -> Self {
        let bao = if tls { Bao::start_tls() } else { Bao::start() }.expect("OpenBao");
        let postgres = parts.contains(&"database").then(|| Postgres::start().expect("Postgres"));
        let authority = Authority::new();
        std::fs::write(bao.folder().join("bundle.pem"), authority.ca_pem()).expect("a file");
        std::fs::write(bao.folder().join("keys.pem"), authority.public_pem()).expect("a file");
        let rig = Self { bao, postgres, authority };
        for part in parts {
            // The authority of a test has no OpenID discovery: its key is told instead.
            let discovery = r#"oidc_discovery_url="$ISSUER""#;
            rig.run(&lines(part).replace(discovery, "jwt_validation_pubkeys=@keys.pem"));
        }
        rig.bao.run(&["kv", "put", "-mount=secret", "ci/github", &format!("token={VALUE}")]).expect("put");
        rig
    }

    /// Runs lines in which the page's variables are set.
    pub fn run(&self, lines: &str) -> String {
        let nodes = format!("spiffe://{}/brokered/node/", Authority::DOMAIN);
        let port = self.postgres.as_ref().map_or(0, Postgres::port);
        let (host, password) = (format!("127.0.0.1:{port}"), self.postgres.as_ref().map_or("", Postgres::password));
        let variables = [("NODES", nodes.as_str()), ("POSTGRES", &host), ("PASSWORD", password)];
        self.bao.shell(lines, &variables).expect("the page's lines")
    }

    pub fn settings(&self, login: Login) -> Settings {
        Settings { address: self.bao.address(), ca_file: self.bao.ca(), namespace: None, login }
    }

    pub fn source(&self, login: Login) -> OpenBao {
        source(self.settings(login))
    }

    pub fn jwt(&self) -> Login {
        let [mount, role, revoke_role, audience] = ["jwt", "{agent}", "avouch-revoke", "openbao"].map(str::to_owned);
        Login::Jwt { mount, role, revoke_role, audience }
    }

    pub fn cert(&self) -> Login {
        let [mount, role, revoke_role] = ["cert", "{agent}", "avouch-revoke"].map(str::to_owned);
        Login::Cert { mount, role, revoke_role }
    }

    /// A file of mode 0600, for as long as the server runs.
    pub fn private(&self, name: &str, text: &str) -> String {
        let path = self.bao.folder().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
        path.display().to_string()
    }

    /// Whether what was leased logs in at the database.
    pub fn opens_the_database(&self, lease: &Lease) -> bool {
        let part = |part| String::from_utf8(lease.part(part).expect("a part").expose().to_vec()).expect("text");
        let postgres = self.postgres.as_ref().expect("a database");
        postgres.sql_as(&part(Part::Username), &part(Part::Value), "postgres", "SELECT 1").is_ok()
    }
}

pub fn source(settings: Settings) -> OpenBao {
    let name = Name::parse("vault").expect("a name");
    OpenBao::new(name, settings, &RootCertStore::empty(), None, Arc::new(SystemClock)).expect("a source")
}

pub fn wanted(reference: &str, entrant: &Arc<dyn Entrant>) -> Wanted {
    Wanted {
        credential: Name::parse("credential").expect("a name"),
        binding: Digest::of(&[b"binding"]),
        reference: Reference::parse(reference).expect("a reference"),
        entrant: Arc::clone(entrant),
        fresh: false,
    }
}

/// The page's lines for one of its parts, in order.
pub fn lines(part: &str) -> String {
    let fence = format!("```sh bao {part}\n");
    let blocks: Vec<&str> = PAGE.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "the page has no lines for {part}");
    blocks.concat()
}
