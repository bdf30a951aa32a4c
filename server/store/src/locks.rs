//! Locks. They are never deleted: an ended one tells a helper that still holds it that it may let go.

use crate::MAX_PAGE;
use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx};
use avouch_core::{Lock, LockTarget};
use avouch_words::{Millis, Ulid};

impl Read {
    /// All locks whose end is not recorded, oldest first. However many there are: none may be left out.
    pub async fn standing_locks(&mut self) -> Result<Vec<Lock>, StoreError> {
        let rows = query("SELECT * FROM locks WHERE ended_ms IS NULL ORDER BY id").fetch_all(self.sql()).await?;
        rows.iter().map(lock).collect()
    }

    /// A page of all locks, ended ones too, oldest first: those after `after`, at most [`MAX_PAGE`].
    pub async fn locks(&mut self, after: Option<Ulid>) -> Result<Vec<Lock>, StoreError> {
        let rows = query("SELECT * FROM locks WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after.map_or_else(String::new, |id| id.to_string()))
            .bind(MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(lock).collect()
    }

    /// Identifiers of the locks that ended last, newest end first, at most [`MAX_PAGE`].
    pub async fn ended_locks(&mut self) -> Result<Vec<Ulid>, StoreError> {
        let rows = query("SELECT id FROM locks WHERE ended_ms IS NOT NULL ORDER BY ended_ms DESC, id DESC LIMIT $1")
            .bind(MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(|row| Cells::of(row, "locks").ulid("id")).collect()
    }
}

impl Tx {
    /// Sets a lock; its target must be there.
    pub async fn create_lock(&mut self, lock: &Lock) -> Result<(), StoreError> {
        self.change_state().await?;
        let LockTarget::Agent(agent) = &lock.target;
        query("INSERT INTO locks (id, agent, reason, author, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(lock.id.to_string())
            .bind(agent.as_str())
            .bind(&lock.reason)
            .bind(&lock.author)
            .bind(lock.created.0)
            .bind(lock.expires.map(|at| at.0))
            .execute(self.sql())
            .await
            .map_err(|error| StoreError::insert(error, "lock", "agent"))?;
        Ok(())
    }

    /// Ends a lock that stands: released, or run out. One that has ended is as good as none.
    pub async fn end_lock(&mut self, id: Ulid, now: Millis) -> Result<Lock, StoreError> {
        self.change_state().await?;
        let row = query("UPDATE locks SET ended_ms = $1 WHERE id = $2 AND ended_ms IS NULL RETURNING *")
            .bind(now.0)
            .bind(id.to_string())
            .fetch_optional(self.sql())
            .await?;
        lock(&row.ok_or(StoreError::NotFound("lock"))?)
    }
}

fn lock(row: &Row) -> Result<Lock, StoreError> {
    let cells = Cells::of(row, "locks");
    Ok(Lock {
        id: cells.ulid("id")?,
        target: LockTarget::Agent(cells.name("agent")?),
        reason: cells.raw("reason")?,
        author: cells.raw("author")?,
        created: cells.millis("created_ms")?,
        expires: cells.some_millis("expires_ms")?,
        ended: cells.some_millis("ended_ms")?,
    })
}
