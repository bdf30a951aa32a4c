//! An ordinary HTTP client: it knows the proxy and trust variables that all clients know, and nothing of avouch.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// A client set up by environment variables.
#[derive(Debug, Clone)]
pub struct Client {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    tls: Arc<ClientConfig>,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, its chunks joined.
    pub body: Vec<u8>,
    /// Every byte that was read, as it came.
    pub raw: Vec<u8>,
}

/// An answer that is still being read.
pub struct Open {
    connection: Box<dyn Connection>,
    status: u16,
    raw: Vec<u8>,
    head: usize,
}

/// Either kind of connection.
trait Connection: Read + Write + Send {}
impl<T: Read + Write + Send> Connection for T {}

struct Target<'a> {
    tls: bool,
    host: &'a str,
    /// Host and port.
    authority: String,
    path: &'a str,
}

impl Client {
    /// Reads `http_proxy`, `https_proxy` (either case) and `SSL_CERT_FILE`.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> io::Result<Self> {
        let proxy = |lower: &str| {
            let value = variable(lower).or_else(|| variable(&lower.to_ascii_uppercase())).filter(|v| !v.is_empty())?;
            Some(value.trim_start_matches("http://").trim_end_matches('/').to_owned())
        };
        let mut roots = RootCertStore::empty();
        if let Some(file) = variable("SSL_CERT_FILE") {
            let pem = std::fs::read(file)?;
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = builder.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { http_proxy: proxy("http_proxy"), https_proxy: proxy("https_proxy"), tls: Arc::new(tls) })
    }

    /// One call, read to its end.
    pub fn call(&self, method: &str, url: &str) -> io::Result<Answer> {
        let mut open = self.open(method, url, false)?;
        open.read_to_end()?;
        open.answer()
    }

    /// One call, read to the end of its head. With `keep` the connection is asked to stay.
    pub fn open(&self, method: &str, url: &str, keep: bool) -> io::Result<Open> {
        let target = target(url)?;
        let connection = if keep { "keep-alive" } else { "close" };
        let common =
            format!("Host: {}\r\nUser-Agent: demo/1\r\nAccept: */*\r\nConnection: {connection}\r\n", target.authority);
        if !target.tls {
            let to = self.http_proxy.as_deref().unwrap_or(&target.authority);
            let mut stream: Box<dyn Connection> = Box::new(dial(to)?);
            let line = match &self.http_proxy {
                Some(_) => url.to_owned(),
                None => target.path.to_owned(),
            };
            write!(stream, "{method} {line} HTTP/1.1\r\n{common}\r\n")?;
            return Open::read_head(stream);
        }
        let tcp = match &self.https_proxy {
            None => dial(&target.authority)?,
            Some(proxy) => {
                let mut tcp = dial(proxy)?;
                write!(tcp, "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", target.authority)?;
                let mut connected = Open::read_head(Box::new(tcp.try_clone()?))?;
                if connected.status != 200 {
                    connected.read_to_end()?;
                    return Ok(connected);
                }
                tcp.flush()?;
                tcp
            }
        };
        let name = ServerName::try_from(target.host.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        let mut stream: Box<dyn Connection> = Box::new(StreamOwned::new(tls, tcp));
        write!(stream, "{method} {} HTTP/1.1\r\n{common}\r\n", target.path)?;
        Open::read_head(stream)
    }
}

impl Open {
    fn read_head(mut connection: Box<dyn Connection>) -> io::Result<Self> {
        let mut raw = Vec::new();
        let mut byte = [0];
        while !raw.ends_with(b"\r\n\r\n") {
            if raw.len() > HEAD_MAX || connection.read(&mut byte)? == 0 {
                let seen = String::from_utf8_lossy(&raw).into_owned();
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no whole answer came, only {seen:?}")));
            }
            raw.push(byte[0]);
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        parsed.parse(&raw).map_err(io::Error::other)?;
        let status = parsed.code.unwrap_or_default();
        Ok(Self { connection, status, head: raw.len(), raw })
    }

    /// Reads what there is next; 0 at the end of the connection.
    pub fn read_more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let count = self.connection.read(&mut buffer)?;
        self.raw.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// Every byte that was read so far.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Reads the body that the head announced, and leaves the connection open.
    pub fn read_body(&mut self) -> io::Result<()> {
        while !self.is_whole() && self.read_more()? > 0 {}
        Ok(())
    }

    /// The answer as far as it was read.
    pub fn answer(self) -> io::Result<Answer> {
        let body = &self.raw[self.head..];
        let body = if self.is_chunked() { joined(body) } else { body.to_vec() };
        Ok(Answer { status: self.status, body, raw: self.raw })
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    fn read_to_end(&mut self) -> io::Result<()> {
        while !self.is_whole() {
            match self.read_more() {
                Ok(0) => break,
                Ok(_) => {}
                // Many servers end TLS without saying so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"))
    }

    fn is_whole(&self) -> bool {
        let body = &self.raw[self.head..];
        if self.is_chunked() {
            return body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n");
        }
        let length = self.header("content-length").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        length.is_some_and(|length: usize| body.len() >= length)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        let lines = self.raw[..self.head].split(|byte| *byte == b'\n');
        lines.filter_map(|line| line.split_at_checked(name.len())).find_map(|(start, rest)| {
            let value = start.eq_ignore_ascii_case(name.as_bytes()).then(|| rest.strip_prefix(b":")).flatten()?;
            Some(value.trim_ascii())
        })
    }
}

/// One call without proxies and with a bearer token, as somebody makes it who holds the secret.
pub fn ask_directly(to: std::net::SocketAddr, path: &str, token: &str) -> io::Result<Vec<u8>> {
    let mut stream: Box<dyn Connection> = Box::new(dial(&to.to_string())?);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")?;
    let mut open = Open::read_head(stream)?;
    open.read_to_end()?;
    Ok(open.answer()?.body)
}

fn dial(to: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn target(url: &str) -> io::Result<Target<'_>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("{url} is no http or https URL"));
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let (tls, port) = match scheme {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return Err(bad()),
    };
    let (host, authority) = match authority.rsplit_once(':') {
        Some((host, _)) => (host, authority.to_owned()),
        None => (authority, format!("{authority}:{port}")),
    };
    Ok(Target { tls, host, authority, path: if path.is_empty() { "/" } else { path } })
}

/// The body behind the chunks.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&chunks[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(chunk) = size.and_then(|size| chunks.get(end + 2..end + 2 + size)) else { break };
        if chunk.is_empty() {
            break;
        }
        body.extend_from_slice(chunk);
        chunks = chunks.get(end + 2 + chunk.len() + 2..).unwrap_or_default();
    }
    body
}

/// How long a read or a write may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head, in bytes.
const HEAD_MAX: usize = 256 * 1024;
/// The most headers.
const HEADERS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| target(url).map(|t| (t.tls, t.host.to_owned(), t.authority, t.path.to_owned())).unwrap();
        let expected = (false, "127.0.0.1".to_owned(), "127.0.0.1:81".to_owned(), "/a?b=c".to_owned());
        assert_eq!(parts("http://127.0.0.1:81/a?b=c"), expected);
        assert_eq!(parts("https://x.test"), (true, "x.test".to_owned(), "x.test:443".to_owned(), "/".to_owned()));
        assert!(target("ftp://x").is_err() && target("x").is_err());
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(joined(b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"), b"abc0123456789");
        assert_eq!(joined(b"3\r\nabc\r\nff\r\ncut"), b"abc");
    }

    #[test]
    fn proxies_are_read_from_either_case_and_the_lower_one_wins() {
        let client = Client::from_environment(|name| match name {
            "http_proxy" => Some("http://127.0.0.1:1/".to_owned()),
            "HTTP_PROXY" => Some("http://127.0.0.1:2".to_owned()),
            "HTTPS_PROXY" => Some("http://127.0.0.1:3".to_owned()),
            _ => None,
        });
        let client = client.unwrap();
        assert_eq!(client.http_proxy.as_deref(), Some("127.0.0.1:1"));
        assert_eq!(client.https_proxy.as_deref(), Some("127.0.0.1:3"));
    }
}
