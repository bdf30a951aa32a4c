//! A Kubernetes API server as far as Secrets go, true to the wire: TLS; what it is asked is checked field by field, and
//! what is wrong with it is a complaint that fails the test; `Status` objects; watches that go on from a version.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

pub(super) const WATCH: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Name = (String, String);

/// A cluster with files as a pod has them.
pub(super) struct Cluster {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) folder: TempDir,
    pub(super) server: String,
    stalled: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
pub(super) struct State {
    secrets: BTreeMap<Name, (u64, BTreeMap<String, String>)>,
    /// `VERB NAMESPACE/NAME` for which a token is good.
    pub(super) rights: BTreeSet<String>,
    pub(super) token: String,
    version: u64,
    /// Before this one, nothing is remembered.
    oldest: u64,
    events: Vec<(u64, Name, &'static str)>,
    watchers: Vec<(Name, mpsc::UnboundedSender<String>)>,
    /// Given once, instead of what would be.
    pub(super) next: Vec<Response<Body>>,
    /// Whether a version that is too old is told before the stream or in it.
    pub(super) gone_at_once: bool,
    pub(super) asked: Vec<String>,
    pub(super) complaints: Vec<String>,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca, acceptor) = authority();
        std::fs::write(folder.path().join("ca.crt"), ca).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let state = Arc::new(Mutex::new(State { version: 100, ..State::default() }));
        let stalled = watch::Sender::new(false);
        let serving = tokio::spawn(serve(listener, acceptor, Arc::clone(&state), stalled.subscribe()));
        let cluster = Self { state, folder, server, stalled, serving };
        cluster.token("first-token");
        cluster
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// From now on this token is good and no other; its file is replaced as a kubelet does it.
    pub(super) fn token(&self, token: &str) {
        self.lock().token = token.to_owned();
        std::fs::write(self.path("next"), token).unwrap();
        std::fs::rename(self.path("next"), self.path("token")).unwrap();
    }

    /// Allows verbs on a Secret.
    pub(super) fn allow(&self, verbs: &[&str], secret: &str) {
        self.lock().rights.extend(verbs.iter().map(|verb| format!("{verb} {secret}")));
    }

    /// Puts a Secret with one key; what lies in it is given in base64.
    pub(super) fn put(&self, namespace: &str, name: &str, key: &str, value: &[u8]) {
        self.put_coded(namespace, name, key, &STANDARD.encode(value));
    }

    pub(super) fn put_coded(&self, namespace: &str, name: &str, key: &str, coded: &str) {
        let mut state = self.lock();
        let secret = (namespace.to_owned(), name.to_owned());
        state.version += 1;
        let version = state.version;
        let data = BTreeMap::from([(key.to_owned(), coded.to_owned())]);
        let kind = if state.secrets.insert(secret.clone(), (version, data)).is_some() { "MODIFIED" } else { "ADDED" };
        state.tell(version, &secret, kind);
    }

    pub(super) fn delete(&self, namespace: &str, name: &str) {
        let mut state = self.lock();
        let secret = (namespace.to_owned(), name.to_owned());
        state.secrets.remove(&secret).unwrap();
        state.version += 1;
        let version = state.version;
        state.tell(version, &secret, "DELETED");
    }

    /// Says to the watches that nothing has happened up to now.
    pub(super) fn bookmark(&self) {
        let mut state = self.lock();
        state.version += 1;
        let line = event("BOOKMARK", &partial(("", ""), state.version));
        state.watchers.retain(|(_, to)| to.send(line.clone()).is_ok());
    }

    /// Ends all watches; events up to now are forgotten too, if wished.
    pub(super) fn end_watches(&self, forget: bool) {
        let mut state = self.lock();
        state.watchers.clear();
        if forget {
            state.version += 1;
            state.oldest = state.version;
        }
    }

    pub(super) fn stall(&self, stall: bool) {
        self.stalled.send_replace(stall);
    }

    /// The watches that were asked for.
    pub(super) fn watches(&self) -> usize {
        self.lock().asked.iter().filter(|line| line.contains("watch=1")).count()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.abort();
        if !std::thread::panicking() {
            assert_eq!(self.lock().complaints, Vec::<String>::new());
        }
    }
}

impl State {
    fn tell(&mut self, version: u64, secret: &Name, kind: &'static str) {
        self.events.push((version, secret.clone(), kind));
        let line = event(kind, &partial((&secret.0, &secret.1), version));
        self.watchers.retain(|(of, to)| of != secret || to.send(line.clone()).is_ok());
    }

    fn complain(&mut self, what: String) -> Response<Body> {
        self.complaints.push(what.clone());
        status(400, "BadRequest", &what)
    }

    fn answer(&mut self, request: &Request<Incoming>) -> Response<Body> {
        let asked = format!("{} {}", request.method(), request.uri());
        self.asked.push(asked.clone());
        let header = |name: &str| {
            let mut values = request.headers().get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
            (values.next().unwrap_or_default().to_owned(), values.next().is_some())
        };
        if request.method() != "GET" || request.headers().contains_key("content-length") {
            return self.complain(format!("{asked} is no plain GET"));
        }
        if header("authorization") != (format!("Bearer {}", self.token), false) {
            return status(401, "Unauthorized", "Unauthorized");
        }
        if let Some(next) = self.next.pop() {
            return next;
        }
        let (path, accept) = (request.uri().path().to_owned(), header("accept"));
        let parts: Vec<&str> = path.split('/').collect();
        match (parts.as_slice(), request.uri().query()) {
            (["", "api", "v1", "namespaces", namespace, "secrets", name], None) => {
                if accept != ("application/json".to_owned(), false) {
                    return self.complain(format!("{asked} accepts {accept:?}"));
                }
                self.get(namespace, name)
            }
            (["", "api", "v1", "namespaces", namespace, "secrets"], Some(query)) => {
                if accept != (WATCH.to_owned(), false) {
                    return self.complain(format!("{asked} accepts {accept:?}"));
                }
                self.watch(namespace, query)
            }
            _ => self.complain(format!("{asked} is not known")),
        }
    }

    fn get(&mut self, namespace: &str, name: &str) -> Response<Body> {
        if !self.rights.contains(&format!("get {namespace}/{name}")) {
            let why =
                format!("secrets \"{name}\" is forbidden: User \"system:serviceaccount:avouch:helper\" cannot get");
            return status(403, "Forbidden", &why);
        }
        let Some((version, data)) = self.secrets.get(&(namespace.to_owned(), name.to_owned())) else {
            return status(404, "NotFound", &format!("secrets \"{name}\" not found"));
        };
        let mut secret = partial((namespace, name), *version);
        secret["kind"] = json!("Secret");
        secret["apiVersion"] = json!("v1");
        secret["type"] = json!("Opaque");
        secret["data"] = json!(data);
        reply(200, secret.to_string())
    }

    fn watch(&mut self, namespace: &str, query: &str) -> Response<Body> {
        let mut asked: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let name = asked.remove("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name%3D"));
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let since = number(asked.remove("resourceVersion"));
        let seconds = number(asked.remove("timeoutSeconds"));
        let rest = BTreeMap::from([("watch", "1"), ("allowWatchBookmarks", "true")]);
        let (Some(name), Some(since), Some(1..=300), true) = (name, since, seconds, asked == rest) else {
            return self.complain(format!("the watch asks {query}"));
        };
        if !self.rights.contains(&format!("watch {namespace}/{name}")) {
            return status(403, "Forbidden", "secrets is forbidden");
        }
        let (to, mut from) = mpsc::unbounded_channel::<String>();
        if since < self.oldest {
            let why = format!("too old resource version: {since} ({})", self.oldest);
            if self.gone_at_once {
                return status(410, "Expired", &why);
            }
            let _ = to.send(event("ERROR", &status_object(410, "Expired", &why)));
        } else {
            let secret = (namespace.to_owned(), name.to_owned());
            for (version, _, kind) in self.events.iter().filter(|(at, of, _)| *at > since && *of == secret) {
                let _ = to.send(event(kind, &partial((namespace, name), *version)));
            }
            self.watchers.push((secret, to));
        }
        let lines = futures_util::stream::poll_fn(move |context| {
            from.poll_recv(context).map(|line| Some(Ok(Frame::data(Bytes::from(line?)))))
        });
        let answer = Response::builder().header("content-type", "application/json");
        answer.body(StreamBody::new(lines).boxed_unsync()).unwrap()
    }
}

fn partial((namespace, name): (&str, &str), version: u64) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"namespace": namespace, "name": name, "uid": "0b9f", "resourceVersion": version.to_string()},
    })
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn status_object(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
           "reason": reason, "code": code})
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    reply(code, status_object(code, reason, message).to_string())
}

pub(super) fn reply(code: u16, body: String) -> Response<Body> {
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.body(Full::from(body).boxed_unsync()).unwrap()
}

/// A CA certificate, and TLS for 127.0.0.1 under it.
fn authority() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (ca, TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>, stalled: watch::Receiver<bool>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, state, stalled) = (tls.clone(), Arc::clone(&state), stalled.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let answer = hyper::service::service_fn(move |request| {
                let (state, mut stalled) = (Arc::clone(&state), stalled.clone());
                async move {
                    stalled.wait_for(|stalled| !stalled).await.ok();
                    Ok::<_, Infallible>(state.lock().unwrap().answer(&request))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
