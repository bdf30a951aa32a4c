//! The tool to try with. Its ports, certificates and secret stay the same from run to run, so that what was bound
//! to it goes on working.

use crate::failure::{Exit, Failure};
use crate::files;
use crate::output::talk;
use crate::tools::{TlsIdentity, ToolConfig, ToolServer, new_secret};
use avouch_words::{Clock, Secret};
use std::io;
use std::path::{Path, PathBuf};

/// The tool, bound.
pub struct LocalTool {
    /// The server.
    pub server: ToolServer,
    /// What it demands, for `secret put --value-file`.
    pub secret_file: PathBuf,
    /// Its authority, for `--ca`.
    pub ca_file: PathBuf,
}

impl LocalTool {
    /// As it was the last time, or new.
    pub async fn open(dir: &Path, clock: &dyn Clock) -> Result<Self, Failure> {
        let at = |name: &str| dir.join(name);
        if !at("ports").exists() {
            Self::make(dir, clock)?;
        }
        let read = |name: &str| {
            std::fs::read_to_string(at(name)).map_err(|error| {
                let sentence = format!("cannot read {}: {error}", at(name).display());
                Failure::new(Exit::Failure, sentence).then(format!("Remove {} to begin anew.", dir.display()))
            })
        };
        let ports = read("ports")?;
        let (plain_port, tls_port) = ports
            .trim()
            .split_once(' ')
            .and_then(|(plain, tls)| Some((plain.parse().ok()?, tls.parse().ok()?)))
            .unwrap_or((0, 0));
        let server = match Self::bind(&read, plain_port, tls_port).await? {
            Ok(server) => server,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                talk("The local tool's last ports are taken, so it has others now: put its secret again, as below.");
                Self::bind(&read, 0, 0).await?.map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let ports = format!("{} {}\n", server.plain_address().port(), server.tls_address().port());
        std::fs::write(at("ports"), ports).map_err(failed)?;
        Ok(Self { server, secret_file: at("secret"), ca_file: at("ca.pem") })
    }

    async fn bind(
        read: &impl Fn(&str) -> Result<String, Failure>,
        plain_port: u16,
        tls_port: u16,
    ) -> Result<io::Result<ToolServer>, Failure> {
        let secret = || Ok::<_, Failure>(Secret::new(read("secret")?.into_bytes()));
        let identity = TlsIdentity::from_pem(read("ca.pem")?, read("leaf.pem")?, read("key.pem")?).map_err(failed)?;
        let config = ToolConfig { plain: secret()?, tls: secret()?, identity, plain_port, tls_port };
        Ok(ToolServer::build(config).await)
    }

    fn make(dir: &Path, clock: &dyn Clock) -> Result<(), Failure> {
        // What a run that was killed in between has left is no tool.
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let identity = TlsIdentity::make(HOST, clock).map_err(failed)?;
        let (leaf, key) = identity.leaf_and_key_pem();
        files::create_private(&dir.join("ca.pem"), identity.ca_pem.as_bytes())?;
        files::create_private(&dir.join("leaf.pem"), leaf.as_bytes())?;
        files::create_private(&dir.join("key.pem"), key.as_bytes())?;
        files::create_private(&dir.join("secret"), new_secret().map_err(failed)?.expose())?;
        files::create_private(&dir.join("ports"), b"0 0\n")
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("cannot start the local tool: {error}"))
}

/// Its name over TLS; nobody looks it up, as its binding carries the address.
pub const HOST: &str = "tools.dev.test";

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::SystemClock;

    #[tokio::test]
    async fn it_is_the_same_tool_on_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("tool");
        let first = LocalTool::open(&dir, &SystemClock).await.unwrap();
        let (plain, tls) = (first.server.plain_address(), first.server.tls_address());
        let kept = |name: &str| std::fs::read(dir.join(name)).unwrap();
        let (ca, secret) = (kept("ca.pem"), kept("secret"));
        drop(first);
        let second = LocalTool::open(&dir, &SystemClock).await.unwrap();
        assert_eq!((second.server.plain_address(), second.server.tls_address()), (plain, tls));
        assert_eq!((kept("ca.pem"), kept("secret")), (ca, secret));
        let third = LocalTool::open(&dir, &SystemClock).await.unwrap();
        assert_ne!(third.server.tls_address(), tls, "taken ports are left to whoever has them");
    }
}
