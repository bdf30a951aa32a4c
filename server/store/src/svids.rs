//! SVIDs that were signed for agents: what is still accepted by those who ask no one.

use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{Row, insert, query};
use crate::tx::{Read, Tx};
use avouch_core::node::Serial;
use avouch_words::{Millis, Name, Ulid};
use std::collections::BTreeMap;
use std::fmt;

/// What tells one SVID from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SvidId {
    /// The serial number of an X.509-SVID.
    X509(Serial),
    /// The `jti` of a JWT-SVID.
    Jwt(Ulid),
}

impl fmt::Display for SvidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X509(serial) => write!(f, "x509:{serial}"),
            Self::Jwt(jti) => write!(f, "jwt:{jti}"),
        }
    }
}

/// An SVID of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedSvid {
    /// Its serial number or `jti`.
    pub id: SvidId,
    /// Whose it is.
    pub agent: Name,
    /// The instance it was signed for.
    pub instance: Ulid,
    /// The node that asked.
    pub node: Name,
    /// What signed it.
    pub authority: Ulid,
    /// Its end.
    pub not_after: Millis,
}

impl Read {
    /// When the last SVID of an agent ends that is valid now: until then verifiers that ask no one accept one.
    pub async fn svids_valid_until(&mut self, agent: &Name, now: Millis) -> Result<Option<Millis>, StoreError> {
        let row = query("SELECT max(not_after_ms) FROM svids WHERE agent = $1 AND not_after_ms >= $2")
            .bind(agent.as_str())
            .bind(now.0)
            .fetch_one(self.sql())
            .await?;
        Ok(row.at::<Option<i64>>(0)?.map(Millis))
    }

    /// The same for each instance that a node has such SVIDs of.
    pub async fn svids_valid_on(
        &mut self,
        node: &Name,
        now: Millis,
    ) -> Result<BTreeMap<Ulid, (Name, Millis)>, StoreError> {
        let rows = query(
            "SELECT instance, agent, max(not_after_ms) AS until FROM svids WHERE node = $1 AND not_after_ms >= $2
             GROUP BY instance, agent",
        )
        .bind(node.as_str())
        .bind(now.0)
        .fetch_all(self.sql())
        .await?;
        let read = |row: &Row| {
            let cells = Cells::of(row, "svids");
            Ok((cells.ulid("instance")?, (cells.name("agent")?, cells.millis("until")?)))
        };
        rows.iter().map(read).collect()
    }

    /// How many SVIDs are kept, of agents on all nodes.
    pub async fn svid_count(&mut self) -> Result<u64, StoreError> {
        let row = query("SELECT count(*) FROM svids").fetch_one(self.sql()).await?;
        Ok(u64::try_from(row.at::<i64>(0)?).unwrap_or(0))
    }
}

impl Tx {
    /// Keeps a batch of SVIDs, in few statements. One that exists already refuses all.
    pub async fn put_svids(&mut self, svids: &[IssuedSvid]) -> Result<(), StoreError> {
        self.change();
        for svids in svids.chunks(CHUNK) {
            let rows = svids.iter().map(|svid| {
                [
                    svid.id.to_string().into(),
                    svid.agent.as_str().into(),
                    svid.instance.to_string().into(),
                    svid.node.as_str().into(),
                    svid.authority.to_string().into(),
                    svid.not_after.0.into(),
                ]
            });
            insert("INSERT INTO svids (id, agent, instance, node, authority, not_after_ms)", rows, "")
                .execute(self.sql())
                .await
                .map_err(|error| StoreError::insert(error, "SVID", "SVID"))?;
        }
        Ok(())
    }

    /// Forgets SVIDs that ended before a moment; the log goes on knowing them. How many, at most [`crate::MAX_PAGE`]
    /// at once.
    pub async fn prune_svids(&mut self, before: Millis) -> Result<u64, StoreError> {
        let pruned = query("DELETE FROM svids WHERE id IN (SELECT id FROM svids WHERE not_after_ms < $1 LIMIT $2)")
            .bind(before.0)
            .bind(crate::MAX_PAGE)
            .execute(self.sql())
            .await?;
        Ok(pruned.rows_affected())
    }
}

/// Rows of one statement.
const CHUNK: usize = 500;
