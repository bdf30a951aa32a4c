//! The proxy against real sockets: a tool's server that keeps what it was sent, agents with sessions, a sealed store,
//! a policy made by hand, and a ledger that can be read.

mod attacks;
mod calls;
mod cutting;
mod placeholders;
mod rotation;
mod scrubbing;
mod smuggling;
mod tls;

use super::{Anchor, Fence, Proxy, Session, SystemRoots};
use crate::broker::{
    Broker, Egress, Fresh, Ledger, NotRecorded, Parts, PolicyHandle, Recording, Resolve, Resolving, Unbound,
};
use crate::testing::NoEntrance;
use avouch_audit::record::HelperEvent;
use avouch_policy::{Agent, AgentState, Binding, Caller, Credential, Grant, Lock, LockTarget, PolicyState, StateParts};
use avouch_sources::SealedStore;
use avouch_words::{Clock, Name, Reference, Secret, SystemClock, Ulid};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "s3cr3t-canary/0123456789+abcdef";
const SOON: Duration = Duration::from_secs(10);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn id() -> Ulid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Ulid::new(SystemClock.now(), random)
}

/// What a tool's server answers.
enum Answer {
    /// And keeps the connection.
    Keep(Vec<u8>),
    /// In these writes, with a pause between them, and keeps the connection.
    Pieces(Vec<Vec<u8>>),
    /// And closes.
    Close(Vec<u8>),
    /// And then says nothing more.
    Hang(Vec<u8>),
}

fn ok(body: &str) -> Answer {
    Answer::Keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// A tool's server on loopback.
#[derive(Clone)]
struct Tool {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

type Script = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

impl Tool {
    async fn plain(script: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(script)).await
    }

    /// Under TLS for these names; also the PEM of the certificate.
    async fn tls(names: &[&str], script: impl Fn(&str) -> Answer + Send + Sync + 'static) -> (Self, String) {
        let made =
            rcgen::generate_simple_self_signed(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        (Self::listen(Some(acceptor), Arc::new(script)).await, made.cert.pem())
    }

    async fn listen(tls: Option<tokio_rustls::TlsAcceptor>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tool = Self { address, requests: Arc::default(), connections: Arc::default(), ended: Arc::default() };
        let serving = tool.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let (tool, script, tls) = (serving.clone(), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => tool.serve(stream, script).await,
                            Err(_) => return,
                        },
                        None => tool.serve(stream, script).await,
                    }
                    tool.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        tool
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Script) {
        let mut held = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut held).await {
            self.requests.lock().unwrap().push(request.clone());
            match script(&request) {
                Answer::Keep(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
                Answer::Pieces(pieces) => {
                    for piece in pieces {
                        if stream.write_all(&piece).await.is_err() || stream.flush().await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                Answer::Close(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                    return;
                }
                Answer::Hang(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.flush().await;
                    let _ = stream.read(&mut [0; 64]).await;
                    return;
                }
            }
            let _ = stream.flush().await;
        }
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    fn last(&self) -> String {
        self.requests.lock().unwrap().last().cloned().unwrap_or_default()
    }

    fn port(&self) -> u16 {
        self.address.port()
    }
}

/// One request with its body, as a plain server reads it.
async fn read_request(stream: &mut (impl AsyncRead + Unpin), held: &mut Vec<u8>) -> Option<String> {
    let more = async |stream: &mut _, held: &mut Vec<u8>| {
        let mut bytes = [0; 16 * 1024];
        let read = AsyncReadExt::read(stream, &mut bytes).await.ok().filter(|read| *read > 0)?;
        held.extend_from_slice(&bytes[..read]);
        Some(())
    };
    let head = loop {
        match held.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(stream, held).await?,
        }
    };
    let text = String::from_utf8_lossy(&held[..head]).to_ascii_lowercase();
    let length = match text.split_once("content-length: ") {
        Some((_, rest)) => head + rest.split("\r\n").next().unwrap().parse::<usize>().unwrap(),
        None if text.contains("transfer-encoding: chunked") => {
            let mut seen = head;
            loop {
                let from = seen.saturating_sub(4);
                match held[from..].windows(5).position(|five| five == b"0\r\n\r\n") {
                    Some(at) => break from + at + 5,
                    None => {
                        seen = held.len();
                        more(stream, held).await?;
                    }
                }
            }
        }
        None => head,
    };
    while held.len() < length {
        more(stream, held).await?;
    }
    let rest = held.split_off(length);
    Some(String::from_utf8_lossy(&std::mem::replace(held, rest)).into_owned())
}

/// Keeps what it is told, and refuses to when told so.
#[derive(Default)]
struct Memory {
    events: Mutex<Vec<HelperEvent>>,
    broken: AtomicBool,
}

impl Ledger for Memory {
    fn durable(&self, event: HelperEvent) -> Recording<'_> {
        let kept = match self.broken.load(Ordering::SeqCst) {
            true => Err(NotRecorded),
            false => {
                self.events.lock().unwrap().push(event);
                Ok(())
            }
        };
        Box::pin(std::future::ready(kept))
    }

    fn behind(&self, event: HelperEvent) {
        self.events.lock().unwrap().push(event);
    }
}

struct Names(HashMap<String, Vec<IpAddr>>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move { self.0.get(host).cloned().ok_or(std::io::ErrorKind::NotFound.into()) })
    }
}

struct Age(AtomicBool);

impl Fresh for Age {
    fn is_fresh(&self, _: Duration) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A node with a broker and a proxy.
struct World {
    state: watch::Sender<Arc<PolicyState>>,
    parts: Mutex<StateParts>,
    ledger: Arc<Memory>,
    broker: Arc<Broker>,
    proxy: Arc<Proxy>,
    store: Arc<SealedStore>,
    fresh: Arc<Age>,
    _dir: tempfile::TempDir,
}

/// An agent's session.
struct Agents {
    address: SocketAddr,
    anchor: Arc<Anchor>,
    ended: CancellationToken,
}

impl World {
    /// With these names known to its resolver, and unbound targets denied or not.
    fn new(names: &[(&str, &[&str])], unbound: Unbound) -> Self {
        let memory = Arc::new(Memory::default());
        Self::recording(names, unbound, memory.clone(), memory)
    }

    /// With another ledger than the one that the test reads.
    fn recording(names: &[(&str, &[&str])], unbound: Unbound, memory: Arc<Memory>, ledger: Arc<dyn Ledger>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (state, receiver) = watch::channel(Arc::new(PolicyState::default()));
        let path = |rest: &str| dir.path().join(rest);
        let store = SealedStore::open(name("sealed"), &path("state/sealed"), &path("key"), &path("state")).unwrap();
        let store = Arc::new(store);
        let fresh = Arc::new(Age(AtomicBool::new(true)));
        let names = names
            .iter()
            .map(|(name, ips)| ((*name).to_owned(), ips.iter().map(|ip| ip.parse().unwrap()).collect()))
            .collect();
        let broker = Broker::start(Parts {
            policy: PolicyHandle { state: receiver, fresh: fresh.clone() },
            ledger,
            sources: vec![store.clone()],
            entrances: Arc::new(NoEntrance),
            limits: BTreeMap::new(),
            leases: crate::testing::leases(&path("leases"), Vec::new()),
            resolver: Arc::new(Names(names)),
            clock: Arc::new(SystemClock),
            egress: Egress { contained: Unbound::Deny, uncontained: unbound, ports: BTreeSet::new() },
        });
        let roots = SystemRoots { store: Arc::new(rustls::RootCertStore::empty()), pem: String::new() };
        let proxy = Arc::new(Proxy::new(Arc::clone(&broker), &roots).unwrap());
        let world = Self { state, parts: Mutex::default(), ledger: memory, broker, proxy, store, fresh, _dir: dir };
        for agent in ["researcher", "intruder"] {
            world.parts.lock().unwrap().agents.push(Agent { name: name(agent), state: AgentState::Active });
        }
        world.publish();
        world
    }

    /// A credential in the store, granted to the researcher.
    fn bind(&self, credential: &str, binding: &str) {
        let binding = Binding::parse(binding.as_bytes()).unwrap();
        self.store.put(&name(credential), &binding.digest(), &Secret::new(SECRET.as_bytes().to_vec())).unwrap();
        let mut parts = self.parts.lock().unwrap();
        parts.credentials.push(Credential {
            name: name(credential),
            source: name("sealed"),
            reference: Reference::default(),
            binding,
        });
        parts.grants.push(Grant { id: id(), agent: name("researcher"), credential: name(credential) });
        drop(parts);
        self.publish();
    }

    /// The usual binding of a plain tool: GET and POST of `/ok/**` with `?q=`, as a bearer.
    fn bind_plain(&self, tool: &Tool) {
        self.bind("tool", &plain_binding(tool, r#""bearer""#));
    }

    fn lock(&self, agent: &str) {
        let lock = Lock { id: id(), target: LockTarget::Agent(name(agent)), expires: None };
        self.parts.lock().unwrap().locks.push(lock);
        self.publish();
    }

    fn publish(&self) {
        let mut parts = self.parts.lock().unwrap();
        parts.version += 1;
        self.state.send_replace(Arc::new(PolicyState::new(parts.clone())));
    }

    fn session(&self, agent: &str) -> Agents {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let session = id();
        let anchor = Arc::new(Anchor::new(session, &SystemClock).unwrap());
        let ended = CancellationToken::new();
        let serving = Session {
            caller: Caller { agent: name(agent), instance: id(), session, facts: Arc::default(), contained: false },
            fence: Fence::for_listener(&listener, nix::unistd::getuid().as_raw()),
            anchor: Arc::clone(&anchor),
            ended: ended.clone(),
        };
        tokio::spawn(Arc::clone(&self.proxy).serve(serving, listener));
        Agents { address, anchor, ended }
    }

    /// The codes of what was recorded.
    fn codes(&self) -> Vec<&'static str> {
        self.ledger.events.lock().unwrap().iter().map(HelperEvent::code).collect()
    }

    fn recorded(&self, code: &str) -> usize {
        self.codes().iter().filter(|have| **have == code).count()
    }

    /// Waits until this many calls are open.
    async fn open(&self, calls: usize) {
        let wait = async {
            while self.broker.open_calls(None) != calls {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, wait).await.expect("the calls do not open or close");
    }
}

fn plain_binding(tool: &Tool, slot: &str) -> String {
    format!(
        r#"{{"to":"http://127.0.0.1:{}","methods":["GET","POST","HEAD"],"paths":["/ok/**"],"query":["q"],"slot":{slot},"plain":"loopback"}}"#,
        tool.port()
    )
}

fn tls_binding(host: &str, tool: &Tool, ca: &str) -> String {
    let ca = ca.replace("\r\n", "\n").replace('\n', "\\n");
    format!(
        r#"{{"to":"https://{host}:443","methods":["GET"],"paths":["/ok/**"],"slot":"bearer","address":"{}","ca":"{ca}"}}"#,
        tool.address
    )
}

/// A response as a client reads it.
#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        json["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A client's connection.
struct Conn<S> {
    stream: S,
    held: Vec<u8>,
}

async fn connect(address: SocketAddr) -> Conn<TcpStream> {
    Conn { stream: TcpStream::connect(address).await.unwrap(), held: Vec::new() }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn more(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let read =
            tokio::time::timeout(SOON, self.stream.read(&mut bytes)).await.expect("silent for too long").unwrap_or(0);
        self.held.extend_from_slice(&bytes[..read]);
        read
    }

    async fn head(&mut self) -> Option<(u16, String)> {
        let end = loop {
            match self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.more().await == 0 => return None,
                None => {}
            }
        };
        let head = String::from_utf8_lossy(&self.held[..end]).into_owned();
        self.held.drain(..end);
        Some((head.split(' ').nth(1)?.parse().ok()?, head))
    }

    /// The next response whole; none if the connection ends first.
    async fn response(&mut self, has_body: bool) -> Option<Response> {
        let (status, head) = self.head().await?;
        let lower = head.to_ascii_lowercase();
        let mut body = Vec::new();
        if !has_body {
        } else if let Some((_, rest)) = lower.split_once("content-length: ") {
            let length: usize = rest.split("\r\n").next()?.parse().ok()?;
            while self.held.len() < length {
                if self.more().await == 0 {
                    return None;
                }
            }
            body = self.held.drain(..length).collect();
        } else if lower.contains("transfer-encoding: chunked") {
            loop {
                let line = loop {
                    match self.held.windows(2).position(|two| two == b"\r\n") {
                        Some(at) => break at,
                        None if self.more().await == 0 => return None,
                        None => {}
                    }
                };
                let size = usize::from_str_radix(std::str::from_utf8(&self.held[..line]).unwrap(), 16).unwrap();
                while self.held.len() < line + 2 + size + 2 {
                    if self.more().await == 0 {
                        return None;
                    }
                }
                body.extend_from_slice(&self.held[line + 2..line + 2 + size]);
                self.held.drain(..line + 2 + size + 2);
                if size == 0 {
                    break;
                }
            }
        } else {
            while self.more().await > 0 {}
            body = std::mem::take(&mut self.held);
        }
        Some(Response { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }

    async fn call(&mut self, request: impl AsRef<[u8]>) -> Response {
        let head_only = request.as_ref().starts_with(b"HEAD ");
        self.write(request).await;
        self.response(!head_only).await.expect("an answer")
    }

    /// Whether the other side has closed.
    async fn is_closed(&mut self) -> bool {
        self.held.clear();
        while self.more().await > 0 {}
        true
    }
}

/// Sends a request on a connection of its own.
async fn once(agents: &Agents, request: impl AsRef<[u8]>) -> Response {
    connect(agents.address).await.call(request).await
}

fn get(tool: &Tool, target: &str) -> String {
    format!("GET http://{0}{target} HTTP/1.1\r\nHost: {0}\r\n\r\n", tool.address)
}

/// The forms in which the secret must not be seen.
fn shows_secret(text: &str) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let percent = SECRET.replace('/', "%2F").replace('+', "%2B");
    let json = SECRET.replace('/', "\\/");
    let basic = STANDARD.encode(format!("user:{SECRET}"));
    [SECRET.to_owned(), STANDARD.encode(SECRET), percent, json, basic].iter().any(|form| text.contains(form))
}
