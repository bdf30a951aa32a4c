//! A forwarder on loopback that goes wrong when it is told to: it cuts, it hangs, or it cuts at the very message that
//! a test waits for.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A forwarder to one address; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    look: Look,
    task: tokio::task::JoinHandle<()>,
}

/// What it does with everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Hands it on.
    Pass,
    /// Leaves connections open and hands nothing on: a network that swallows.
    Hang,
    /// Ends every connection, and new ones at once.
    Cut,
}

/// What it does with one message of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Hands it on.
    Pass,
    /// Ends the connection instead.
    CutBefore,
    /// Hands it on and ends the connection before an answer.
    CutAfter,
}

type Look = Arc<Mutex<Box<dyn FnMut(&[u8]) -> At + Send>>>;

impl Proxy {
    /// Begins to forward to this port of loopback.
    pub async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::Pass);
        let look: Look = Arc::new(Mutex::new(Box::new(|_| At::Pass)));
        let (modes, seen) = (mode.subscribe(), Arc::clone(&look));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, port, modes.clone(), Arc::clone(&seen)));
            }
        });
        Ok(Self { address, mode, look, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this with everything from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Asks this about every chunk that a client sends.
    pub fn look(&self, look: impl FnMut(&[u8]) -> At + Send + 'static) {
        *self.look.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(look);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.mode.send_replace(Mode::Cut);
    }
}

async fn forward(client: TcpStream, port: u16, mut modes: watch::Receiver<Mode>, look: Look) {
    if *modes.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let passing = modes.clone();
    let up = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let at = look.lock().unwrap_or_else(PoisonError::into_inner)(&buffer[..read]);
            wait_to_pass(passing.clone()).await;
            if at == At::CutBefore || to_server.write_all(&buffer[..read]).await.is_err() || at == At::CutAfter {
                return;
            }
        }
    };
    let passing = modes.clone();
    let down = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            wait_to_pass(passing.clone()).await;
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = modes.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn wait_to_pass(mut modes: watch::Receiver<Mode>) {
    // Without its proxy nothing is waited for.
    let _ = modes.wait_for(|mode| *mode != Mode::Hang).await;
}

const CHUNK: usize = 64 * 1024;
