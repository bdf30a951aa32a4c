//! Instances that nodes reported.

use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{Row, among, insert, query};
use crate::tx::{Read, Tx};
use avouch_core::Instance;
use avouch_words::{Millis, Name, Ulid};
use std::collections::BTreeMap;

impl Read {
    /// Those of these instances that are known.
    pub async fn instances(&mut self, ids: &[Ulid]) -> Result<BTreeMap<Ulid, Instance>, StoreError> {
        let mut found = BTreeMap::new();
        for ids in ids.chunks(CHUNK) {
            let ids = ids.iter().map(|id| id.to_string().into());
            for row in among("SELECT * FROM instances WHERE id IN", ids).fetch_all(self.sql()).await? {
                let instance = instance(&row)?;
                found.insert(instance.id, instance);
            }
        }
        Ok(found)
    }

    /// Instances that live on a node, the oldest first, at most [`crate::MAX_PAGE`].
    pub async fn live_instances_on(&mut self, node: &Name) -> Result<Vec<Instance>, StoreError> {
        let rows = query("SELECT * FROM instances WHERE node = $1 AND ended_ms IS NULL ORDER BY id LIMIT $2")
            .bind(node.as_str())
            .bind(crate::MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(instance).collect()
    }

    /// Instances that live, the oldest first, at most [`crate::MAX_PAGE`].
    pub async fn live_instances(&mut self) -> Result<Vec<Instance>, StoreError> {
        let rows = query("SELECT * FROM instances WHERE ended_ms IS NULL ORDER BY id LIMIT $1")
            .bind(crate::MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(instance).collect()
    }
}

impl Tx {
    /// Makes instances known that something is signed for. One that is known already has to be the same agent's on
    /// the same node, and live; else nothing of the transaction may stay.
    pub async fn put_instances(&mut self, instances: &[Instance]) -> Result<(), StoreError> {
        for instances in instances.chunks(CHUNK) {
            let rows = instances.iter().map(|instance| {
                [
                    instance.id.to_string().into(),
                    instance.agent.as_str().into(),
                    instance.node.as_str().into(),
                    instance.started.0.into(),
                ]
            });
            insert("INSERT INTO instances (id, agent, node, started_ms)", rows, "ON CONFLICT (id) DO NOTHING")
                .execute(self.sql())
                .await
                .map_err(|error| StoreError::insert(error, "instance", "agent or node"))?;
        }
        let ids: Vec<Ulid> = instances.iter().map(|instance| instance.id).collect();
        let known = self.instances(&ids).await?;
        let stands = |instance: &Instance| {
            known.get(&instance.id).is_some_and(|known| {
                known.agent == instance.agent && known.node == instance.node && known.ended.is_none()
            })
        };
        if instances.iter().all(stands) { Ok(()) } else { Err(StoreError::NotFound("live instance")) }
    }

    /// Ends an instance of this node. Whether it was live.
    pub async fn end_instance(&mut self, id: Ulid, node: &Name, now: Millis) -> Result<bool, StoreError> {
        self.change();
        let ended = query("UPDATE instances SET ended_ms = $1 WHERE id = $2 AND node = $3 AND ended_ms IS NULL")
            .bind(now.0)
            .bind(id.to_string())
            .bind(node.as_str())
            .execute(self.sql())
            .await?;
        Ok(ended.rows_affected() == 1)
    }

    /// Ends all live instances of a node that went or joined anew. How many there were.
    pub async fn end_instances_of(&mut self, node: &Name, now: Millis) -> Result<u64, StoreError> {
        self.change();
        let ended = query("UPDATE instances SET ended_ms = $1 WHERE node = $2 AND ended_ms IS NULL")
            .bind(now.0)
            .bind(node.as_str())
            .execute(self.sql())
            .await?;
        Ok(ended.rows_affected())
    }
}

fn instance(row: &Row) -> Result<Instance, StoreError> {
    let cells = Cells::of(row, "instances");
    Ok(Instance {
        id: cells.ulid("id")?,
        agent: cells.name("agent")?,
        node: cells.name("node")?,
        started: cells.millis("started_ms")?,
        ended: cells.some_millis("ended_ms")?,
    })
}

/// Rows of one statement.
const CHUNK: usize = 500;
