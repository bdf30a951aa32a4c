//! The world of most stories: an installation, the tool that demands credentials, one agent that is granted them and
//! one that is not.

use crate::Installation;
use avouch::tools::{TlsIdentity, ToolConfig, ToolLog, ToolServer};
use avouch_words::{Secret, SystemClock};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

/// The name that the tool has over TLS.
pub const HOST: &str = "tools.story.test";
/// What the tool demands over plain HTTP.
pub const PLAIN: &[u8] = b"s3cr3t/plain+odd=bytes-41c0ffee";
/// What the tool demands over TLS.
pub const TLS: &[u8] = b"s3cr3t/tls+odd=bytes-99decade00";

/// An installation with a tool, `researcher` with two grants, and `intruder` with none.
pub struct World {
    /// Issuer and helper.
    pub made: Installation,
    /// What the tool was asked.
    pub tool: ToolLog,
    plain: u16,
    tls: u16,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    /// Sets it up.
    pub fn start() -> io::Result<Self> {
        Self::on(Installation::start()?)
    }

    /// Sets it up on an installation that runs.
    pub fn on(made: Installation) -> io::Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let host = made.tool_host().map(fs::File::open).transpose()?;
        runtime.worker_threads(1).enable_all().on_thread_start(move || {
            if let Some(host) = &host {
                move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::Network)).expect("the agents' host");
            }
        });
        let runtime = runtime.build()?;
        let identity = TlsIdentity::make(HOST, &SystemClock)?;
        fs::write(made.path("tool-ca.pem"), &identity.ca_pem)?;
        let config = ToolConfig {
            plain: Secret::new(PLAIN.to_vec()),
            tls: Secret::new(TLS.to_vec()),
            identity,
            plain_port: 0,
            tls_port: 0,
        };
        let building = runtime.spawn(ToolServer::build(config));
        let server = runtime.block_on(building).map_err(io::Error::other)??;
        let (plain, tls, tool) = (server.plain_address().port(), server.tls_address().port(), server.log());
        runtime.spawn(server.run());
        let world = Self { made, tool, plain, tls, _runtime: runtime };
        world.furnish()?;
        Ok(world)
    }

    fn furnish(&self) -> io::Result<()> {
        let uid = format!("session:uid:{}", rustix::process::geteuid().as_raw());
        for agent in ["researcher", "intruder"] {
            let line =
                ["agent", "create", agent, "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &uid];
            self.made.run(&line)?;
        }
        let ca = self.made.path("tool-ca.pem");
        let narrow = ["--method", "GET", "--path", "/repos/**", "--query", "mode", "--as", "bearer"];
        let plain = self.plain("");
        let tls = self.tls("");
        self.made.put_secret("plain", PLAIN, &[&["--to", &plain, "--plain", "loopback"], &narrow[..]].concat())?;
        let route = ["--to", &tls, "--address", "127.0.0.1", "--ca", &ca.to_string_lossy()];
        self.made.put_secret("tls", TLS, &[&route, &narrow[..]].concat())?;
        for credential in ["plain", "tls"] {
            self.made.run(&["grant", "create", "--agent", "researcher", "--credential", credential])?;
        }
        Ok(())
    }

    /// A URL on the tool's plain side.
    pub fn plain(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.plain)
    }

    /// A URL on the tool's TLS side.
    pub fn tls(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.tls)
    }

    /// `avouch run --agent AGENT -- COMMAND`, not yet started.
    pub fn under_run(&self, agent: &str, command: &[&str]) -> Command {
        let mut run = self.made.command(&["run", "--agent", agent, "--"]);
        run.args(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run
    }

    /// curl as an agent; what it printed, the status last.
    pub fn curl(&self, agent: &str, arguments: &[&str]) -> io::Result<String> {
        let command = [&["curl", "-sS", "-i", "--max-time", "20", "-w", "\n%{http_code}"], arguments].concat();
        let output = self.under_run(agent, &command).output()?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout)))
    }

    /// How many requests carried a credential to the tool.
    pub fn authorized(&self) -> usize {
        self.tool.seen().iter().filter(|seen| seen.authorized).count()
    }

    /// The log once the helper has shipped all it has; it verifies.
    pub fn settled(&mut self) -> io::Result<String> {
        self.made.until("the spool to be shipped", |made| {
            made.run(&["status", "-o", "json"]).is_ok_and(|said| is_shipped(&said.stdout))
        })?;
        self.made.run(&["audit", "verify"])?;
        Ok(self.made.run(&["audit", "export", "--out", "-"])?.stdout)
    }
}

fn is_shipped(status: &str) -> bool {
    let status: serde_json::Value = serde_json::from_str(status).unwrap_or_default();
    let spooled = find(&status, "spooled");
    spooled.is_some() && spooled == find(&status, "acknowledged")
}

fn find(value: &serde_json::Value, key: &str) -> Option<u64> {
    match value {
        serde_json::Value::Object(map) => {
            map.get(key).and_then(serde_json::Value::as_u64).or_else(|| map.values().find_map(|inner| find(inner, key)))
        }
        serde_json::Value::Array(list) => list.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}
