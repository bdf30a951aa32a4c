//! A gRPC channel over a Unix socket.

use hyper_util::rt::TokioIo;
use std::path::Path;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Error};

/// Connects to the socket at `path` and speaks gRPC on it.
pub async fn dial(path: &Path) -> Result<Channel, Error> {
    let path = path.to_owned();
    let service = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(service).await
}
