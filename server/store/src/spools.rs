//! How far the helpers' audit spools are in the log.

use crate::cells::{Cells, signed};
use crate::error::StoreError;
use crate::sql::{Row, insert, query};
use crate::tx::{Read, Tx};
use avouch_audit::spool::{Chain, SpoolId};
use avouch_core::spool::Spool;
use avouch_words::{Digest, Millis, Name};

impl Read {
    /// The spool of this id.
    pub async fn spool(&mut self, id: &SpoolId) -> Result<Option<Spool>, StoreError> {
        let row = query("SELECT * FROM spools WHERE id = $1").bind(&id.0[..]).fetch_optional(self.sql()).await?;
        row.as_ref().map(spool).transpose()
    }

    /// The spool of a node that has not come to its end.
    pub async fn open_spool(&mut self, node: &Name) -> Result<Option<Spool>, StoreError> {
        let row = query("SELECT * FROM spools WHERE node = $1 AND closed_ms IS NULL")
            .bind(node.as_str())
            .fetch_optional(self.sql())
            .await?;
        row.as_ref().map(spool).transpose()
    }

    /// The hash of a record that is in the log.
    pub async fn spool_record(&mut self, id: &SpoolId, seq: u64) -> Result<Option<Digest>, StoreError> {
        let row = query("SELECT digest FROM spool_records WHERE spool = $1 AND seq = $2")
            .bind(&id.0[..])
            .bind(signed(seq))
            .fetch_optional(self.sql())
            .await?;
        row.map(|row| Cells::of(&row, "spool_records").digest("digest")).transpose()
    }
}

impl Tx {
    /// Begins a spool of a node; the one before must have been closed.
    pub async fn create_spool(&mut self, id: &SpoolId, node: &Name, now: Millis) -> Result<(), StoreError> {
        self.change();
        query("INSERT INTO spools (id, node, next, head, opened_ms) VALUES ($1, $2, 0, $3, $4)")
            .bind(&id.0[..])
            .bind(node.as_str())
            .bind(&Chain::start(*id).head().as_bytes()[..])
            .bind(now.0)
            .execute(self.sql())
            .await
            .map_err(|error| StoreError::insert(error, "spool", "node"))?;
        Ok(())
    }

    /// Goes on by records that are appended to the log in this transaction: `chain` is where the spool now is, and
    /// `digests` are the hashes of the records that brought it there. The store's own position must be where they
    /// begin.
    pub async fn advance_spool(&mut self, chain: &Chain, digests: &[Digest]) -> Result<(), StoreError> {
        self.change();
        let first = chain.next().saturating_sub(digests.len() as u64);
        let advanced =
            query("UPDATE spools SET next = $1, head = $2 WHERE id = $3 AND next = $4 AND closed_ms IS NULL")
                .bind(signed(chain.next()))
                .bind(&chain.head().as_bytes()[..])
                .bind(&chain.spool().0[..])
                .bind(signed(first))
                .execute(self.sql())
                .await?;
        if advanced.rows_affected() != 1 {
            return Err(StoreError::NotFound("spool position"));
        }
        let numbered: Vec<(u64, &Digest)> = (first..).zip(digests).collect();
        for records in numbered.chunks(CHUNK) {
            let rows = records.iter().map(|(seq, digest)| {
                [chain.spool().0.to_vec().into(), signed(*seq).into(), digest.as_bytes()[..].into()]
            });
            insert("INSERT INTO spool_records (spool, seq, digest)", rows, "").execute(self.sql()).await?;
        }
        Ok(())
    }

    /// Ends a spool, whether or not all of its records came.
    pub async fn close_spool(&mut self, id: &SpoolId, now: Millis) -> Result<(), StoreError> {
        self.change();
        let closed = query("UPDATE spools SET closed_ms = $1 WHERE id = $2 AND closed_ms IS NULL")
            .bind(now.0)
            .bind(&id.0[..])
            .execute(self.sql())
            .await?;
        if closed.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound("open spool")) }
    }
}

fn spool(row: &Row) -> Result<Spool, StoreError> {
    let cells = Cells::of(row, "spools");
    let id = SpoolId(cells.array("id")?);
    Ok(Spool {
        node: cells.name("node")?,
        chain: Chain::resume(id, cells.unsigned("next")?, cells.digest("head")?),
        opened: cells.millis("opened_ms")?,
        closed: cells.some_millis("closed_ms")?,
    })
}

/// Rows of one statement.
const CHUNK: usize = 500;
