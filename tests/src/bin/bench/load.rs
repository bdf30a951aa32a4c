//! A load of HTTP/1.1 requests over kept connections, through the proxy that the environment names, as an ordinary
//! client would: `HTTP_PROXY` for http, `HTTPS_PROXY` and `SSL_CERT_FILE` for https.

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What one run saw.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Seen {
    pub requests: u64,
    pub seconds: f64,
    pub per_second: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub megabytes_per_second: f64,
}

/// Sends for `span` over `connections` kept connections.
pub async fn run(url: &str, connections: usize, span: Duration) -> io::Result<Seen> {
    let target = Arc::new(Target::read(url)?);
    // Warmed up before it is counted.
    let mut lanes = Vec::new();
    for _ in 0..connections {
        let mut stream = target.connect().await?;
        let mut buffer = Vec::with_capacity(64 * 1024);
        for _ in 0..50 {
            exchange(&mut stream, &target.head, &mut buffer).await?;
        }
        lanes.push(stream);
    }
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for mut stream in lanes {
        let target = target.clone();
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            let mut bytes = 0;
            let mut buffer = Vec::with_capacity(64 * 1024);
            while begun.elapsed() < span {
                let sent = Instant::now();
                bytes += exchange(&mut stream, &target.head, &mut buffer).await?;
                times.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Ok::<_, io::Error>((times, bytes))
        }));
    }
    let mut times = Vec::new();
    let mut bytes = 0;
    for task in tasks {
        let (lane, lane_bytes) = task.await.map_err(io::Error::other)??;
        times.extend(lane);
        bytes += lane_bytes;
    }
    let seconds = begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(Seen {
        requests: times.len() as u64,
        seconds,
        per_second: times.len() as f64 / seconds,
        p50_us: at(0.5),
        p99_us: at(0.99),
        megabytes_per_second: bytes as f64 / seconds / 1e6,
    })
}

/// Each URL once, one after another over one kept connection: how long each took, in microseconds.
pub async fn each(urls: &[String]) -> io::Result<Vec<u64>> {
    let first = urls.first().ok_or_else(|| io::Error::other("no URL"))?;
    let mut stream = Target::read(first)?.connect().await?;
    let mut times = Vec::new();
    for url in urls {
        let target = Target::read(url)?;
        let sent = Instant::now();
        exchange(&mut stream, &target.head, &mut Vec::new()).await?;
        times.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(times)
}

/// A line more in the head of every request.
pub const HEADER: &str = "BENCH_HEADER";

struct Target {
    head: Vec<u8>,
    host: String,
    authority: String,
    proxy: Option<SocketAddr>,
    direct: SocketAddr,
    tls: Option<tokio_rustls::TlsConnector>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Target {
    fn read(url: &str) -> io::Result<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| io::Error::other("no URL"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| io::Error::other("no port"))?;
        let secure = scheme == "https";
        let proxy =
            std::env::var(if secure { "HTTPS_PROXY" } else { "HTTP_PROXY" }).ok().filter(|value| !value.is_empty());
        let proxy: Option<SocketAddr> = proxy
            .map(|value| value.trim_start_matches("http://").trim_end_matches('/').parse().map_err(io::Error::other))
            .transpose()?;
        let form = if secure || proxy.is_none() { format!("/{path}") } else { url.to_owned() };
        let header = std::env::var(HEADER).map(|line| line + "\r\n").unwrap_or_default();
        let tls = if secure { Some(connector()?) } else { None };
        Ok(Self {
            head: format!(
                "GET {form} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\nUser-Agent: avouch-bench\r\n{header}\r\n"
            )
            .into_bytes(),
            host: host.to_owned(),
            authority: authority.to_owned(),
            direct: SocketAddr::from(([127, 0, 0, 1], port.parse().map_err(io::Error::other)?)),
            proxy,
            tls,
        })
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let mut stream = TcpStream::connect(self.proxy.unwrap_or(self.direct)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        if self.proxy.is_some() {
            let connect = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", self.authority);
            stream.write_all(connect.as_bytes()).await?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(stream.read_u8().await?);
            }
            if !answer.starts_with(b"HTTP/1.1 200") {
                return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
            }
        }
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

fn connector() -> io::Result<tokio_rustls::TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    let file = std::env::var("SSL_CERT_FILE").map_err(io::Error::other)?;
    for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).ok();
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)))
}

/// One request and its whole answer; the bytes of its body.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + ?Sized>(
    stream: &mut S,
    head: &[u8],
    buffer: &mut Vec<u8>,
) -> io::Result<usize> {
    stream.write_all(head).await?;
    buffer.clear();
    let body_at = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, buffer).await?;
    };
    let text = std::str::from_utf8(&buffer[..body_at]).map_err(io::Error::other)?.to_ascii_lowercase();
    if !text.starts_with("http/1.1 200") {
        return Err(io::Error::other(String::from_utf8_lossy(buffer).into_owned()));
    }
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length:"));
    if let Some(length) = length {
        let length: usize = length.trim().parse().map_err(io::Error::other)?;
        while buffer.len() < body_at + length {
            more(stream, buffer).await?;
        }
        return Ok(length);
    }
    let mut at = body_at;
    let mut total = 0;
    loop {
        let end = loop {
            if let Some(end) = buffer[at..].windows(2).position(|window| window == b"\r\n") {
                break at + end;
            }
            more(stream, buffer).await?;
        };
        let size = std::str::from_utf8(&buffer[at..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let size = size.ok_or_else(|| io::Error::other("no chunk size"))?;
        at = end + 2 + size + 2;
        while buffer.len() < at {
            more(stream, buffer).await?;
        }
        if size == 0 {
            return Ok(total);
        }
        total += size;
    }
}

async fn more<S: AsyncRead + Unpin + ?Sized>(stream: &mut S, buffer: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(buffer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
