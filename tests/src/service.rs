//! A local server that stands for a service of the internet: it has that service's name in a certificate of its own
//! authority, wants the real secret, and writes down what arrived.

use serde::Deserialize;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A service; it ends when it is dropped.
pub struct Service {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

/// A request that arrived at the service.
#[derive(Debug, Deserialize)]
pub struct Arrived {
    /// Its method.
    pub method: String,
    /// Its path with the query.
    pub path: String,
    /// Whether it carried the real secret.
    pub authorized: bool,
}

impl Service {
    /// Starts the service of this name, which wants this value in this header.
    pub fn start(host: &str, header: &str, value: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = fs::File::create(folder.path().join("err"))?;
        let child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/quickstarts/service"))
            .arg(folder.path())
            .args([host, header, value])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut service = Self { folder, child, port: 0 };
        let begun = Instant::now();
        while begun.elapsed() < START {
            if let Ok(port) = fs::read_to_string(service.folder.path().join("port")) {
                service.port = port.trim().parse().map_err(io::Error::other)?;
                return Ok(service);
            }
            if let Some(status) = service.child.try_wait()? {
                return Err(io::Error::other(format!("the service ended: {status}: {}", service.said())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other(format!("the service did not come up: {}", service.said())))
    }

    /// The flags of `avouch secret put` that lead a binding here: the one thing that is not as it would be with the
    /// real service.
    pub fn instead(&self) -> String {
        format!("--address 127.0.0.1:{} --ca '{}'", self.port, self.authority().display())
    }

    /// The file with the certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What arrived, in order.
    pub fn arrived(&self) -> Vec<Arrived> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What it complained about.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("err")).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How long it may take to come up.
const START: Duration = Duration::from_secs(20);
