//! The `spiffe` and `spiffe-rustls` crates against avouch's Workload API: fetches, watches through rotations of SVIDs and
//! authorities, has JWT-SVIDs validated, and holds mTLS with other clients while opening new handshakes all the time.
//! What it takes and prints is described in `tests/interop/README.md`. Nothing of avouch is used here.

use ring::digest::{SHA256, digest};
use rustls::client::Resumption;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use spiffe::{WorkloadApiClient, X509Source};
use spiffe_rustls::{TlsStatus, authorizer, mtls_client};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const AUDIENCE: &str = "interop.example.test";
const PAUSE: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(20);
const MEETING: Duration = Duration::from_secs(120);

/// Handshakes that `spiffe-rustls` itself refused, as it had new material to take in.
static GATED: AtomicU32 = AtomicU32::new(0);

type Connection = BufReader<client::TlsStream<TcpStream>>;

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [meeting, name, seconds, count] = &arguments[..] else {
        return Err(io::Error::other("usage: avouch-peer MEETING NAME SECONDS COUNT"));
    };
    let (meeting, count) = (Path::new(meeting), count.parse().map_err(io::Error::other)?);
    let source = X509Source::new().await.map_err(io::Error::other)?;
    let own = source.svid().map_err(io::Error::other)?.spiffe_id().to_string();
    println!("id {own}");
    println!("jwt {}", validated().await?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(meeting, &format!("{name}.port"), &listener.local_addr()?.port().to_string())?;
    tokio::spawn(serve(source.clone(), listener));
    let peers = wait(meeting, ".port", count).await?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    tokio::spawn(watch(source.clone(), seen.clone()));
    let peers: Vec<Peer> =
        peers.iter().map(|peer| Peer::new(&source, meeting, peer, &own)).collect::<io::Result<_>>()?;
    let until = Instant::now() + Duration::from_secs(seconds.parse().map_err(io::Error::other)?);
    let holding: Vec<_> = peers.iter().cloned().map(|peer| tokio::spawn(hold(peer, until))).collect();
    let (mut handshakes, mut failed) = (0, 0);
    for peer in peers.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        match within(peer.call()).await {
            Ok(()) => handshakes += 1,
            Err(error) => {
                eprintln!("handshake with {}: {error}", peer.id);
                failed += 1;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    let (mut held, mut held_failed) = (0, 0);
    for one in holding {
        let (answers, ended) = one.await.map_err(io::Error::other)?;
        held += answers;
        if let Err(error) = ended {
            eprintln!("held connection: {error}");
            held_failed += 1;
        }
    }
    println!("jwt-later {}", validated().await?);
    let (serials, authorities, signers) = seen.lock().expect("what was seen").counts();
    println!("serials {serials}\nauthorities {authorities}\nsigners {signers}");
    println!("handshakes {handshakes}\nfailed {failed}\nheld {held}\nheld-failed {held_failed}");
    println!("gated {}", GATED.load(Ordering::Relaxed));
    announce(meeting, &format!("{name}.done"), "")?;
    wait(meeting, ".done", count).await.map(drop)
}

/// Fetches a JWT-SVID and has it validated.
async fn validated() -> io::Result<String> {
    let client = WorkloadApiClient::connect_env().await.map_err(io::Error::other)?;
    let token = client.fetch_jwt_svid([AUDIENCE], None).await.map_err(io::Error::other)?;
    if client.validate_jwt_token("other.example.test", token.token()).await.is_err() {
        println!("foreign-audience refused");
    }
    let valid = client.validate_jwt_token(AUDIENCE, token.token()).await.map_err(io::Error::other)?;
    Ok(valid.spiffe_id().to_string())
}

/// What the source has had, one after another.
#[derive(Default)]
struct Seen {
    serials: BTreeSet<Vec<u8>>,
    authorities: BTreeSet<Vec<u8>>,
    signers: BTreeSet<Vec<u8>>,
}

impl Seen {
    fn look(&mut self, source: &X509Source) -> io::Result<()> {
        let context = source.x509_context().map_err(io::Error::other)?;
        let svid = context.default_svid().ok_or_else(|| io::Error::other("no SVID"))?;
        let (_, leaf) = X509Certificate::from_der(svid.leaf().as_bytes()).map_err(io::Error::other)?;
        self.serials.insert(leaf.raw_serial().to_vec());
        let bundle = context.bundle_set().get(svid.spiffe_id().trust_domain());
        for authority in bundle.iter().flat_map(|bundle| bundle.authorities()) {
            let (_, parsed) = X509Certificate::from_der(authority.as_bytes()).map_err(io::Error::other)?;
            let name = digest(&SHA256, authority.as_bytes()).as_ref().to_vec();
            if leaf.verify_signature(Some(parsed.public_key())).is_ok() {
                self.signers.insert(name.clone());
            }
            self.authorities.insert(name);
        }
        Ok(())
    }

    fn counts(&self) -> (usize, usize, usize) {
        (self.serials.len(), self.authorities.len(), self.signers.len())
    }
}

async fn watch(source: X509Source, seen: Arc<Mutex<Seen>>) -> io::Result<()> {
    let mut updates = source.updated();
    loop {
        seen.lock().expect("what was seen").look(&source)?;
        updates.changed().await.map_err(io::Error::other)?;
    }
}

/// Answers each line with the SPIFFE ID of whoever sent it.
async fn serve(source: X509Source, listener: TcpListener) -> io::Result<()> {
    loop {
        let (accepted, _) = listener.accept().await?;
        let source = source.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(&source, accepted).await {
                eprintln!("serving: {error}");
            }
        });
    }
}

async fn answer(source: &X509Source, accepted: TcpStream) -> io::Result<()> {
    let domain = source.svid().map_err(io::Error::other)?.spiffe_id().trust_domain().clone();
    let connection = acceptor(source)?.accept(accepted).await?;
    let chain = connection.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or_else(|| io::Error::other("no certificate"))?;
    let peer = spiffe::cert::spiffe_id_from_der(leaf).map_err(io::Error::other)?;
    if *peer.trust_domain() != domain {
        return Err(io::Error::other(format!("{peer} is no member")));
    }
    let mut lines = BufReader::new(connection);
    let mut line = String::new();
    // Whoever hangs up without a word has hung up all the same.
    while lines.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        lines.get_mut().write_all(format!("{peer}\n").as_bytes()).await?;
        lines.get_mut().flush().await?;
        line.clear();
    }
    Ok(())
}

/// A server of rustls with the source's material of this moment. That of `spiffe-rustls` refuses whoever comes while it takes
/// in new material, which a server cannot ask to come again.
fn acceptor(source: &X509Source) -> io::Result<TlsAcceptor> {
    let context = source.x509_context().map_err(io::Error::other)?;
    let svid = context.default_svid().ok_or_else(|| io::Error::other("no SVID"))?;
    let mut roots = rustls::RootCertStore::empty();
    let bundle = context.bundle_set().get(svid.spiffe_id().trust_domain());
    for authority in bundle.iter().flat_map(|bundle| bundle.authorities()) {
        roots.add(authority.as_bytes().to_vec().into()).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let chain = svid.cert_chain().iter().map(|one| one.as_bytes().to_vec().into()).collect();
    let key = PrivateKeyDer::Pkcs8(svid.private_key().as_bytes().to_vec().into());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier.map_err(io::Error::other)?)
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A client to call, and how.
#[derive(Clone)]
struct Peer {
    id: String,
    own: String,
    port: u16,
    connector: TlsConnector,
    status: TlsStatus,
}

impl Peer {
    fn new(source: &X509Source, meeting: &Path, name: &str, own: &str) -> io::Result<Self> {
        let domain = source.svid().map_err(io::Error::other)?.spiffe_id().trust_domain().to_string();
        let id = format!("spiffe://{domain}/agent/{name}");
        let only = authorizer::exact([id.as_str()]).map_err(io::Error::other)?;
        let built = mtls_client(source.clone()).authorize(only).build_with_status();
        let (mut config, status) = built.map_err(io::Error::other)?;
        config.resumption = Resumption::disabled();
        let port = std::fs::read_to_string(meeting.join(format!("{name}.port")))?;
        let port = port.parse().map_err(io::Error::other)?;
        Ok(Self { id, own: own.to_owned(), port, connector: TlsConnector::from(Arc::new(config)), status })
    }

    /// `spiffe-rustls` refuses every handshake between the moment in which its source has new material and that in which it
    /// has taken it in. One that it refused for this is none that failed; it is begun again.
    async fn dial(&self) -> io::Result<Connection> {
        loop {
            let before = self.status.current();
            if !before.available {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            // rustls wants a name; who it is, is in the certificate.
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            match self.connector.connect(name, stream).await {
                Ok(connection) => return Ok(BufReader::new(connection)),
                Err(_) if self.status.current().source_revision != before.source_revision => {
                    GATED.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn ask(&self, connection: &mut Connection) -> io::Result<()> {
        connection.get_mut().write_all(b"who am I?\n").await?;
        connection.get_mut().flush().await?;
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        if line.trim_end() != self.own {
            return Err(io::Error::other(format!("taken for {line:?}")));
        }
        Ok(())
    }

    async fn call(&self) -> io::Result<()> {
        let mut connection = self.dial().await?;
        self.ask(&mut connection).await?;
        connection.get_mut().shutdown().await
    }
}

/// One connection that is kept and used, whatever is rotated meanwhile: how many answers, and how it ended.
async fn hold(peer: Peer, until: Instant) -> (usize, io::Result<()>) {
    let mut answers = 0;
    let ended = async {
        let mut connection = within(peer.dial()).await?;
        while Instant::now() < until {
            within(peer.ask(&mut connection)).await?;
            answers += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        connection.get_mut().shutdown().await
    };
    let ended = ended.await;
    (answers, ended)
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(DEADLINE, work).await.map_err(io::Error::other)?
}

/// Writes a file in one step.
fn announce(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    std::fs::write(&new, text)?;
    std::fs::rename(new, folder.join(name))
}

/// Waits until so many have announced a thing; their names.
async fn wait(folder: &Path, ending: &str, count: usize) -> io::Result<Vec<String>> {
    let begun = Instant::now();
    loop {
        let files: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        let names = files.iter().filter_map(|path| path.file_name()?.to_str()?.strip_suffix(ending));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        if names.len() >= count {
            names.sort();
            return Ok(names);
        }
        if begun.elapsed() > MEETING {
            return Err(io::Error::other(format!("not all of {count} have announced {ending}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
