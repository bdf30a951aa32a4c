//! Where a credential may go: the only origin, methods, paths, query keys and slot. A [`BindingSpec`] is what people
//! and files write; a [`Binding`] has been checked and could match a request. Everything outside it is refused.

mod check;
mod environment;
mod fault;
mod pattern;
mod slot;

pub use environment::{BadEnvironment, Environment, EnvironmentSpec};
pub use fault::{BadBinding, BindingFault};
pub use pattern::{BadPattern, PathPattern};
pub use slot::{BadSlot, Slot, SlotSpec};

use crate::origin::Origin;
use crate::request::{CanonicalRequest, Method};
use avouch_words::{Digest, Selector};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// The longest binding, in bytes of JSON.
pub const MAX_BINDING: usize = 128 * 1024;
/// The most methods of one binding.
pub const MAX_METHODS: usize = 16;
/// The most path patterns of one binding.
pub const MAX_PATHS: usize = 64;
/// The most query keys of one binding.
pub const MAX_QUERY_KEYS: usize = 64;
/// The longest query key, in bytes.
pub const MAX_QUERY_KEY: usize = 128;
/// The longest `ca`, in bytes of PEM.
pub const MAX_CA: usize = 64 * 1024;
/// The most certificates in `ca`.
pub const MAX_CA_CERTIFICATES: usize = 16;
/// The most facts that a binding may require.
pub const MAX_REQUIRES: usize = 16;

/// Where nothing goes: what is bound here is for programs that hold the value, and no name below `invalid` is anybody's
/// (RFC 2606 §2).
pub const NOWHERE: &str = "https://nowhere.invalid";

/// A binding as it is written, not yet checked. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingSpec {
    /// The origin, as `https://api.example.test:443`; the port may be left out where it is the scheme's own.
    pub to: String,
    /// Methods in upper case.
    pub methods: Vec<String>,
    /// Path patterns: literal segments, `*` for one segment, `**` at the end for the rest.
    pub paths: Vec<String>,
    /// Query keys a request may carry; none without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
    /// Where in the request the value goes.
    pub slot: SlotSpec,
    /// `loopback` permits plain HTTP to this machine; needed for `http`, senseless for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<Plain>,
    /// `IP` or `IP:port` that is dialled instead of looking the host up, while TLS and `Host` still hold the bound
    /// name: the explicit permission for a private address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// PEM certificates trusted for this binding, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The variable in which a session finds the placeholder, for tools that insist on a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentSpec>,
    /// Facts about the session that all have to be known, as `session:contained:work`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// `data` lets the bodies of requests speak of placeholders: a conversation may, an upload may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder_in_body: Option<PlaceholderInBody>,
    /// A program of the agent's may hold the value itself, with `avouch exec`; without it nothing gives it out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reveal: bool,
    /// When a value is replaced by the next one although it is still good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<RotateSpec>,
}

/// When a value is replaced by the next one although it is still good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateSpec {
    /// After so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<u32>,
    /// After so many uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_uses: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a placeholder is that stands in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceholderInBody {
    /// Plain data: bodies are not searched.
    Data,
}

/// How far plain HTTP may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plain {
    /// To a loopback address only.
    Loopback,
}

/// A checked binding.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    origin: Origin,
    methods: BTreeSet<Method>,
    paths: Vec<PathPattern>,
    query: BTreeSet<String>,
    slot: Slot,
    plain: Option<Plain>,
    address: Option<BoundAddress>,
    ca: Option<String>,
    ca_der: Vec<CertificateDer<'static>>,
    environment: Option<Environment>,
    requires: BTreeSet<Selector>,
    placeholder_in_body: Option<PlaceholderInBody>,
    reveal: bool,
    rotate: Option<RotateSpec>,
    canonical: Vec<u8>,
    digest: Digest,
}

/// What is dialled for a bound host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundAddress {
    /// The one address that is permitted.
    pub ip: IpAddr,
    /// The port, where it differs from the origin's.
    pub port: Option<u16>,
}

/// What of a request a binding does not allow; in this order, so that a later one is the nearer miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    /// Scheme, host or port.
    Origin,
    /// No pattern fits the path.
    Path,
    /// The method is not listed.
    Method,
    /// A query key is not listed.
    Query,
    /// The session lacks a fact that the binding requires.
    Requires,
    /// The credential is filled in another header than the one in which its placeholder stands.
    Slot,
    /// The value is put into requests, and given out to nobody.
    Reveal,
}

impl Mismatch {
    /// A stable word for records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Path => "path",
            Self::Method => "method",
            Self::Query => "query",
            Self::Requires => "requires",
            Self::Slot => "slot",
            Self::Reveal => "reveal",
        }
    }
}

impl Binding {
    /// Reads and checks the JSON of a [`BindingSpec`]; spelling and order of fields do not matter.
    pub fn parse(json: &[u8]) -> Result<Self, BadBinding> {
        if json.len() > MAX_BINDING {
            return Err(BadBinding::TooLong);
        }
        let spec: BindingSpec = serde_json::from_slice(json).map_err(|error| BadBinding::Json(error.to_string()))?;
        spec.check()
    }

    /// Where the credential may go.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where in the request the value goes.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// The methods allowed.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter()
    }

    /// The path patterns.
    pub fn paths(&self) -> &[PathPattern] {
        &self.paths
    }

    /// Whether plain HTTP to loopback is permitted.
    pub fn plain(&self) -> Option<Plain> {
        self.plain
    }

    /// What is dialled instead of looking the host up.
    pub fn address(&self) -> Option<BoundAddress> {
        self.address
    }

    /// The certificates trusted for this binding, if not the system's.
    pub fn ca(&self) -> Option<&[CertificateDer<'static>]> {
        self.ca.is_some().then_some(&self.ca_der)
    }

    /// The variable in which a session finds the placeholder.
    pub fn environment(&self) -> Option<&Environment> {
        self.environment.as_ref()
    }

    /// The facts that a session must have.
    pub fn requires(&self) -> impl Iterator<Item = &Selector> {
        self.requires.iter()
    }

    /// Whether bodies are searched for placeholders before they go.
    pub fn searches_bodies(&self) -> bool {
        self.placeholder_in_body.is_none()
    }

    /// Whether a program of the agent's may hold the value itself.
    pub fn reveals(&self) -> bool {
        self.reveal
    }

    /// When a value is replaced although it is still good.
    pub fn rotate(&self) -> Option<RotateSpec> {
        self.rotate
    }

    /// The canonical JSON (RFC 8785) of the checked binding: what travels, what is stored and what is hashed.
    pub fn canonical_json(&self) -> &[u8] {
        &self.canonical
    }

    /// SHA-256 of [`Self::canonical_json`]. Sealed together with the value, so that a value never goes where it was
    /// not bound when it was put (rule B01).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether the credential may go with this request.
    pub fn admits(&self, request: &CanonicalRequest) -> Result<(), Mismatch> {
        if request.origin() != &self.origin {
            return Err(Mismatch::Origin);
        }
        if !self.paths.iter().any(|pattern| pattern.matches(request.path())) {
            return Err(Mismatch::Path);
        }
        if !self.methods.contains(request.method()) {
            return Err(Mismatch::Method);
        }
        if !request.query().all(|pair| self.query.contains(pair.key)) {
            return Err(Mismatch::Query);
        }
        Ok(())
    }

    /// Whether a session of which these facts are known may use the credential.
    pub fn accepts(&self, facts: &BTreeSet<Selector>) -> Result<(), Mismatch> {
        match self.requires.is_subset(facts) {
            true => Ok(()),
            false => Err(Mismatch::Requires),
        }
    }

    /// The checked binding as it is written.
    pub fn spec(&self) -> BindingSpec {
        BindingSpec {
            to: self.origin.to_string(),
            methods: self.methods.iter().map(ToString::to_string).collect(),
            paths: self.paths.iter().map(ToString::to_string).collect(),
            query: self.query.iter().cloned().collect(),
            slot: self.slot.spec(),
            plain: self.plain,
            address: self.address.map(|address| address.to_string()),
            ca: self.ca.clone(),
            environment: self.environment.as_ref().map(Environment::spec),
            requires: self.requires.iter().map(ToString::to_string).collect(),
            placeholder_in_body: self.placeholder_in_body,
            reveal: self.reveal,
            rotate: self.rotate,
        }
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({} {})", self.origin, self.digest)
    }
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", std::net::SocketAddr::new(self.ip, port)),
            None => write!(f, "{}", self.ip),
        }
    }
}

#[cfg(test)]
mod tests;
