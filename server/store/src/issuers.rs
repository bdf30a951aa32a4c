//! The issuers of one database, as each says it of itself: that it is there, and which nodes are connected to it and
//! how far they are. None of it is state that decisions are made on.

use crate::cells::{Cells, signed};
use crate::error::StoreError;
use crate::open::Store;
use crate::sql::{insert, query};
use crate::tx::{Read, Wake};
use avouch_words::{Millis, SpiffeId};
use std::net::SocketAddr;
use std::time::Duration;

/// That the database was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The newest version of the state then.
    pub version: u64,
    /// The database's clock, no later than that.
    pub database_time: Millis,
}

/// How a node stands with one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Which node.
    pub node: SpiffeId,
    /// Its open sync streams there.
    pub streams: u64,
    /// The newest version it says is in force.
    pub applied: u64,
    /// The newest database time it was sent there, or may have been.
    pub heard: Option<Millis>,
}

impl Store {
    /// Reads the version and the database's time. Where there are several issuers it says too that this one is there,
    /// before anything is sent that builds on it.
    pub async fn pulse(&self, address: SocketAddr) -> Result<Pulse, StoreError> {
        if !self.is_shared() {
            return self.read().await?.pulse().await;
        }
        let mut aside = self.aside().await?;
        let pulse = aside.pulse().await?;
        query(
            "INSERT INTO issuers (id, address, started_ms, seen_ms) VALUES ($1, $2, $3, $3)
             ON CONFLICT (id) DO UPDATE SET address = excluded.address, seen_ms = excluded.seen_ms",
        )
        .bind(&self.run_id()[..])
        .bind(address.to_string())
        .bind(pulse.database_time.0)
        .execute(aside.sql())
        .await?;
        aside.finish().await?;
        Ok(pulse)
    }

    /// Says how nodes stand with this issuer, and wakes the others.
    pub async fn report(&self, presence: &[Presence]) -> Result<(), StoreError> {
        let mut aside = self.aside().await?;
        let issuer = self.run_id();
        for presence in presence.chunks(CHUNK) {
            let rows = presence.iter().map(|presence| {
                [
                    issuer[..].into(),
                    presence.node.as_str().into(),
                    signed(presence.streams).into(),
                    signed(presence.applied).into(),
                    presence.heard.map(|at| at.0).into(),
                ]
            });
            insert(
                "INSERT INTO presence (issuer, node, streams, applied, heard_ms)",
                rows,
                "ON CONFLICT (issuer, node) DO UPDATE SET
                    streams = excluded.streams, applied = excluded.applied, heard_ms = excluded.heard_ms",
            )
            .execute(aside.sql())
            .await
            .map_err(|error| StoreError::insert(error, "presence", "issuer"))?;
        }
        aside.wake(Wake::Nodes).await?;
        aside.finish().await
    }

    /// This issuer goes: nobody is connected to it any more. What its nodes heard is kept for a while.
    pub async fn depart(&self) -> Result<(), StoreError> {
        let mut aside = self.aside().await?;
        query("UPDATE presence SET streams = 0 WHERE issuer = $1")
            .bind(&self.run_id()[..])
            .execute(aside.sql())
            .await?;
        aside.wake(Wake::Nodes).await?;
        aside.finish().await
    }
}

impl Read {
    async fn pulse(&mut self) -> Result<Pulse, StoreError> {
        // In this order: a time that is too old does no harm.
        let database_time = self.database_time().await?;
        Ok(Pulse { version: self.meta().await?.version, database_time })
    }

    /// How nodes stand with the other issuers. Of one that has not been seen for [`ISSUER_GONE`] nobody is connected
    /// any more, but what its nodes may have heard counts.
    pub async fn elsewhere(&mut self, own: [u8; 16]) -> Result<Vec<Presence>, StoreError> {
        let now = self.database_time().await?;
        let rows = query(
            "SELECT node, streams, applied, heard_ms, seen_ms FROM presence JOIN issuers ON issuers.id = presence.issuer
             WHERE issuers.id <> $1",
        )
        .bind(&own[..])
        .fetch_all(self.sql())
        .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of(row, "presence");
                let (streams, seen) = (cells.unsigned("streams")?, cells.millis("seen_ms")?);
                let heard = cells.some_millis("heard_ms")?;
                Ok(Presence {
                    node: cells.read("node", |text| SpiffeId::parse(text).ok())?,
                    streams: if now.since(seen) < ISSUER_GONE { streams } else { 0 },
                    applied: cells.unsigned("applied")?,
                    // Whoever had a stream open may have been sent what its issuer read last.
                    heard: if streams > 0 { heard.max(Some(seen)) } else { heard },
                })
            })
            .collect()
    }

    /// The addresses of issuers that are there, this one too.
    pub async fn issuers(&mut self) -> Result<Vec<String>, StoreError> {
        let now = self.database_time().await?;
        let rows = query("SELECT address FROM issuers WHERE seen_ms > $1 ORDER BY address")
            .bind(now.0.saturating_sub(millis(ISSUER_GONE)))
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(|row| Cells::of(row, "issuers").raw("address")).collect()
    }

    /// Forgets issuers that were not seen for so long that no node can hold anything of theirs.
    pub async fn prune_issuers(&mut self) -> Result<u64, StoreError> {
        let now = self.database_time().await?;
        let pruned = query("DELETE FROM issuers WHERE seen_ms < $1")
            .bind(now.0.saturating_sub(millis(ISSUER_FORGOTTEN)))
            .execute(self.sql())
            .await?;
        Ok(pruned.rows_affected())
    }

    /// Makes a transaction aside durable.
    async fn finish(self) -> Result<(), StoreError> {
        self.into_session().commit().await.map_err(|failed| match failed {
            crate::sql::NotCommitted::Nothing(error)
            | crate::sql::NotCommitted::Disk(error)
            // It is said again, and twice does no harm.
            | crate::sql::NotCommitted::Unknown(error) => error.into(),
            crate::sql::NotCommitted::Spoiled => StoreError::Spoiled,
        })
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An issuer that was not seen for this long is taken for gone; it says every 2 s that it is there.
pub const ISSUER_GONE: Duration = Duration::from_secs(10);
/// Longer than any staleness bound.
const ISSUER_FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// Rows of one statement.
const CHUNK: usize = 500;
