use super::listen::listen;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_stream::StreamExt;

fn private() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn the_peer_is_the_process_that_connected_and_its_bytes_arrive() {
    let place = private();
    let path = place.path().join("a.sock");
    let mut incoming = std::pin::pin!(listen(&path, 0o600).unwrap().incoming());
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut served = incoming.next().await.unwrap().unwrap();
    let peer = served.peer().clone();
    assert_eq!(peer.pid(), std::process::id() as i32);
    assert_eq!(peer.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid(), rustix::process::getegid().as_raw());
    peer.recheck().unwrap();
    let mut read = [0; 5];
    served.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    served.write_all(b"back").await.unwrap();
    let mut read = [0; 4];
    client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"back");
    drop(client);
    assert_eq!(served.read(&mut [0; 1]).await.unwrap(), 0);
}
