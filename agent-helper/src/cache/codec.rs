//! What is kept, as bytes: lengths before contents, nothing optional, and nothing left over at the end.

use crate::identity::instance::{Process, Running};
use crate::identity::{HeldSvid, IdentityKey};
use avouch_words::{Name, Secret, Ulid};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use zeroize::Zeroizing;

/// An identity as it was kept: nothing of it has been checked.
pub struct KeptIdentity {
    /// Whose, and who was served it.
    pub running: Running,
    /// DER, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8 DER.
    pub key: Secret,
}

/// How old the state is, on the boot clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAge {
    /// Of the database.
    pub epoch: Vec<u8>,
    /// Least difference seen between boot time and the database's.
    pub anchor_ms: i64,
    /// Boot time of the newest reading of the database.
    pub confirmed_ms: i64,
}

impl KeptAge {
    /// As it is written.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.epoch.len() + 20);
        bytes.extend(self.anchor_ms.to_be_bytes());
        bytes.extend(self.confirmed_ms.to_be_bytes());
        put(&mut bytes, &self.epoch);
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let (anchor_ms, confirmed_ms) = (i64::from_be_bytes(rest.array()?), i64::from_be_bytes(rest.array()?));
        let epoch = rest.bytes()?.to_vec();
        rest.ends().then_some(Self { epoch, anchor_ms, confirmed_ms })
    }
}

/// All of them, in a buffer of its final size.
pub(super) fn identities(kept: &[(Running, Arc<HeldSvid>)]) -> Zeroizing<Vec<u8>> {
    let size = |(running, held): &(Running, Arc<HeldSvid>)| {
        let chain: usize = held.svid().chain().iter().map(|der| der.len() + 4).sum();
        running.whose.agent.as_str().len() + running.processes.len() * 12 + chain + held.key().len() + FIXED
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + kept.iter().map(size).sum::<usize>()));
    count(&mut bytes, kept.len());
    for (running, held) in kept {
        put(&mut bytes, running.whose.agent.as_str().as_bytes());
        put(&mut bytes, running.whose.instance.to_string().as_bytes());
        bytes.extend(running.uid.to_be_bytes());
        count(&mut bytes, running.processes.len());
        for process in &running.processes {
            bytes.extend(process.pid.to_be_bytes());
            bytes.extend(process.start_time.to_be_bytes());
        }
        count(&mut bytes, held.svid().chain().len());
        held.svid().chain().iter().for_each(|der| put(&mut bytes, der));
        put(&mut bytes, held.key().expose());
    }
    bytes
}

/// What [`identities`] wrote.
pub(super) fn read_identities(bytes: &[u8]) -> Option<Vec<KeptIdentity>> {
    let mut rest = Rest(bytes);
    let mut kept = Vec::new();
    for _ in 0..rest.count()? {
        let agent = Name::parse(rest.text()?).ok()?;
        let instance = Ulid::parse(rest.text()?).ok()?;
        let uid = u32::from_be_bytes(rest.array()?);
        let process = |rest: &mut Rest<'_>| {
            let (pid, start_time) = (i32::from_be_bytes(rest.array()?), u64::from_be_bytes(rest.array()?));
            Some(Process { pid, start_time })
        };
        let processes = (0..rest.count()?).map(|_| process(&mut rest)).collect::<Option<_>>()?;
        let der = |rest: &mut Rest<'_>| Some(CertificateDer::from(rest.bytes()?.to_vec()));
        let chain = (0..rest.count()?).map(|_| der(&mut rest)).collect::<Option<_>>()?;
        let key = Secret::new(rest.bytes()?.to_vec());
        let whose = IdentityKey { agent, instance };
        kept.push(KeptIdentity { running: Running { whose, uid, processes }, chain, key });
    }
    rest.ends().then_some(kept)
}

fn count(into: &mut Vec<u8>, count: usize) {
    into.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn put(into: &mut Vec<u8>, bytes: &[u8]) {
    count(into, bytes.len());
    into.extend_from_slice(bytes);
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn ends(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes of an identity besides what varies.
const FIXED: usize = 64;
