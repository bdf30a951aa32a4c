//! An AWS account with Secrets Manager and a small STS of our own: over TLS, with signatures, trust policies and
//! permissions that are really checked, and errors written as AWS writes them. Secrets lie in moto.

mod http;
mod metadata;
mod policy;
mod signature;
mod sts;

use super::Moto;
use http::{Answer, Asked};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use sts::{IdentityProvider, Keys, ProviderKeys, SessionOf};

/// The account's number.
pub const ACCOUNT: &str = "123456789012";
/// Its region.
pub const REGION: &str = "eu-west-1";

/// An account; it ends when it is dropped.
pub struct Aws {
    /// Where its secrets lie.
    pub moto: Moto,
    folder: tempfile::TempDir,
    account: Arc<Account>,
    port: u16,
}

/// What all connections share.
struct Account {
    state: Mutex<State>,
    stalled: Mutex<bool>,
    going_on: Condvar,
    over: AtomicBool,
}

#[derive(Default)]
struct State {
    /// By what stands in the names of conditions: the issuer's URL without its scheme.
    providers: BTreeMap<String, IdentityProvider>,
    roles: BTreeMap<String, Role>,
    keys: HashMap<String, Known>,
    sessions: Vec<SessionOf>,
    /// Given once each, instead of what Secrets Manager would say.
    instead: VecDeque<(u16, String)>,
    asked: Vec<String>,
    made: u64,
}

struct Role {
    trust: Value,
    permissions: Value,
}

/// Keys that the account knows.
struct Known {
    secret: String,
    token: Option<String>,
    ends: Option<SystemTime>,
    user: String,
    /// Each has to allow it.
    policies: Vec<Value>,
}

impl Aws {
    /// Starts one, without roles.
    pub fn start() -> io::Result<Self> {
        let (moto, folder) = (Moto::start()?, tempfile::tempdir()?);
        let (ca, config) = tls();
        std::fs::write(folder.path().join("ca.pem"), ca)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let account = Arc::new(Account {
            state: Mutex::default(),
            stalled: Mutex::default(),
            going_on: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let made = Self { moto, folder, account, port };
        let (account, behind) = (Arc::clone(&made.account), made.moto.door());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if account.over.load(Ordering::SeqCst) {
                    return;
                }
                let (account, config, behind) = (Arc::clone(&account), Arc::clone(&config), behind.clone());
                std::thread::spawn(move || {
                    http::serve(stream, config, |asked| {
                        account.wait();
                        account.answer(asked, &behind)
                    })
                });
            }
        });
        Ok(made)
    }

    /// Where it is, for STS and Secrets Manager alike.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate of its authority, PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// An OpenID provider whose tokens are believed, as `aws iam create-open-id-connect-provider` makes one.
    pub fn trust(&self, provider: IdentityProvider) {
        self.lock().providers.insert(provider.name(), provider);
    }

    /// A role with its trust policy and its permissions; its ARN.
    pub fn role(&self, name: &str, trust: &Value, permissions: &Value) -> String {
        let arn = format!("arn:aws:iam::{ACCOUNT}:role/{name}");
        let role = Role { trust: trust.clone(), permissions: permissions.clone() };
        self.lock().roles.insert(arn.clone(), role);
        arn
    }

    /// Keys of a user, which do not end.
    pub fn user(&self, name: &str, permissions: &Value) -> Keys {
        let mut state = self.lock();
        state.made += 1;
        let keys =
            Keys { id: format!("AKIA{:016}", state.made), secret: format!("sEcReT/{:033}", state.made), token: None };
        let known = Known {
            secret: keys.secret.clone(),
            token: None,
            ends: None,
            user: format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
            policies: vec![permissions.clone()],
        };
        state.keys.insert(keys.id.clone(), known);
        keys
    }

    /// The sessions that STS made.
    pub fn sessions(&self) -> Vec<SessionOf> {
        self.lock().sessions.clone()
    }

    /// How many sessions could do this with a secret.
    pub fn allowed(&self, action: &str) -> usize {
        let arn = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:ci/github-a1B2c3");
        let state = self.lock();
        let mut sessions: Vec<_> = state.keys.values().filter(|known| known.token.is_some()).collect();
        sessions.retain(|known| known.policies.iter().all(|policy| policy::allows(policy, action, &arn)));
        sessions.len()
    }

    /// A metadata service of a machine whose role has these keys: of version 2, or of version 1 alone. It answers until
    /// the test ends.
    pub fn metadata(&self, keys: &Keys, version_two: bool) -> io::Result<String> {
        let token = format!("token/of+{}", keys.id);
        if let Some(known) = self.lock().keys.get_mut(&keys.id) {
            known.token = Some(token.clone());
        }
        metadata::serve(Keys { token: Some(token), ..keys.clone() }, version_two)
    }

    /// What was asked for, in order: `sts.ACTION` and `secretsmanager.ACTION`.
    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    /// Shows STS a token for a role; AWS's code, if it is refused.
    pub fn assume(&self, role: &str, token: &str) -> Result<(), String> {
        sts::assume(&self.account, &sts::Assumed { role, token, ..sts::Assumed::default() })
            .map(drop)
            .map_err(|(_, code, _)| code.to_owned())
    }

    /// Ends all sessions now, as the account's operator can.
    pub fn end_sessions(&self) {
        for known in self.lock().keys.values_mut().filter(|known| known.token.is_some()) {
            known.ends = Some(SystemTime::UNIX_EPOCH);
        }
    }

    /// What Secrets Manager says once, instead of what it would. A code is put in the form of its errors.
    pub fn instead(&self, status: u16, code: &str) {
        let body = if code.starts_with(|c: char| c.is_ascii_uppercase()) {
            error(code, "no").to_string()
        } else {
            code.to_owned()
        };
        self.lock().instead.push_back((status, body));
    }

    /// Stops it from answering, until [`Self::go_on`].
    pub fn stall(&self) {
        *self.account.stalled.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// It answers again.
    pub fn go_on(&self) {
        *self.account.stalled.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.account.going_on.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.account.lock()
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.account.over.store(true, Ordering::SeqCst);
        self.go_on();
        std::net::TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

impl Account {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        while *stalled {
            stalled = self.going_on.wait(stalled).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn answer(&self, asked: &Asked, behind: &super::moto::Door) -> Answer {
        if asked.method != "POST" || asked.path != "/" {
            return Answer::json(404, &error("UnknownOperationException", "no such thing"));
        }
        match asked.header("x-amz-target") {
            Some(target) => self.secrets(asked, target, behind),
            None => {
                self.lock().asked.push("sts.AssumeRoleWithWebIdentity".to_owned());
                sts::answer(self, asked)
            }
        }
    }

    fn secrets(&self, asked: &Asked, target: &str, behind: &super::moto::Door) -> Answer {
        let mut state = self.lock();
        state.asked.push(target.to_owned());
        let action = target.replacen('.', ":", 1);
        let id =
            match signature::verify(asked, REGION, "secretsmanager", |id| state.keys.get(id).map(|k| k.secret.clone()))
            {
                Ok(id) => id,
                Err(code) => return Answer::json(400, &error(code, "the signature is not good")),
            };
        let Some(known) = state.keys.get(&id) else {
            return Answer::json(400, &error("UnrecognizedClientException", "The security token is invalid."));
        };
        if asked.header("x-amz-security-token") != known.token.as_deref() {
            return Answer::json(400, &error("UnrecognizedClientException", "The security token is invalid."));
        }
        if known.ends.is_some_and(|ends| ends <= SystemTime::now()) {
            return Answer::json(400, &error("ExpiredTokenException", "The security token is expired."));
        }
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let secret = body["SecretId"].as_str().unwrap_or_default();
        let arn = match secret.starts_with("arn:") {
            true => secret.to_owned(),
            false => format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{secret}-a1B2c3"),
        };
        if !known.policies.iter().all(|policy| policy::allows(policy, &action, &arn)) {
            let why = format!("User: {} is not authorized to perform: {action} on resource: {secret}", known.user);
            return Answer::json(400, &error("AccessDeniedException", &why));
        }
        if let Some((status, body)) = state.instead.pop_front() {
            return Answer { status, kind: "application/x-amz-json-1.1", body: body.into_bytes() };
        }
        drop(state);
        match behind.forward(target, &asked.body) {
            Ok((status, body)) => Answer { status, kind: "application/x-amz-json-1.1", body },
            Err(failed) => Answer::json(500, &error("InternalServiceError", &failed.to_string())),
        }
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({"__type": code, "Message": message})
}

/// A CA certificate, PEM, and TLS for 127.0.0.1 under it.
fn tls() -> (String, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let ca = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().expect("a key");
    let names = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = names.signed_by(&own, &issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate with its key");
    (ca, Arc::new(config))
}

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
