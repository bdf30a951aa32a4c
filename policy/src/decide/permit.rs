//! What a decision makes and the dangerous calls take: leasing, injecting and sending.

use super::{Caller, permitted::Candidate};
use crate::binding::{Binding, RotateSpec, Slot};
use crate::origin::{Host, Scheme};
use crate::request::CanonicalRequest;
use avouch_words::{Digest, Name, Reference, Ulid};
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Leave to fill these slots of this request and send it. Only the decision makes one, and it can be had neither
/// twice nor for another request.
#[derive(Debug)]
pub struct Permit {
    decision: Ulid,
    version: u64,
    caller: Caller,
    request: CanonicalRequest,
    fills: Vec<Fill>,
    dial: Dial,
    ca: Option<Vec<CertificateDer<'static>>>,
    pool: Digest,
    searches_body: bool,
}

/// One slot and the credential that fills it.
#[derive(Debug)]
pub struct Fill {
    credential: Name,
    source: Name,
    reference: Reference,
    slot: Slot,
    binding: Digest,
    grants: Vec<Ulid>,
    rotate: Option<RotateSpec>,
}

/// What is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dial {
    /// The address that the binding names, or that the host is. It was judged when the binding was checked.
    Address(SocketAddr),
    /// The host is looked up; every address has to pass [`crate::address::judge`], and one that did is dialled.
    Resolve {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
        /// Plain HTTP: loopback addresses only.
        plain_loopback: bool,
    },
}

/// Leave to pass a request on, or tunnel to its origin, without any credential, if the setting says so.
#[derive(Debug)]
pub struct Passage {
    decision: Ulid,
    version: u64,
    caller: Caller,
    request: CanonicalRequest,
}

/// Why the candidates cannot all be filled.
pub(super) enum Conflict {
    Slot { header: String, credentials: Vec<Name> },
    Route { credentials: Vec<Name> },
}

impl Permit {
    /// Every slot gets its one credential, and all of them one route. `candidates` are not empty.
    pub(super) fn new(
        decision: Ulid,
        version: u64,
        caller: Caller,
        request: CanonicalRequest,
        candidates: &[Candidate<'_>],
    ) -> Result<Self, Conflict> {
        let mut slots: BTreeMap<&str, Vec<Name>> = BTreeMap::new();
        for Candidate { credential, .. } in candidates {
            slots.entry(credential.binding.slot().header()).or_default().push(credential.name.clone());
        }
        if let Some((header, credentials)) = slots.into_iter().find(|(_, credentials)| credentials.len() > 1) {
            return Err(Conflict::Slot { header: header.to_owned(), credentials });
        }
        let mut bindings = candidates.iter().map(|candidate| &candidate.credential.binding);
        let first = bindings.next().map(route);
        let Some((dial, ca)) = first.filter(|first| bindings.all(|other| route(other) == *first)) else {
            let credentials = candidates.iter().map(|candidate| candidate.credential.name.clone()).collect();
            return Err(Conflict::Route { credentials });
        };
        let ca = ca.map(<[_]>::to_vec);
        let fills: Vec<_> = candidates.iter().map(Fill::new).collect();
        let pool = pool(&fills);
        let searches_body = candidates.iter().any(|candidate| candidate.credential.binding.searches_bodies());
        Ok(Self { decision, version, caller, request, fills, dial, ca, pool, searches_body })
    }

    /// The decision's id.
    pub fn decision(&self) -> Ulid {
        self.decision
    }

    /// The version of the state it was made on.
    pub fn policy_version(&self) -> u64 {
        self.version
    }

    /// Who asked.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The request that was judged, and that is to be sent.
    pub fn request(&self) -> &CanonicalRequest {
        &self.request
    }

    /// What is filled, by credential name; never empty.
    pub fn fills(&self) -> &[Fill] {
        &self.fills
    }

    /// What is dialled.
    pub fn dial(&self) -> &Dial {
        &self.dial
    }

    /// The roots trusted instead of the system's.
    pub fn ca(&self) -> Option<&[CertificateDer<'static>]> {
        self.ca.as_deref()
    }

    /// Whether the body may not hold a placeholder: so unless every binding says that there it is data.
    pub fn searches_body(&self) -> bool {
        self.searches_body
    }

    /// Equal for permits whose requests may share an upstream connection within one session: the same bindings of
    /// the same credentials, from the same places (rule B10).
    pub fn pool_key(&self) -> Digest {
        self.pool
    }
}

impl Fill {
    pub(super) fn new(candidate: &Candidate<'_>) -> Self {
        let credential = candidate.credential;
        Self {
            credential: credential.name.clone(),
            source: credential.source.clone(),
            reference: credential.reference.clone(),
            slot: credential.binding.slot().clone(),
            binding: credential.binding.digest(),
            grants: candidate.grants.clone(),
            rotate: credential.binding.rotate(),
        }
    }

    /// The credential.
    pub fn credential(&self) -> &Name {
        &self.credential
    }

    /// The source that holds its value.
    pub fn source(&self) -> &Name {
        &self.source
    }

    /// Where in the source it lies.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Where the value goes.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// The digest of the binding that was judged; the source gives no value that was put under another.
    pub fn binding(&self) -> Digest {
        self.binding
    }

    /// When its value is replaced although it is still good.
    pub fn rotate(&self) -> Option<RotateSpec> {
        self.rotate
    }

    /// The grants that permit it, by id; never empty.
    pub fn grants(&self) -> &[Ulid] {
        &self.grants
    }
}

impl Passage {
    pub(super) fn new(decision: Ulid, version: u64, caller: Caller, request: CanonicalRequest) -> Self {
        Self { decision, version, caller, request }
    }

    /// The decision's id.
    pub fn decision(&self) -> Ulid {
        self.decision
    }

    /// The version of the state it was made on.
    pub fn policy_version(&self) -> u64 {
        self.version
    }

    /// Who asked.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The request that was judged, and that is to be sent.
    pub fn request(&self) -> &CanonicalRequest {
        &self.request
    }
}

fn route(binding: &Binding) -> (Dial, Option<&[CertificateDer<'static>]>) {
    (dial(binding), binding.ca())
}

fn dial(binding: &Binding) -> Dial {
    let origin = binding.origin();
    if let Some(address) = binding.address() {
        return Dial::Address(SocketAddr::new(address.ip, address.port.unwrap_or(origin.port())));
    }
    match origin.host().ip() {
        Some(ip) => Dial::Address(SocketAddr::new(ip, origin.port())),
        None => Dial::Resolve {
            host: origin.host().clone(),
            port: origin.port(),
            plain_loopback: origin.scheme() == Scheme::Http,
        },
    }
}

/// Names hold no NUL, so the parts cannot run into each other.
fn pool(fills: &[Fill]) -> Digest {
    let mut bytes = Vec::new();
    for fill in fills {
        bytes.extend_from_slice(fill.credential.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(fill.source.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(fill.reference.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(fill.binding.as_bytes());
    }
    Digest::of(&[&bytes])
}
