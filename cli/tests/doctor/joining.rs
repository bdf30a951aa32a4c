//! Faults of a node and its issuer: clocks, join tokens, an issuer that is not there. Both run in this process, so that
//! the helper's clock can be turned.

use crate::home::{AVOUCH, Said};
use avouch_config::{Contain, HelperConfig, JoinToken, Paths, ServerConfig, Session};
use avouch_helper::{Helper, StartError};
use avouch_server::Issuer;
use avouch_wire::admin::CreateTokenRequest;
use avouch_wire::admin::admin_client::AdminClient;
use avouch_words::{Clock, Millis, SystemClock, TrustDomain};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A clock that somebody has turned.
struct Turned(AtomicI64);

impl Clock for Turned {
    fn now(&self) -> Millis {
        Millis(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }

    fn boot(&self) -> Duration {
        SystemClock.boot()
    }
}

struct Place {
    dir: TempDir,
    domain: TrustDomain,
    issuer: SocketAddr,
    stop: CancellationToken,
}

impl Place {
    /// An issuer that runs, and a place for a helper.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let domain = TrustDomain::parse("doctor.test").unwrap();
        let mut settings = ServerConfig::new(domain.clone(), &Paths::below(dir.path()));
        settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let issuer = Issuer::build(settings, Arc::new(SystemClock)).await.unwrap();
        let (address, stop) = (issuer.address(), CancellationToken::new());
        tokio::spawn(issuer.run(stop.clone()));
        Self { dir, domain, issuer: address, stop }
    }

    fn settings(&self) -> HelperConfig {
        let settings = HelperConfig::new(self.domain.clone(), self.issuer.to_string(), &Paths::below(self.dir.path()));
        HelperConfig { session: Session { contain: Contain::Required }, ..settings }
    }

    async fn token(&self, ttl_seconds: u32) -> JoinToken {
        let admin = Paths::below(self.dir.path()).server_runtime().join("admin.sock");
        let mut client = AdminClient::new(avouch_wire::unix::dial(&admin).await.unwrap());
        let request = CreateTokenRequest { node: "n".into(), ttl_seconds };
        let token = client.create_token(request).await.unwrap().into_inner().token;
        let file: PathBuf = self.dir.path().join("join.token");
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, token).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        JoinToken::File(file)
    }

    /// A start of the helper that has to fail.
    async fn fails(&self, token: Option<JoinToken>, ahead: i64) -> StartError {
        let settings = HelperConfig { join_token: token, ..self.settings() };
        Helper::build(settings, Arc::new(Turned(AtomicI64::new(ahead)))).await.err().unwrap()
    }

    /// A helper that runs, by this clock.
    async fn runs(&self, clock: Arc<Turned>) -> CancellationToken {
        let settings = HelperConfig { join_token: Some(self.token(60).await), ..self.settings() };
        let helper = Helper::build(settings, clock).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(helper.run(stop.clone()));
        stop
    }

    async fn doctor(&self) -> Said {
        let mut command = Command::new(AVOUCH);
        command.arg("--runtime-dir").arg(self.dir.path().join("run")).arg("doctor");
        command
            .env("HOME", self.dir.path())
            .env("PATH", "")
            .env_remove("AVOUCH_OUTPUT")
            .env_remove("SPIFFE_ENDPOINT_SOCKET");
        Said::of(&tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap())
    }

    /// A doctor, asked until its first line says this.
    async fn doctor_that_names(&self, cause: &str, fix: &str) {
        for _ in 0..TRIES {
            if self.doctor().await.first.contains(cause) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.doctor().await.names(cause, fix);
    }
}

const TRIES: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_when_joining_and_later() {
    let place = Place::start().await;
    let failed = place.fails(Some(place.token(60).await), 90_000).await;
    assert!(matches!(failed, StartError::Clock { .. }), "{failed}");
    place.doctor().await.names("clock", "`timedatectl set-ntp true`");
    // Further off, not even the issuer's certificate is believed.
    let failed = place.fails(Some(place.token(60).await), 40 * 24 * 3_600_000).await;
    assert!(matches!(failed, StartError::NotNow { .. }), "{failed}");
    place.doctor().await.names("clock", "`timedatectl set-ntp true`");
    let clock = Arc::new(Turned(AtomicI64::new(0)));
    let stop = place.runs(clock.clone()).await;
    clock.0.store(120_000, Ordering::Relaxed);
    place.doctor_that_names("ahead of the issuer's", "`timedatectl set-ntp true`").await;
    clock.0.store(0, Ordering::Relaxed);
    stop.cancel();
    place.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_that_is_missing_or_too_old_and_an_svid_that_ran_out() {
    let place = Place::start().await;
    place.fails(None, 0).await;
    place.doctor().await.names("has not joined", "`avouch token create");
    let token = place.token(1).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    place.fails(Some(token), 0).await;
    place.doctor().await.names("token has expired", "`avouch token create");
    place.runs(Arc::new(Turned(AtomicI64::new(0)))).await.cancel();
    place.until_gone().await;
    let failed = place.fails(None, 3 * 3_600_000).await;
    assert!(matches!(failed, StartError::SvidExpired), "{failed}");
    place.doctor().await.names("SVID has expired", "`avouch token create");
    place.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_gone_before_or_after_joining() {
    let place = Place::start().await;
    let _helper = place.runs(Arc::new(Turned(AtomicI64::new(0)))).await;
    for _ in 0..TRIES {
        if place.doctor().await.well {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    place.stop.cancel();
    place.doctor_that_names("cannot reach the issuer", "`systemctl start avouch-server`").await;
    place.doctor().await.names(&place.issuer.to_string(), "helper.toml");
}

impl Place {
    /// The state of a helper that has stopped is free again.
    async fn until_gone(&self) {
        let socket = Paths::below(self.dir.path()).helper_runtime().join("helper.sock");
        while socket.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_user_namespaces_where_sessions_have_to_be_contained() {
    let place = Place::start().await;
    let _helper = place.runs(Arc::new(Turned(AtomicI64::new(0)))).await;
    // Below one user namespace there may be no more than this one other, so that a session can have none.
    let run = place.dir.path().join("run");
    let script = format!(
        "echo 1 > /proc/sys/user/max_user_namespaces && exec unshare --user --map-user=4711 --map-group=4711 \
         {AVOUCH} --runtime-dir {} doctor",
        run.display()
    );
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--user", "--map-root-user", "/bin/sh", "-c", &script]);
    command.env("HOME", place.dir.path()).env("PATH", "/usr/bin:/bin").env_remove("AVOUCH_OUTPUT");
    command.env_remove("SPIFFE_ENDPOINT_SOCKET");
    let mut said = None;
    for _ in 0..TRIES {
        let output = command.output().unwrap();
        if output.stdout.is_empty() {
            println!("not run: this host gives no user namespaces: {}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        let now = Said::of(&output);
        let ready = now.first.contains("contain");
        said = Some(now);
        if ready {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    said.unwrap().names("cannot contain a session", "`avouch run --no-contain`");
}
