//! What would open the way to a target for an agent that no lock stops: a grant, a fact about its session, or a binding
//! that is as narrow as the request.

use super::{Change, NearMiss};
use crate::binding::{Binding, BindingSpec, Mismatch, PathPattern, Plain, SlotSpec};
use crate::decide::Caller;
use crate::origin::{Host, Scheme};
use crate::request::CanonicalRequest;
use crate::state::{Credential, StateParts};
use avouch_words::{Name, Reference};
use std::collections::BTreeSet;

/// Credentials of the same origin that do not go with the request as things are.
pub(super) fn misses(parts: &StateParts, caller: &Caller, request: &CanonicalRequest) -> Vec<NearMiss> {
    let granted: BTreeSet<&Name> = parts.grants.iter().map(|grant| &grant.credential).collect();
    let here = parts.credentials.iter().filter(|credential| credential.binding.origin() == request.origin());
    let mut misses: Vec<NearMiss> = here
        .map(|credential| NearMiss {
            credential: credential.name.clone(),
            granted: granted.contains(&credential.name),
            mismatch: fit(credential, caller, request).err(),
            binding: credential.binding.clone(),
        })
        .filter(|miss| !miss.granted || miss.mismatch.is_some())
        .collect();
    // None stands for no mismatch at all, which is nearer than any.
    let far = |miss: &NearMiss| miss.mismatch.map_or(0, |mismatch| u8::MAX - mismatch as u8);
    misses.sort_by(|a, b| (!a.granted, far(a), &a.credential).cmp(&(!b.granted, far(b), &b.credential)));
    misses
}

/// The next change, if any is known.
pub(super) fn open(
    parts: &StateParts,
    caller: &Caller,
    request: &CanonicalRequest,
    taken: &BTreeSet<Name>,
) -> Option<Change> {
    let misses = misses(parts, caller, request);
    let fact = |miss: &&NearMiss| miss.granted && miss.mismatch == Some(Mismatch::Requires);
    if let Some(miss) = misses.iter().find(fact) {
        let missing = miss.binding.requires().find(|fact| !caller.facts.contains(*fact));
        return missing.cloned().map(Change::Require);
    }
    let ready = |miss: &&NearMiss| !miss.granted && matches!(miss.mismatch, None | Some(Mismatch::Requires));
    if let Some(miss) = misses.iter().find(ready) {
        return Some(Change::Grant(miss.credential.clone()));
    }
    // A second credential for the same path and method would be in the way of the first where this one goes already.
    let wider = |miss: &&NearMiss| miss.granted && miss.mismatch == Some(Mismatch::Query);
    if let Some(miss) = misses.iter().find(wider) {
        let mut spec = miss.binding.spec();
        spec.query.extend(request.query().map(|pair| pair.key.to_owned()));
        return Some(Change::Widen { credential: miss.credential.clone(), binding: spec.check().ok()? });
    }
    let (base, spec) = match misses.first() {
        Some(miss) => (miss.credential.to_string(), miss.binding.spec()),
        None => (label(request.origin().host()), fresh(request)?),
    };
    let binding = narrow(spec, request)?;
    Some(Change::Bind { credential: unused(&base, taken)?, binding })
}

/// A new binding to all of a target of which nothing is known yet but its name.
pub(super) fn whole(change: Change) -> Change {
    let Change::Bind { credential, binding } = change else { return change };
    let spec = BindingSpec { paths: vec![ALL.to_owned()], ..binding.spec() };
    let binding = spec.check().unwrap_or(binding);
    Change::Bind { credential, binding }
}

/// Puts a credential into a copy of the state.
pub(super) fn put(credentials: &mut Vec<Credential>, name: &Name, binding: &Binding) {
    match credentials.iter_mut().find(|credential| credential.name == *name) {
        Some(credential) => credential.binding = binding.clone(),
        None => credentials.push(Credential {
            name: name.clone(),
            source: name.clone(),
            reference: Reference::default(),
            binding: binding.clone(),
        }),
    }
}

fn fit(credential: &Credential, caller: &Caller, request: &CanonicalRequest) -> Result<(), Mismatch> {
    credential.binding.admits(request).and_then(|()| credential.binding.accepts(&caller.facts))
}

/// Bound as the other is, but to this request alone; no variable leads to it.
fn narrow(spec: BindingSpec, request: &CanonicalRequest) -> Option<Binding> {
    let keys: BTreeSet<String> = request.query().map(|pair| pair.key.to_owned()).collect();
    // A star in a path is rare, and can only be bound as any one segment.
    let segments = request.path().split('/').map(|segment| if segment.contains('*') { "*" } else { segment });
    let path = segments.collect::<Vec<_>>().join("/");
    PathPattern::parse(&path).ok()?;
    let spec = BindingSpec {
        methods: vec![request.method().to_string()],
        paths: vec![path],
        query: keys.into_iter().collect(),
        environment: None,
        ..spec
    };
    let literal = request.origin().host().ip();
    let named = || BindingSpec { address: literal.map(|ip| ip.to_string()), ..spec.clone() };
    // An address that is private has to be named once more.
    spec.check().or_else(|_| named().check()).ok()
}

/// Bound to the request's target; none where a credential would go over the network in plain text.
fn fresh(request: &CanonicalRequest) -> Option<BindingSpec> {
    let (scheme, host) = (request.origin().scheme(), request.origin().host());
    if scheme == Scheme::Http && host.ip().is_none() && host.as_str() != LOCAL {
        return None;
    }
    Some(BindingSpec {
        to: request.origin().to_string(),
        methods: Vec::new(),
        paths: Vec::new(),
        query: Vec::new(),
        slot: SlotSpec::Bearer,
        plain: (scheme == Scheme::Http).then_some(Plain::Loopback),
        address: None,
        ca: None,
        environment: None,
        requires: Vec::new(),
        placeholder_in_body: None,
        reveal: false,
        rotate: None,
    })
}

/// What people call a host: `github` of `api.github.com`.
fn label(host: &Host) -> String {
    if host.ip().is_some() {
        return ANY.to_owned();
    }
    let labels: Vec<&str> = host.as_str().split('.').collect();
    let label = labels[labels.len().saturating_sub(2)];
    Name::parse(label).map_or_else(|_| ANY.to_owned(), |name| name.to_string())
}

/// The name itself, or with the first number behind it that no credential has.
fn unused(base: &str, taken: &BTreeSet<Name>) -> Option<Name> {
    let numbered = (2..=taken.len() + 2).map(|number| {
        let end = format!("-{number}");
        format!("{}{end}", &base[..base.len().min(Name::MAX - end.len())])
    });
    let names = [base.to_owned()].into_iter().chain(numbered).filter_map(|text| Name::parse(&text).ok());
    names.into_iter().find(|name| !taken.contains(name))
}

/// The one name that leads to this machine by itself.
const LOCAL: &str = "localhost";
/// Every path.
const ALL: &str = "/**";
/// The name of a credential for a host that is only an address.
const ANY: &str = "tool";
