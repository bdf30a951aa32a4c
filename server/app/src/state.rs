//! What decisions are made on: the issuer's state as of one version, in memory. It is read anew when the version
//! changes and never altered.

use crate::signers::{Signers, Tokens};
use avouch_core::authority::{Authority, AuthorityError};
use avouch_core::keys::KeyManager;
use avouch_core::state::World;
use avouch_core::{Agent, Lock};
use avouch_store::{MAX_PAGE, Read, Store, StoreError};
use avouch_words::{Millis, Name, TrustDomain, Ulid};
use ring::rand::SecureRandom;
use std::sync::Arc;

/// The state of one version.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) version: u64,
    /// Random, made with the database.
    pub(crate) epoch: [u8; 16],
    /// The database's time when this was read.
    pub(crate) read_at: Millis,
    /// Agents, credentials, grants and standing locks. The agents are sorted by name.
    pub(crate) world: World,
    /// Locks that ended: helpers that still hold one may let go of it.
    pub(crate) ended_locks: Vec<Ulid>,
    pub(crate) authorities: Vec<Authority>,
    /// The sequence number of the published bundle.
    pub(crate) bundle_sequence: u64,
    pub(crate) signers: Arc<Signers>,
}

/// Why the state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("the clock of this machine is {} s from that of the database", .0.as_secs())]
    Clock(std::time::Duration),
}

impl State {
    /// Reads everything in one snapshot. Keys are opened again only if the authorities are others than before.
    pub(crate) async fn read(
        store: &Store,
        trust_domain: &TrustDomain,
        keys: &dyn KeyManager,
        tokens: &Tokens,
        before: Option<&State>,
        now: Millis,
        rng: &(dyn SecureRandom + Sync),
    ) -> Result<Self, Unreadable> {
        let mut read = store.read().await?;
        // First: a time that is too old does no harm.
        let read_at = read.database_time().await?;
        let meta = read.meta().await?;
        let authorities = read.authorities().await?;
        let signers = match before {
            // What an authority has signed so far is no reason to open its key again.
            Some(before) if same(&before.authorities, &authorities) => Arc::clone(&before.signers),
            _ => Arc::new(Signers::open(trust_domain, keys, tokens, &authorities, now, rng)?),
        };
        let world = world(&mut read).await?;
        Ok(Self {
            version: meta.version,
            epoch: meta.epoch,
            ended_locks: read.ended_locks().await?,
            read_at,
            bundle_sequence: read.bundle_sequence().await?,
            world,
            authorities,
            signers,
        })
    }

    /// The agent of this name.
    pub(crate) fn agent(&self, name: &Name) -> Option<&Agent> {
        let agents = &self.world.agents;
        agents.binary_search_by(|agent| agent.name.cmp(name)).ok().and_then(|at| agents.get(at))
    }

    /// All locks whose end is not recorded.
    pub(crate) fn locks(&self) -> &[Lock] {
        &self.world.locks
    }
}

fn same(before: &[Authority], now: &[Authority]) -> bool {
    let key = |authority: &Authority| (authority.id, authority.state);
    before.iter().map(key).eq(now.iter().map(key))
}

async fn world(read: &mut Read) -> Result<World, StoreError> {
    let mut world = World { locks: read.standing_locks().await?, targets: read.targets().await?, ..World::default() };
    loop {
        let page = read.agents(world.agents.last().map(|agent| &agent.name)).await?;
        let whole = is_last(&page);
        world.agents.extend(page);
        if whole {
            break;
        }
    }
    loop {
        let page = read.credentials(world.credentials.last().map(|credential| &credential.name)).await?;
        let whole = is_last(&page);
        world.credentials.extend(page);
        if whole {
            break;
        }
    }
    loop {
        let page = read.grants(world.grants.last().map(|grant| grant.id)).await?;
        let whole = is_last(&page);
        world.grants.extend(page);
        if whole {
            return Ok(world);
        }
    }
}

fn is_last<T>(page: &[T]) -> bool {
    page.len() < MAX_PAGE as usize
}
