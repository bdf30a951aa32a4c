//! The suite's cases. Each leaves the store as it found it, but for the value, which [`rotated`] changes.

use std::time::Duration;

use avouch_words::Secret;

use super::{Had, Ledger, Store};
use crate::sealed::{VALUE_MAX, VALUE_MIN};
use crate::{Lease, ObligationKind, Part, SourceFault, Wanted};

/// How long the caller waits for a store that does not answer.
const DEADLINE: Duration = Duration::from_millis(300);
/// How long a source may take to see what its store holds now, and to get over a stall.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
/// How many wait for a store that does not answer: none may be kept waiting longer by the others.
const CALLERS: usize = 8;

pub(super) async fn read(store: &dyn Store, owed: &Ledger) -> Result<(), String> {
    let (held, value) = store.held();
    if !(VALUE_MIN..=VALUE_MAX).contains(&value.len()) {
        return Err("the value is outside the lengths that can be injected".to_owned());
    }
    for _ in 0..2 {
        gives(store, owed, &held, &value).await.map_err(|wrong| format!("an honest read {wrong}"))?;
    }
    let name = store.source().name().to_string();
    match name.as_bytes().windows(value.len()).any(|bytes| bytes == value.expose()) {
        true => Err("the source's name shows the value".to_owned()),
        false => Ok(()),
    }
}

pub(super) async fn missing(store: &dyn Store, owed: &Ledger) -> Result<(), String> {
    expect(store, owed, &store.missing(), SourceFault::Missing, "a credential without a value").await
}

pub(super) async fn references(store: &dyn Store, owed: &Ledger) -> Result<(), String> {
    let (held, _) = store.held();
    store.source().check_reference(&held.reference).map_err(|wrong| format!("a good reference: {wrong}"))?;
    for reference in store.unreadable() {
        let what = format!("the reference {reference}");
        if store.source().check_reference(&reference).is_ok() {
            return Err(format!("{what} passes"));
        }
        expect(store, owed, &Wanted { reference, ..held.clone() }, SourceFault::Reference, &what).await?;
    }
    Ok(())
}

/// What was done, or the end of the case.
macro_rules! done {
    ($had:expr) => {
        match $had.await? {
            Had::Done(done) => done,
            Had::Not(reason) => return Ok(Had::Not(reason)),
        }
    };
}

pub(super) async fn other_binding(store: &dyn Store, owed: &Ledger) -> Result<Had<()>, String> {
    let other = done!(store.other_binding());
    expect(store, owed, &other, SourceFault::OtherBinding, "a value put for another binding").await.map(Had::Done)
}

pub(super) async fn denied(store: &dyn Store, owed: &Ledger) -> Result<Had<()>, String> {
    let denied = done!(store.denied());
    expect(store, owed, &denied, SourceFault::Denied, "what the store does not let us read").await?;
    honest(store, owed, "after a denial").await.map(Had::Done)
}

pub(super) async fn garbage(store: &dyn Store, owed: &Ledger) -> Result<Had<()>, String> {
    for (what, wanted) in done!(store.garbage()) {
        expect(store, owed, &wanted, SourceFault::Garbage, what).await?;
    }
    honest(store, owed, "after garbage").await.map(Had::Done)
}

/// What is asked for because the value before was refused is the new one, at once; what is asked for otherwise is it
/// soon, and its version is another.
pub(super) async fn rotated(store: &dyn Store, owed: &Ledger) -> Result<Had<()>, String> {
    let (held, _) = store.held();
    let before = version(store, owed, &held).await?;
    let value = done!(store.rotate());
    let fresh = Wanted { fresh: true, ..held.clone() };
    gives(store, owed, &fresh, &value).await.map_err(|wrong| format!("after a change, a fresh read {wrong}"))?;
    soon(async || gives(store, owed, &held, &value).await.map(drop))
        .await
        .map_err(|wrong| format!("a change: {wrong}"))?;
    let after = version(store, owed, &held).await?;
    match after.is_some() && before == after {
        true => Err("another value has the same version".to_owned()),
        false => Ok(Had::Done(())),
    }
}

pub(super) async fn slow(store: &dyn Store, owed: &Ledger) -> Result<Had<()>, String> {
    let (held, value) = store.held();
    let () = done!(store.stall());
    let waits = async || tokio::time::timeout(DEADLINE, store.source().read(&held, owed)).await;
    let stalled = futures_util::future::join_all((0..CALLERS).map(|_| waits())).await;
    store.go_on().await?;
    if stalled.into_iter().flatten().any(|read| read.is_ok()) {
        return Err("a store that does not answer gave a value".to_owned());
    }
    soon(async || gives(store, owed, &held, &value).await.map(drop))
        .await
        .map_err(|wrong| format!("after a stall: {wrong}"))?;
    Ok(Had::Done(()))
}

pub(super) async fn sealed(store: &dyn Store, owed: &Ledger) -> Result<Had<()>, String> {
    let (held, value) = store.held();
    let () = done!(store.seal());
    let said = expect(store, owed, &held, SourceFault::Sealed, "a sealed store").await;
    store.unseal().await?;
    said?;
    soon(async || gives(store, owed, &held, &value).await.map(drop))
        .await
        .map_err(|wrong| format!("after it was sealed: {wrong}"))?;
    Ok(Had::Done(()))
}

/// An issue is recorded before it is given on, works, is taken back by the node, works no more, and can be taken
/// back again; one that cannot be recorded is not given.
pub(super) async fn revoked(store: &dyn Store, owed: &Ledger) -> Result<Had<()>, String> {
    let (wanted, source) = (done!(store.leased()), store.source());
    let lease = source.read(&wanted, owed).await.map_err(|fault| format!("a lease: {fault}"))?;
    let id = lease.id.clone().ok_or("a lease has no id")?;
    let what = owed.find(&id).ok_or("a lease was given on that is not recorded")?;
    if what.kind != ObligationKind::Lease || what.credential.as_ref() != Some(&wanted.credential) {
        return Err("a lease is recorded as something else".to_owned());
    }
    if let Some(parent) = &what.parent
        && owed.find(parent).is_none_or(|login| login.kind != ObligationKind::Token)
    {
        return Err("a lease hangs on a login that is not recorded".to_owned());
    }
    if !store.works(&lease).await? {
        return Err("a lease opens nothing".to_owned());
    }
    let node = store.node();
    for _ in 0..2 {
        source.revoke(&what, &*node).await.map_err(|fault| format!("giving a lease back: {fault}"))?;
        if store.works(&lease).await? {
            return Err("a lease that was given back still opens what it opened".to_owned());
        }
    }
    owed.refuse(true);
    let refused = source.read(&wanted, owed).await;
    owed.refuse(false);
    match refused {
        Err(SourceFault::NotRecorded) => Ok(Had::Done(())),
        Err(fault) => Err(format!("what cannot be recorded gives the fault '{fault}'")),
        Ok(_) => Err("what could not be recorded was given on".to_owned()),
    }
}

async fn honest(store: &dyn Store, owed: &Ledger, when: &str) -> Result<(), String> {
    let (held, value) = store.held();
    gives(store, owed, &held, &value).await.map(drop).map_err(|wrong| format!("{when} an honest read {wrong}"))
}

async fn gives(store: &dyn Store, owed: &Ledger, wanted: &Wanted, value: &Secret) -> Result<Lease, String> {
    match store.source().read(wanted, owed).await {
        Ok(lease) if lease.part(Part::Value).is_some_and(|read| read.expose() == value.expose()) => Ok(lease),
        Ok(_) => Err("gives another value".to_owned()),
        Err(fault) => Err(format!("fails: {fault}")),
    }
}

async fn version(store: &dyn Store, owed: &Ledger, wanted: &Wanted) -> Result<Option<String>, String> {
    let lease = store.source().read(wanted, owed).await.map_err(|fault| format!("an honest read fails: {fault}"))?;
    Ok(lease.version)
}

/// Tries until it is so, or for as long as a source may take.
async fn soon(so: impl AsyncFn() -> Result<(), String>) -> Result<(), String> {
    let tries = PATIENCE.as_millis() / PAUSE.as_millis();
    let mut last = so().await;
    for _ in 0..tries {
        if last.is_ok() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        last = tokio::time::timeout(PATIENCE, so()).await.unwrap_or_else(|_| Err("does not end".to_owned()));
    }
    last
}

async fn expect(
    store: &dyn Store,
    owed: &Ledger,
    asked: &Wanted,
    wanted: SourceFault,
    what: &str,
) -> Result<(), String> {
    match store.source().read(asked, owed).await {
        Err(fault) if fault == wanted => Ok(()),
        Err(fault) => Err(format!("{what} gives the fault '{fault}' instead of '{wanted}'")),
        Ok(_) => Err(format!("{what} is given out")),
    }
}
