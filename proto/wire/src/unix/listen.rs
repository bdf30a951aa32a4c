//! Sockets that only their owner can have made, and an accept loop that nobody can fill or stop.

use super::attested::{Attested, FIRST_BYTE_DEADLINE};
use super::peer::{Peer, Unattested};
use super::slots::{Slot, Slots};
use nix::sys::socket::{setsockopt, sockopt};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

/// Why there is no socket at a path.
#[derive(Debug, thiserror::Error)]
pub enum Taken {
    /// Somebody serves there (U14).
    #[error("the socket {} is in use{}", path.display(), owner(*pid))]
    Live {
        /// The socket.
        path: PathBuf,
        /// Who listens, where the kernel tells.
        pid: Option<i32>,
    },
    /// Something other than a socket is there.
    #[error("{} is there already and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// U13.
    #[error("the directory {} must belong to root or to this user and be writable by its owner alone, and none above it may be moved by others", .0.display())]
    UnsafeDirectory(PathBuf),
    /// The kernel said no.
    #[error("the socket {} cannot be made: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A bound socket.
pub struct Listener {
    inner: UnixListener,
    slots: Slots,
}

/// A connection and who made it.
pub struct Accepted {
    /// The connection, with nothing read from it. `SO_PASSCRED` is on.
    pub stream: UnixStream,
    /// Who connected.
    pub peer: Peer,
    /// Its place among its user's connections: keep it as long as the connection.
    pub slot: Slot,
}

/// Binds a socket at `path` with `mode`. A dead socket in its place is removed, a live one is not.
pub fn listen(path: &Path, mode: u32) -> Result<Listener, Taken> {
    let failed = |error| Taken::Io { path: path.to_owned(), error };
    check_directory(path)?;
    remove_dead(path)?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    // The file gets the socket's own mode as it is made, so it is never wider than wanted.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode)).map_err(|error| failed(error.into()))?;
    setsockopt(&socket, sockopt::PassCred, &true).map_err(|error| failed(error.into()))?;
    socket.bind(path).map_err(failed)?;
    // What the umask took away.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    let inner = socket.listen(BACKLOG).map_err(failed)?;
    Ok(Listener { inner, slots: Slots::new(MAX_CONNECTIONS, MAX_CONNECTIONS_OF_UID) })
}

/// A connection of somebody who cannot be known.
pub struct Stranger {
    /// The connection, with nothing read from it.
    pub stream: UnixStream,
    /// The user that connected, where the kernel tells.
    pub uid: Option<u32>,
    /// Why it cannot.
    pub why: Unattested,
    /// Its place among its user's connections: keep it as long as the connection.
    pub slot: Slot,
}

impl Listener {
    /// The next connection whose peer is known and has not too many already. Errors of single connections and of the
    /// descriptor table are waited out (N07).
    pub async fn accept(&self) -> Accepted {
        loop {
            match self.accept_any().await {
                Ok(accepted) => return accepted,
                Err(stranger) => tracing::info!(error = %stranger.why, "a connection was refused"),
            }
        }
    }

    /// The same, but whoever cannot be known is given back, to be told why.
    pub async fn accept_any(&self) -> Result<Accepted, Stranger> {
        loop {
            let stream = match self.inner.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                    continue;
                }
            };
            let peer = Peer::of(&stream);
            let uid = peer.as_ref().ok().map(Peer::uid).or_else(|| credentials(&stream));
            let slot = self.slots.take(uid.unwrap_or(u32::MAX));
            match (peer, slot) {
                (Ok(peer), Some(slot)) => return Ok(Accepted { stream, peer, slot }),
                (Err(why), Some(slot)) => return Err(Stranger { stream, uid, why, slot }),
                (_, None) => tracing::warn!(uid, "a connection was refused: too many"),
            }
        }
    }

    /// All connections, for `serve_with_incoming`.
    pub fn incoming(self) -> impl Stream<Item = io::Result<Attested>> {
        self.incoming_within(FIRST_BYTE_DEADLINE)
    }

    pub(super) fn incoming_within(self, first_byte: Duration) -> impl Stream<Item = io::Result<Attested>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    Accepted { stream, peer, slot } = self.accept() => {
                        if sender.send(Ok(Attested::new(stream, peer, slot, first_byte))).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

fn credentials(stream: &UnixStream) -> Option<u32> {
    nix::sys::socket::getsockopt(stream, sockopt::PeerCredentials).ok().map(|peer| peer.uid())
}

/// Whoever can write to the directory can put a socket of their own in our place (U13), and so can whoever can move
/// a directory above it.
fn check_directory(path: &Path) -> Result<(), Taken> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |error| Taken::Io { path: path.to_owned(), error };
    let directory = fs::canonicalize(directory).map_err(failed)?;
    let us = rustix::process::geteuid().as_raw();
    for (above, place) in directory.ancestors().enumerate() {
        let metadata = fs::metadata(place).map_err(failed)?;
        let mode = metadata.mode();
        let ours = metadata.uid() == us || metadata.uid() == 0;
        let closed = if above == 0 { mode & 0o022 == 0 } else { mode & 0o002 == 0 || mode & 0o1000 != 0 };
        if !ours || !closed {
            return Err(Taken::UnsafeDirectory(place.to_owned()));
        }
    }
    Ok(())
}

fn remove_dead(path: &Path) -> Result<(), Taken> {
    let failed = |error| Taken::Io { path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(Taken::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match StdStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        // Gone in the meantime.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(stream) => {
            let pid = nix::sys::socket::getsockopt(&stream, sockopt::PeerCredentials).ok().map(|peer| peer.pid());
            Err(Taken::Live { path: path.to_owned(), pid: pid.filter(|pid| *pid > 0) })
        }
    }
}

fn owner(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}

const BACKLOG: u32 = 1024;
/// Connections at a time on one socket.
const MAX_CONNECTIONS: usize = 4096;
/// Of these, connections of one user (U15).
const MAX_CONNECTIONS_OF_UID: usize = 512;
/// How long to wait after a failed accept, so that a full descriptor table does not spin.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
