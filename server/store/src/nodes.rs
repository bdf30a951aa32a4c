//! Nodes that joined.

use crate::MAX_PAGE;
use crate::cells::{Cells, selectors};
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx, bytes};
use avouch_core::Node;
use avouch_core::node::Serial;
use avouch_words::{Millis, Name, SpiffeId};

impl Read {
    /// The node of this name.
    pub async fn node(&mut self, name: &Name) -> Result<Option<Node>, StoreError> {
        let row = query("SELECT * FROM nodes WHERE name = $1 AND evicted_ms IS NULL")
            .bind(name.as_str())
            .fetch_optional(self.sql())
            .await?;
        row.as_ref().map(node).transpose()
    }

    /// The node of this SPIFFE ID: who is on a connection.
    pub async fn node_by_id(&mut self, id: &SpiffeId) -> Result<Option<Node>, StoreError> {
        let row = query("SELECT * FROM nodes WHERE spiffe_id = $1 AND evicted_ms IS NULL")
            .bind(id.as_str())
            .fetch_optional(self.sql())
            .await?;
        row.as_ref().map(node).transpose()
    }

    /// A page of nodes by name: those after `after`, at most [`MAX_PAGE`].
    pub async fn nodes(&mut self, after: Option<&Name>) -> Result<Vec<Node>, StoreError> {
        let rows = query("SELECT * FROM nodes WHERE name > $1 AND evicted_ms IS NULL ORDER BY name LIMIT $2")
            .bind(after.map_or("", Name::as_str))
            .bind(MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(node).collect()
    }
}

impl Tx {
    /// Keeps a node that joined or was renewed, whole.
    pub async fn put_node(&mut self, node: &Node) -> Result<(), StoreError> {
        self.change();
        query(
            "INSERT INTO nodes (name, attestor, spiffe_id, selectors, joined_ms, serial, serial_seen, previous_serial,
                                svid_expires_ms, banned_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (name) DO UPDATE SET
                attestor = excluded.attestor, spiffe_id = excluded.spiffe_id, selectors = excluded.selectors,
                joined_ms = excluded.joined_ms, serial = excluded.serial, serial_seen = excluded.serial_seen,
                previous_serial = excluded.previous_serial, svid_expires_ms = excluded.svid_expires_ms,
                banned_ms = excluded.banned_ms, evicted_ms = NULL",
        )
        .bind(node.name.as_str())
        .bind(node.attestor.as_str())
        .bind(node.id.as_str())
        .bind(selectors(&node.selectors))
        .bind(node.joined.0)
        .bind(bytes(&node.serial))
        .bind(i64::from(node.serial_seen))
        .bind(node.previous.as_ref().map(bytes))
        .bind(node.svid_expires.0)
        .bind(node.banned.map(|at| at.0))
        .execute(self.sql())
        .await
        .map_err(|error| StoreError::insert(error, "node", "node"))?;
        Ok(())
    }

    /// Notes that the node's newest SVID is in use, so that the one before is dead (H06). Whether it was news. Not a
    /// change of its own: the renewal that made the SVID is recorded.
    pub async fn see_serial(&mut self, name: &Name, serial: &Serial) -> Result<bool, StoreError> {
        let seen = query("UPDATE nodes SET serial_seen = 1 WHERE name = $1 AND serial = $2 AND serial_seen = 0")
            .bind(name.as_str())
            .bind(bytes(serial))
            .execute(self.sql())
            .await?;
        Ok(seen.rows_affected() == 1)
    }

    /// Bans a node for good: it is admitted nowhere, and joins nowhere until it is evicted.
    pub async fn ban_node(&mut self, name: &Name, now: Millis) -> Result<(), StoreError> {
        self.change_state().await?;
        let banned = query("UPDATE nodes SET banned_ms = $1 WHERE name = $2 AND banned_ms IS NULL")
            .bind(now.0)
            .bind(name.as_str())
            .execute(self.sql())
            .await?;
        if banned.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound("node")) }
    }

    /// Forgets a node's identity, banned or not: it may join anew.
    pub async fn evict_node(&mut self, name: &Name, now: Millis) -> Result<(), StoreError> {
        self.change_state().await?;
        let evicted =
            query("UPDATE nodes SET evicted_ms = $1, banned_ms = NULL WHERE name = $2 AND evicted_ms IS NULL")
                .bind(now.0)
                .bind(name.as_str())
                .execute(self.sql())
                .await?;
        if evicted.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound("node")) }
    }
}

fn node(row: &Row) -> Result<Node, StoreError> {
    let cells = Cells::of(row, "nodes");
    Ok(Node {
        name: cells.name("name")?,
        attestor: cells.name("attestor")?,
        id: cells.read("spiffe_id", |text| SpiffeId::parse(text).ok())?,
        selectors: cells.selectors("selectors")?,
        joined: cells.millis("joined_ms")?,
        serial: Serial(cells.array("serial")?),
        serial_seen: cells.raw::<i64>("serial_seen")? != 0,
        previous: cells.some_array("previous_serial")?.map(Serial),
        svid_expires: cells.millis("svid_expires_ms")?,
        banned: cells.some_millis("banned_ms")?,
    })
}
