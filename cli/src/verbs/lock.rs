//! `lock create`, `lock list` and `lock release`.

use super::Context;
use crate::args::LockVerb;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Format, Output, Table, data, next, pretty, relative, rfc3339, talk};
use crate::progress::{self, SETTLING};
use crate::replies;
use avouch_wire::admin::lock_progress::Kind;
use avouch_wire::admin::{
    CreateLockRequest, ListLocksRequest, Lock, LockApplied, LockCommitted, LockPending, ReleaseLockRequest,
};
use avouch_words::Millis;
use serde_json::{Value, json};

/// Makes, lists or releases.
pub async fn run(context: &Context, verb: LockVerb) -> Result<(), Failure> {
    match verb {
        LockVerb::Create { agent, reason, ttl } => {
            let ttl_seconds = ttl.map_or(0, |ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX));
            create(context, CreateLockRequest { agent: agent.to_string(), reason, ttl_seconds }).await
        }
        LockVerb::List { all } => {
            let reply = context.admin().await?.list_locks(ListLocksRequest { all }).await;
            let locks = reply.map_err(|status| replies::failure(&status))?.into_inner().locks;
            context.output.list(&table(&locks, context.output))?;
            match locks.iter().find(|lock| lock.ended_ms == 0) {
                Some(lock) => next(format!("avouch lock release {}", lock.id)),
                None => talk("No lock is in force."),
            }
            Ok(())
        }
        LockVerb::Release { id } => {
            let mut admin = context.admin().await?;
            let reply = progress::during(SETTLING, admin.release_lock(ReleaseLockRequest { id })).await;
            let lock = reply.map_err(|status| replies::failure(&status))?.into_inner();
            context.output.one(&table(std::slice::from_ref(&lock), context.output))?;
            next(format!("avouch run --agent {} -- COMMAND", lock.agent));
            Ok(())
        }
    }
}

/// What has been heard of a lock so far.
#[derive(Debug, Default)]
struct Heard {
    committed: Option<LockCommitted>,
    applied: Vec<LockApplied>,
    pending: Vec<LockPending>,
}

async fn create(context: &Context, request: CreateLockRequest) -> Result<(), Failure> {
    let reply = context.admin().await?.create_lock(request).await;
    let mut steps = reply.map_err(|status| replies::failure(&status))?.into_inner();
    let people = context.output.format() == Format::Table;
    let mut heard = Heard::default();
    loop {
        let message = progress::during(SETTLING, steps.message()).await;
        let Some(message) = message.map_err(|status| replies::failure(&status))? else { break };
        let Some(kind) = message.kind else { continue };
        if people {
            data(line(&kind, context.output.now()) + "\n")?;
        }
        match kind {
            Kind::Committed(committed) => heard.committed = Some(committed),
            Kind::Applied(applied) => heard.applied.push(applied),
            Kind::Pending(pending) => heard.pending.push(pending),
        }
    }
    let Some(lock) = heard.committed.as_ref().and_then(|committed| committed.lock.as_ref()) else {
        return Err(Failure::new(Exit::Failure, "the issuer ended the answer before the lock was set")
            .then("See `avouch lock list`."));
    };
    if !people {
        data(pretty(&heard.json(lock)))?;
    }
    next(format!("avouch lock release {}", lock.id));
    Ok(())
}

/// What is said to a person of one step.
fn line(kind: &Kind, now: Millis) -> String {
    match kind {
        Kind::Committed(LockCommitted { lock: Some(lock), version, svids_valid_until_ms }) => {
            let until = match svids_valid_until_ms {
                0 => "none of its SVIDs is alive".to_owned(),
                until => format!(
                    "verifiers that ask no one accept SVIDs already issued until {} ({})",
                    rfc3339(Millis(*until)),
                    relative(Millis(*until), now)
                ),
            };
            format!("{} is locked (lock {}, state version {version}); {until}", lock.agent, lock.id)
        }
        Kind::Committed(LockCommitted { lock: None, .. }) => "the lock is set".to_owned(),
        Kind::Applied(applied) => {
            let (whole, tenth) = (applied.after_us / 1_000, applied.after_us % 1_000 / 100);
            format!("applied by {} after {whole}.{tenth} ms", applied.node_id)
        }
        Kind::Pending(pending) => {
            let closes = by_itself(Millis(pending.fails_closed_ms), now);
            format!("not yet applied by {}, which stops injecting by itself {closes}", pending.node_id)
        }
    }
}

fn by_itself(closes: Millis, now: Millis) -> String {
    if closes <= now {
        return "and has".to_owned();
    }
    format!("at the latest {} ({})", relative(closes, now), rfc3339(closes))
}

impl Heard {
    fn json(&self, lock: &Lock) -> Value {
        let until = self.committed.as_ref().map_or(0, |committed| committed.svids_valid_until_ms);
        let applied = self.applied.iter().map(|one| json!({"node": one.node_id, "after_us": one.after_us}));
        let pending = self
            .pending
            .iter()
            .map(|one| json!({"node": one.node_id, "fails_closed": rfc3339(Millis(one.fails_closed_ms))}));
        json!({
            "id": lock.id,
            "agent": lock.agent,
            "reason": lock.reason,
            "author": lock.author,
            "created": rfc3339(Millis(lock.created_ms)),
            "version": self.committed.as_ref().map(|committed| committed.version),
            "svids_valid_until": (until > 0).then(|| rfc3339(Millis(until))),
            "applied": applied.collect::<Vec<_>>(),
            "pending": pending.collect::<Vec<_>>(),
        })
    }
}

fn table(locks: &[Lock], output: Output) -> Table {
    let mut table = Table::new(&["id", "agent", "reason", "author", "created", "expires", "ended"]);
    for lock in locks {
        table.row(vec![
            Cell::text(&lock.id),
            Cell::text(&lock.agent),
            Cell::text(&lock.reason),
            Cell::text(&lock.author),
            Cell::moment(Millis(lock.created_ms), output.now()),
            Cell::moment(Millis(lock.expires_ms), output.now()),
            Cell::moment(Millis(lock.ended_ms), output.now()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn lock() -> Lock {
        Lock { id: "L".into(), agent: "researcher".into(), created_ms: NOW.0, ..Default::default() }
    }

    #[test]
    fn each_step_of_a_lock_is_one_plain_line() {
        let committed = LockCommitted { lock: Some(lock()), version: 7, svids_valid_until_ms: NOW.0 + 900_000 };
        assert_eq!(
            line(&Kind::Committed(committed), NOW),
            "researcher is locked (lock L, state version 7); verifiers that ask no one accept SVIDs already issued \
             until 2023-11-14T22:28:20Z (in 15m0s)"
        );
        let applied = LockApplied { node_id: "spiffe://t/node/join_token/a".into(), after_us: 12_345 };
        assert_eq!(line(&Kind::Applied(applied), NOW), "applied by spiffe://t/node/join_token/a after 12.3 ms");
        let pending = LockPending { node_id: "b".into(), fails_closed_ms: NOW.0 + 30_000 };
        assert_eq!(
            line(&Kind::Pending(pending), NOW),
            "not yet applied by b, which stops injecting by itself at the latest in 30s (2023-11-14T22:13:50Z)"
        );
    }

    #[test]
    fn json_holds_all_that_was_heard() {
        let heard = Heard {
            committed: Some(LockCommitted { lock: Some(lock()), version: 7, svids_valid_until_ms: 0 }),
            applied: vec![LockApplied { node_id: "a".into(), after_us: 5 }],
            pending: Vec::new(),
        };
        let json = heard.json(&lock());
        assert_eq!((&json["applied"][0]["after_us"], &json["svids_valid_until"]), (&json!(5), &Value::Null));
    }
}
