//! The metadata service of a machine, over plain HTTP as there.

use super::Keys;
use serde_json::json;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

const TOKEN: &str = "token-of-the-machine";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

pub(super) fn serve(keys: Keys, version_two: bool) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let keys = keys.clone();
            std::thread::spawn(move || answer(&stream, &keys, version_two));
        }
    });
    Ok(address)
}

fn answer(stream: &TcpStream, keys: &Keys, version_two: bool) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut with = Vec::new();
    for line in lines {
        match line?.to_ascii_lowercase() {
            line if line.is_empty() => break,
            line => with.push(line),
        }
    }
    let shown = with.contains(&format!("x-aws-ec2-metadata-token: {TOKEN}"));
    let role = format!("GET {ROLES}helper ");
    let (status, body) = match first.as_str() {
        first if first.starts_with("PUT /latest/api/token ") && version_two => (200, TOKEN.to_owned()),
        first if first.starts_with("PUT ") => (404, String::new()),
        _ if version_two && !shown => (401, String::new()),
        first if first.starts_with(&role) => {
            let keys = json!({
                "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "AccessKeyId": keys.id,
                "SecretAccessKey": keys.secret, "Token": keys.token, "Expiration": "2099-01-01T00:00:00Z",
            });
            (200, keys.to_string())
        }
        first if first.starts_with(&format!("GET {ROLES}")) => (200, "helper".to_owned()),
        _ => (404, String::new()),
    };
    let mut stream = stream;
    let ttl = if body == TOKEN { "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n" } else { "" };
    write!(stream, "HTTP/1.1 {status} -\r\nConnection: close\r\n{ttl}Content-Length: {}\r\n\r\n{body}", body.len())
}
