//! moto's Secrets Manager. It believes whoever asks, so [`super::Aws`] stands before it.

use super::{TRIES, free_port, installed, until_up};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A moto server; it is killed, and all that it held goes, when it is dropped.
pub struct Moto {
    /// Its log.
    _folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Moto {
    /// Starts one.
    pub fn start() -> io::Result<Self> {
        let (program, folder) = (installed("AVOUCH_MOTO")?, tempfile::tempdir()?);
        let mut failed = io::Error::other("no port was free");
        // Somebody else may have taken the port before the server does.
        for _ in 0..TRIES {
            let port = free_port()?;
            let log = fs::File::create(folder.path().join("log"))?;
            let mut command = Command::new(&program);
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
            let mut child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
            let said = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            let up =
                || said().contains(&format!("127.0.0.1:{port}")) && TcpStream::connect(("127.0.0.1", port)).is_ok();
            match until_up(&mut child, said, up) {
                Ok(()) => return Ok(Self { _folder: folder, child, port }),
                Err(error) => failed = error,
            }
            child.kill().and_then(|()| child.wait()).ok();
        }
        Err(failed)
    }

    /// Does something as nobody in particular; any answer but 200 is an error.
    pub fn run(&self, action: &str, asked: &Value) -> io::Result<Value> {
        match self.forward(&format!("secretsmanager.{action}"), asked.to_string().as_bytes())? {
            (200, body) => serde_json::from_slice(&body).map_err(io::Error::other),
            (_, body) => Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
        }
    }

    /// Makes a secret of a text.
    pub fn create(&self, name: &str, text: &str) -> io::Result<Value> {
        self.run("CreateSecret", &json!({"Name": name, "SecretString": text}))
    }

    /// Where it is, for threads that outlive no test.
    pub(super) fn door(&self) -> Door {
        Door(self.port)
    }

    fn forward(&self, target: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        self.door().forward(target, body)
    }
}

/// The way to a server.
#[derive(Clone)]
pub(super) struct Door(u16);

/// A form of signature that moto reads and does not check.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=0";

impl Door {
    /// What moto answers to this, status and body.
    pub(super) fn forward(&self, target: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0))?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: {target}\r\nAuthorization: {SIGNED}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let odd = || io::Error::other(format!("moto answers {}", String::from_utf8_lossy(&answer)));
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(odd)?;
        let status = answer.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok()).ok_or_else(odd)?;
        Ok((status, answer[end + 4..].to_vec()))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}
