//! Liveness and readiness as plain HTTP on a loopback port: `/healthz` says that the process answers, `/readyz` that it
//! can do its work, `/metrics` how much of it there is.

use crate::listen::listen_tcp;
use crate::start_error::StartError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Whether a part can do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It cannot, for this reason: a stable word that tells nothing secret.
    NotReady(&'static str),
}

/// The health endpoint, bound.
#[derive(Debug)]
pub struct Health {
    listener: TcpListener,
    address: SocketAddr,
}

/// Writes the page that Prometheus reads.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

impl Health {
    /// Takes the port. Call it inside the runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, StartError> {
        let failed = |error| StartError::Listen { place: address.to_string(), error };
        let listener = TcpListener::from_std(listen_tcp(address)?).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The real address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until shutdown.
    pub async fn run(self, readiness: watch::Receiver<Readiness>, metrics: Metrics, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (Ok((stream, _)), Ok(slot)) = (accepted, Arc::clone(&slots).acquire_owned().await) else {
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
                continue;
            };
            let (ready, metrics) = (*readiness.borrow(), Arc::clone(&metrics));
            tokio::spawn(async move {
                // A client that is slow or gone is its own loss.
                let _ = tokio::time::timeout(DEADLINE, answer(stream, ready, &metrics)).await;
                drop(slot);
            });
        }
    }
}

async fn answer(mut stream: TcpStream, readiness: Readiness, metrics: &Metrics) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(256);
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let page;
    let (status, body) = match line {
        b"GET /metrics HTTP/1.1" | b"GET /metrics HTTP/1.0" => {
            page = metrics();
            ("200 OK", page.trim_end())
        }
        b"GET /healthz HTTP/1.1" | b"GET /healthz HTTP/1.0" => ("200 OK", "ok"),
        b"GET /readyz HTTP/1.1" | b"GET /readyz HTTP/1.0" => match readiness {
            Readiness::Ready => ("200 OK", "ready"),
            Readiness::NotReady(why) => ("503 Service Unavailable", why),
        },
        _ => ("404 Not Found", "not found"),
    };
    let length = body.len() + 1;
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}\n"
    );
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

const MAX_CONNECTIONS: usize = 16;
const MAX_HEAD: usize = 4096;
const DEADLINE: Duration = Duration::from_secs(2);
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test]
    async fn readiness_is_told_as_it_is_now() {
        let health = Health::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = health.address();
        let (sender, receiver) = watch::channel(Readiness::NotReady("starting"));
        let shutdown = CancellationToken::new();
        let running =
            tokio::spawn(health.run(receiver, Arc::new(|| "# TYPE a gauge\na 1\n".to_owned()), shutdown.clone()));
        assert!(ask(address, b"GET /healthz HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 200 OK"));
        let reply = ask(address, b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(reply.starts_with("HTTP/1.1 503") && reply.ends_with("starting\n"), "{reply}");
        sender.send_replace(Readiness::Ready);
        assert!(ask(address, b"GET /readyz HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 200 OK"));
        let page = ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("\r\n\r\n# TYPE a gauge\na 1\n"), "{page}");
        for other in [&b"POST /healthz HTTP/1.1\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n"] {
            assert!(ask(address, other).await.starts_with("HTTP/1.1 404"));
        }
        shutdown.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_head_without_end_is_hung_up_on() {
        let health = Health::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = health.address();
        let (_sender, receiver) = watch::channel(Readiness::Ready);
        tokio::spawn(health.run(receiver, Arc::new(String::new), CancellationToken::new()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut reply = Vec::new();
        let _ = stream.write_all(&vec![b'a'; MAX_HEAD + 1024]).await;
        let _ = stream.read_to_end(&mut reply).await;
        assert!(reply.is_empty());
    }
}
