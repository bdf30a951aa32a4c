//! The store on a real Postgres: what every backend must do, and what a server, a network and other issuers add.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure")]

#[path = "../../server/store/tests/conformance/mod.rs"]
mod conformance;
#[path = "store/faults.rs"]
mod faults;
#[path = "store/open.rs"]
mod open;

use avouch_store::{Host, OpenError, Place, Postgres, Store};
use avouch_tests::servers;
use avouch_words::Secret;
use conformance::{Fixture, NOW, domain};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use tempfile::TempDir;

conformance!(fixture);

/// One cluster for the tests that leave it as it is; it ends with the last of them.
fn cluster() -> Arc<servers::Postgres> {
    static SHARED: Mutex<Weak<servers::Postgres>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(servers::Postgres::start().unwrap());
        // Not the owner of the cluster: what avouch does must need no more than a database of its own.
        started.sql("postgres", &format!("CREATE ROLE avouch LOGIN PASSWORD '{PASSWORD}'")).unwrap();
        *shared = Arc::downgrade(&started);
        started
    })
}

/// A database of its own, and this test's folder.
struct Ground {
    cluster: Arc<servers::Postgres>,
    database: String,
    folder: TempDir,
}

impl Ground {
    fn new() -> Self {
        let cluster = cluster();
        let url = cluster.database().unwrap();
        let database = url.rsplit('/').next().unwrap().to_owned();
        cluster.sql("postgres", &format!("ALTER DATABASE {database} OWNER TO avouch")).unwrap();
        Self { cluster, database, folder: tempfile::tempdir().unwrap() }
    }

    /// As one of several issuers, each of which has a marker of its own.
    fn place(&self, issuer: &str, port: u16) -> Place {
        place(&self.database, port, &self.folder.path().join(issuer))
    }

    async fn open(&self, issuer: u8, port: u16) -> Result<Store, OpenError> {
        Store::open(self.place(&issuer.to_string(), port), &domain(), [issuer; 16], NOW).await
    }

    fn sql(&self, statement: &str) -> String {
        self.cluster.sql(&self.database, statement).unwrap()
    }
}

fn place(database: &str, port: u16, marker: &Path) -> Place {
    let settings = Postgres {
        host: Host::Name("127.0.0.1".into()),
        port,
        user: "avouch".into(),
        database: database.into(),
        password: Some(Secret::new(PASSWORD.into())),
        tls: None,
    };
    Place::Postgres { settings: Box::new(settings), marker: marker.to_owned() }
}

async fn fixture() -> Fixture {
    let ground = Ground::new();
    let store = ground.open(1, ground.cluster.port()).await.unwrap();
    let other = ground.open(2, ground.cluster.port()).await.unwrap();
    Fixture { store, other, held: Box::new(ground) }
}

const PASSWORD: &str = "a password of the tests";
