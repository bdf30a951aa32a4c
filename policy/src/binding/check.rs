//! From what was written to what may match. All faults are found at once.

use super::*;
use crate::address::{AddressRefused, judge};
use crate::origin::Scheme;
use rustls_pki_types::pem::PemObject;
use std::net::SocketAddr;

impl BindingSpec {
    /// Checks everything that can be known without a network. A binding that could never match a request is
    /// refused as well as one that must never be.
    pub fn check(&self) -> Result<Binding, BadBinding> {
        let mut faults = Vec::new();
        let origin = keep(&mut faults, Origin::parse(&self.to).map_err(BindingFault::To));
        let methods = self.check_methods(&mut faults);
        let paths = self.check_paths(&mut faults);
        let query = self.check_query(&mut faults);
        let slot = keep(&mut faults, self.slot.check().map_err(BindingFault::Slot));
        let address = self.check_address(&mut faults);
        let ca_der = self.check_ca(&mut faults);
        let environment = self.environment.as_ref().map(EnvironmentSpec::check).transpose();
        let environment = keep(&mut faults, environment.map_err(BindingFault::Environment)).flatten();
        let requires = self.check_requires(&mut faults);
        if self.rotate.is_some_and(|rotate| rotate.is_never()) {
            faults.push(BindingFault::Rotate);
        }
        if let Some(origin) = &origin {
            self.check_reach(origin, address, &mut faults);
        }
        let (Some(origin), Some(slot), true) = (origin, slot, faults.is_empty()) else {
            return Err(BadBinding::Faults(faults));
        };
        let mut binding = Binding {
            origin,
            methods,
            paths,
            query,
            slot,
            plain: self.plain,
            address,
            ca: self.ca.clone(),
            ca_der,
            environment,
            requires,
            placeholder_in_body: self.placeholder_in_body,
            reveal: self.reveal,
            rotate: self.rotate,
            canonical: Vec::new(),
            digest: Digest::of(&[]),
        };
        binding.canonical =
            serde_json_canonicalizer::to_vec(&binding.spec()).map_err(|e| BadBinding::Json(e.to_string()))?;
        if binding.canonical.len() > MAX_BINDING {
            return Err(BadBinding::TooLong);
        }
        binding.digest = Digest::of(&[&binding.canonical]);
        Ok(binding)
    }

    fn check_methods(&self, faults: &mut Vec<BindingFault>) -> BTreeSet<Method> {
        match self.methods.len() {
            0 => faults.push(BindingFault::NoMethods),
            1..=MAX_METHODS => {}
            _ => {
                faults.push(BindingFault::TooManyMethods);
                return BTreeSet::new();
            }
        }
        let parse = |method: &String| {
            Method::parse(method.as_bytes()).map_err(|fault| BindingFault::Method { method: method.clone(), fault })
        };
        self.methods.iter().filter_map(|method| keep(faults, parse(method))).collect()
    }

    fn check_paths(&self, faults: &mut Vec<BindingFault>) -> Vec<PathPattern> {
        match self.paths.len() {
            0 => faults.push(BindingFault::NoPaths),
            1..=MAX_PATHS => {}
            _ => {
                faults.push(BindingFault::TooManyPaths);
                return Vec::new();
            }
        }
        let parse =
            |path: &String| PathPattern::parse(path).map_err(|fault| BindingFault::Path { path: path.clone(), fault });
        let paths: BTreeSet<_> = self.paths.iter().filter_map(|path| keep(faults, parse(path))).collect();
        paths.into_iter().collect()
    }

    fn check_query(&self, faults: &mut Vec<BindingFault>) -> BTreeSet<String> {
        if self.query.len() > MAX_QUERY_KEYS || self.query.iter().any(|key| key.len() > MAX_QUERY_KEY) {
            faults.push(BindingFault::QueryLimits);
            return BTreeSet::new();
        }
        for key in &self.query {
            let checked = crate::request::check_query_key(key);
            keep(faults, checked.map_err(|fault| BindingFault::QueryKey { key: key.clone(), fault }));
        }
        self.query.iter().cloned().collect()
    }

    fn check_address(&self, faults: &mut Vec<BindingFault>) -> Option<BoundAddress> {
        let text = self.address.as_ref()?;
        let address = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
            (Ok(ip), _) => Some(BoundAddress { ip, port: None }),
            (_, Ok(socket)) if socket.port() != 0 => Some(BoundAddress { ip: socket.ip(), port: Some(socket.port()) }),
            _ => None,
        };
        // One spelling (also no zone, no leading zeros), so that the digest is of what was meant.
        let address = address.filter(|address| address.to_string() == *text);
        keep(faults, address.ok_or_else(|| BindingFault::Address(text.clone())))
    }

    fn check_ca(&self, faults: &mut Vec<BindingFault>) -> Vec<CertificateDer<'static>> {
        let Some(pem) = &self.ca else {
            return Vec::new();
        };
        if pem.contains("PRIVATE KEY") {
            faults.push(BindingFault::CaPrivateKey);
            return Vec::new();
        }
        let certificates: Result<Vec<_>, _> = match pem.len() {
            0..=MAX_CA => CertificateDer::pem_slice_iter(pem.as_bytes()).take(MAX_CA_CERTIFICATES + 1).collect(),
            _ => Ok(Vec::new()),
        };
        let certificates = certificates.ok().filter(|held| (1..=MAX_CA_CERTIFICATES).contains(&held.len()));
        let fits = certificates.filter(|held| held.iter().all(|der| webpki::anchor_from_trusted_cert(der).is_ok()));
        keep(faults, fits.ok_or(BindingFault::Ca)).unwrap_or_default()
    }

    fn check_requires(&self, faults: &mut Vec<BindingFault>) -> BTreeSet<Selector> {
        if self.requires.len() > MAX_REQUIRES {
            faults.push(BindingFault::TooManyRequires);
            return BTreeSet::new();
        }
        let parse = |fact: &String| Selector::parse(fact).map_err(|_| BindingFault::Requires(fact.clone()));
        self.requires.iter().filter_map(|fact| keep(faults, parse(fact))).collect()
    }

    /// Scheme, `plain`, host and `address` have to agree on an address that is dialled.
    fn check_reach(&self, origin: &Origin, address: Option<BoundAddress>, faults: &mut Vec<BindingFault>) {
        let plain = match (origin.scheme(), self.plain) {
            (Scheme::Http, None) => return faults.push(BindingFault::PlainMissing),
            (Scheme::Http, Some(Plain::Loopback)) => true,
            (Scheme::Https, Some(Plain::Loopback)) => return faults.push(BindingFault::PlainWithTls),
            (Scheme::Https, None) => false,
        };
        if plain && self.ca.is_some() {
            faults.push(BindingFault::CaWithPlain);
        }
        let literal = origin.host().ip();
        if let (Some(ip), Some(address)) = (literal, address)
            && ip != address.ip
        {
            return faults.push(BindingFault::AddressDiffers);
        }
        let permitted = address.map(|address| address.ip);
        let (field, Some(ip)) = (if address.is_some() { "address" } else { "to" }, permitted.or(literal)) else {
            return;
        };
        match judge(ip, permitted, plain) {
            Ok(()) => {}
            Err(AddressRefused::NotLoopback) if field == "to" => {
                faults.push(BindingFault::PlainElsewhere(origin.host().to_string()));
            }
            Err(fault) => faults.push(BindingFault::AddressRefused { field, ip, fault }),
        }
    }
}

impl RotateSpec {
    /// Whether it says nothing, or what cannot be.
    fn is_never(self) -> bool {
        let none = self.every_seconds.is_none() && self.after_uses.is_none();
        none || self.every_seconds == Some(0) || self.after_uses == Some(0)
    }
}

fn keep<T>(faults: &mut Vec<BindingFault>, result: Result<T, BindingFault>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}
