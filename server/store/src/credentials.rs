//! Credentials: names, where their values lie, and bindings; never values.

use crate::MAX_PAGE;
use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx};
use avouch_core::Credential;
use avouch_policy::Binding;
use avouch_words::{Name, Reference};

impl Read {
    /// The credential of this name.
    pub async fn credential(&mut self, name: &Name) -> Result<Option<Credential>, StoreError> {
        let row =
            query("SELECT * FROM credentials WHERE name = $1").bind(name.as_str()).fetch_optional(self.sql()).await?;
        row.as_ref().map(credential).transpose()
    }

    /// A page of credentials by name: those after `after`, at most [`MAX_PAGE`].
    pub async fn credentials(&mut self, after: Option<&Name>) -> Result<Vec<Credential>, StoreError> {
        let rows = query("SELECT * FROM credentials WHERE name > $1 ORDER BY name LIMIT $2")
            .bind(after.map_or("", Name::as_str))
            .bind(MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(credential).collect()
    }
}

impl Tx {
    /// Makes the credential, or replaces its source, reference and binding. Its making stays when it was.
    pub async fn put_credential(&mut self, credential: &Credential) -> Result<(), StoreError> {
        self.change_state().await?;
        query(
            "INSERT INTO credentials (name, source, reference, binding, created_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO UPDATE
             SET source = excluded.source, reference = excluded.reference, binding = excluded.binding",
        )
        .bind(credential.name.as_str())
        .bind(credential.source.as_str())
        .bind(credential.reference.as_str())
        .bind(credential.binding.canonical_json())
        .bind(credential.created.0)
        .execute(self.sql())
        .await?;
        Ok(())
    }
}

impl Tx {
    /// Takes a credential back. Its grants have to be gone.
    pub async fn delete_credential(&mut self, name: &Name) -> Result<(), StoreError> {
        self.change_state().await?;
        let deleted = query("DELETE FROM credentials WHERE name = $1").bind(name.as_str()).execute(self.sql()).await?;
        if deleted.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound("credential")) }
    }
}

fn credential(row: &Row) -> Result<Credential, StoreError> {
    let cells = Cells::of(row, "credentials");
    Ok(Credential {
        name: cells.name("name")?,
        source: cells.name("source")?,
        reference: cells.read("reference", |text| Reference::parse(text).ok())?,
        binding: Binding::parse(cells.raw("binding")?).map_err(|_| cells.damaged("binding"))?,
        created: cells.millis("created_ms")?,
    })
}
