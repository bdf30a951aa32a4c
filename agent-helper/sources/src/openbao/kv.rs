//! The key-value secrets engines.

use serde::Deserialize;
use vaultrs::api::kv1::requests::GetSecretRequest;
use vaultrs::api::kv2::requests::ReadSecretRequest;

use super::answer::{Any, Fields};
use super::fault::Asked;
use super::login::Entered;
use super::reference::Field;
use crate::value::lease_of;
use crate::{Lease, SourceFault};

#[derive(Deserialize)]
struct Version2 {
    data: Option<Fields>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

/// A field of a secret of version 1.
pub(super) async fn read1(entered: &Entered, field: &Field) -> Result<Lease, SourceFault> {
    let asked = GetSecretRequest { mount: field.mount.clone(), path: field.path.clone() };
    let reply = entered.ask(asked, Asked::Secret).await?;
    pick(reply.read::<Fields>()?.data()?, field)
}

/// A field of a secret of version 2.
pub(super) async fn read2(entered: &Entered, field: &Field, version: Option<u64>) -> Result<Lease, SourceFault> {
    let asked = ReadSecretRequest { mount: field.mount.clone(), path: field.path.clone(), version };
    let reply = entered.ask(asked, Asked::Secret).await?;
    let answer = reply.read::<Version2>()?.data()?;
    // What was deleted has metadata only; the status says so too, but not on every store.
    let mut lease = pick(answer.data.ok_or(SourceFault::Missing)?, field)?;
    lease.version = Some(answer.metadata.version.to_string());
    Ok(lease)
}

fn pick(mut fields: Fields, field: &Field) -> Result<Lease, SourceFault> {
    match fields.remove(&field.field) {
        Some(Any::Text(value)) => lease_of(value),
        Some(Any::Other) => Err(SourceFault::Garbage),
        None => Err(SourceFault::Missing),
    }
}
