//! What has to be done without being asked, most of it by the issuer that leads: telling the age of the lock state, ending locks that ran out, making and
//! replacing authorities, signing the log's head, forgetting SVIDs that ended long ago.

use crate::app::App;
use crate::error::Failure;
use crate::together;
use avouch_audit::field::{Code, Count};
use avouch_audit::record::IssuerEvent;
use avouch_config::{AuthoritySettings, Readiness};
use avouch_core::LockTarget;
use avouch_core::authority::rotation::{self, LOG_KEY_LIFE};
use avouch_core::authority::{Authority, AuthorityError, AuthorityState, Lifetimes, Step, make_certificate};
use avouch_core::keys::{KeyManager, Purpose};
use avouch_store::{Fence, StoredCheckpoint};
use avouch_words::{Digest, Millis, TrustDomain, Ulid};
use ring::rand::SecureRandom;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Reads the version and the database's time at each beat, and tells whether that works.
pub(crate) async fn beats(app: &App, readiness: &watch::Sender<Readiness>) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let beaten = app.beat().await;
        // Here too, as a wake may get lost.
        together::look_elsewhere(app).await;
        let ready = match beaten {
            Ok(()) => Readiness::Ready,
            Err(error) => {
                tracing::error!(%error, "the lock state could not be read");
                Readiness::NotReady("database_unavailable")
            }
        };
        readiness.send_if_modified(|told| std::mem::replace(told, ready) != ready);
    }
}

/// Ends the locks that ran out.
pub(crate) async fn locks(app: &App) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(lead) = app.lead() else { continue };
        let now = app.now();
        let state = app.state();
        for lock in state.locks().iter().filter(|lock| lock.ran_out(now)) {
            if let Err(error) = end_lock(app, lead, lock.id, now).await {
                tracing::error!(lock = %lock.id, %error, "a lock that ran out could not be ended");
            }
        }
    }
}

async fn end_lock(app: &App, lead: Fence, id: Ulid, now: Millis) -> Result<(), Failure> {
    let mut change = app.change_as_leader(lead).await?;
    let ended = change.end_lock(id, now).await?;
    let version = Count(change.new_version().await?);
    let LockTarget::Agent(agent) = ended.target;
    change.record(IssuerEvent::LockExpired { lock: id, agent, version }).await?;
    change.commit().await.map(|_| ())
}

/// Takes all steps of all authorities that are due, again and again.
pub(crate) async fn authorities(app: &App) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(lead) = app.lead() else { continue };
        if let Err(error) = settle_authorities(app, lead).await {
            tracing::error!(%error, "an authority could not be made or replaced");
        }
    }
}

/// Takes all steps that are due now.
pub(crate) async fn settle_authorities(app: &App, lead: Fence) -> Result<(), Failure> {
    for purpose in Purpose::ALL {
        let lives = lifetimes(purpose, app.config.authority);
        while let Some(step) = rotation::next(&app.state().authorities, purpose, &lives, app.now()) {
            take_step(app, lead, purpose, step, &lives).await?;
        }
    }
    Ok(())
}

async fn take_step(app: &App, lead: Fence, purpose: Purpose, step: Step, lives: &Lifetimes) -> Result<(), Failure> {
    match step {
        Step::Prepare => {
            // The key is made before the change begins: it may come from far away.
            let made = make(app.trust_domain(), &*app.keys, purpose, app.ulid()?, lives, app.now(), &*app.rng)?;
            let mut change = app.change_as_leader(lead).await?;
            change.create_authority(&made).await?;
            change.publish(app.now()).await?;
            change.record(created(&made)).await?;
            change.commit().await?;
        }
        Step::Activate(id) => {
            let mut change = app.change_as_leader(lead).await?;
            change.activate_authority(id, purpose).await?;
            let authorities = change.authorities().await?;
            for activated in authorities.iter().filter(|authority| authority.id == id) {
                change.record(activated_event(activated)).await?;
            }
            change.commit().await?;
        }
        Step::Remove(id) => {
            let mut change = app.change_as_leader(lead).await?;
            let authorities = change.authorities().await?;
            change.remove_authority(id).await?;
            change.publish(app.now()).await?;
            for removed in authorities.iter().filter(|authority| authority.id == id) {
                change.record(removed_event(removed)).await?;
            }
            change.commit().await?;
        }
    }
    tracing::info!(purpose = purpose.as_str(), ?step, "an authority changed");
    Ok(())
}

/// A new authority, in state prepared.
pub(crate) fn make(
    trust_domain: &TrustDomain,
    keys: &dyn KeyManager,
    purpose: Purpose,
    id: Ulid,
    lives: &Lifetimes,
    now: Millis,
    rng: &dyn SecureRandom,
) -> Result<Authority, AuthorityError> {
    let key = keys.create(purpose, rng)?;
    let public = match purpose {
        Purpose::X509Authority => {
            let signer = keys.open(purpose, &key.reference, rng)?;
            make_certificate(trust_domain, id, &*signer, lives.life, now, rng)?.to_vec()
        }
        Purpose::JwtAuthority | Purpose::Log => key.public_key,
    };
    Ok(Authority {
        id,
        purpose,
        state: AuthorityState::Prepared,
        reference: key.reference,
        public,
        created: now,
        not_after: now.plus(lives.life),
        last_expiry: now,
    })
}

/// How long authorities of a purpose live.
pub(crate) fn lifetimes(purpose: Purpose, settings: AuthoritySettings) -> Lifetimes {
    Lifetimes::of(match purpose {
        Purpose::X509Authority => settings.x509_ttl,
        Purpose::JwtAuthority => settings.jwt_ttl,
        Purpose::Log => LOG_KEY_LIFE,
    })
}

fn kind(authority: &Authority) -> (Code, Digest) {
    (Code::of(authority.purpose.as_str()), Digest::of(&[&authority.public]))
}

fn created(authority: &Authority) -> IssuerEvent {
    let (kind, digest) = kind(authority);
    IssuerEvent::AuthorityCreated { kind, digest }
}

fn activated_event(authority: &Authority) -> IssuerEvent {
    let (kind, digest) = kind(authority);
    IssuerEvent::AuthorityActivated { kind, digest }
}

fn removed_event(authority: &Authority) -> IssuerEvent {
    let (kind, digest) = kind(authority);
    IssuerEvent::AuthorityRemoved { kind, digest }
}

/// Signs a new head soon after the log has grown, here or at another issuer.
pub(crate) async fn heads(app: &App) {
    loop {
        if let Some(lead) = app.lead()
            && let Err(error) = sign_head(app, Some(lead)).await
        {
            tracing::error!(%error, "the head of the log could not be signed");
            tokio::time::sleep(LOOK).await;
            continue;
        }
        // Growth elsewhere, or the lead, comes without a word.
        let _ = tokio::time::timeout(LOOK, app.grown.notified()).await;
        // What grows in this time is under the same head.
        tokio::time::sleep(HEAD_DELAY).await;
    }
}

/// Signs the head of the log as it is now, if the newest signed one covers less. The answer is the newest signed head.
/// The leader does it by itself; any issuer may where an operator waits, as there is one log and one head of each size.
pub(crate) async fn sign_head(app: &App, lead: Option<Fence>) -> Result<StoredCheckpoint, Failure> {
    let mut read = app.store.read().await?;
    let newest = read.newest_checkpoint().await?;
    let mut tree = newest.as_ref().map(|head| head.tree.clone()).unwrap_or_default();
    let before = tree.size();
    loop {
        let leaves = read.log_leaves(tree.size()).await?;
        if leaves.is_empty() {
            break;
        }
        leaves.into_iter().for_each(|leaf| tree.append(leaf));
    }
    drop(read);
    if let Some(newest) = newest
        && tree.size() == before
    {
        app.metrics.signed_head(before);
        return Ok(newest);
    }
    let signers = std::sync::Arc::clone(&app.state().signers);
    let note = signers.log()?.sign(&tree, &*app.rng).map_err(AuthorityError::from)?;
    let head = StoredCheckpoint { tree, note, created: app.now() };
    let mut tx = app.store.begin().await?;
    if let Some(lead) = lead {
        tx.check_lead(lead).await?;
    }
    avouch_config::crash_point("issuer-before-checkpoint");
    match tx.put_checkpoint(&head).await {
        Ok(()) => {
            tx.commit().await?;
            app.metrics.signed_head(head.tree.size());
            Ok(head)
        }
        // Somebody signed the same size in the meantime.
        Err(avouch_store::StoreError::Exists(_)) => Ok(head),
        Err(error) => Err(error.into()),
    }
}

/// Forgets SVIDs that ended, some at a time.
pub(crate) async fn prune(app: &App) {
    let mut looks = interval(PRUNE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(lead) = app.lead() else { continue };
        let before = Millis(app.now().0.saturating_sub(i64::try_from(KEEP_ENDED.as_millis()).unwrap_or(i64::MAX)));
        let pruned = async {
            let mut tx = app.store.begin().await?;
            tx.check_lead(lead).await?;
            let pruned = tx.prune_svids(before).await?;
            tx.prune_issuers().await?;
            tx.commit().await?;
            Ok::<u64, avouch_store::StoreError>(pruned)
        };
        match pruned.await {
            Ok(0) => {}
            Ok(pruned) => tracing::debug!(pruned, "forgot SVIDs that ended"),
            Err(error) => tracing::warn!(%error, "SVIDs that ended could not be forgotten"),
        }
    }
}

/// How often the lock state's age is told.
const BEAT: Duration = Duration::from_secs(2);
/// How often it is looked at what is due.
const LOOK: Duration = Duration::from_millis(500);
/// How long a head waits for more to come under it; it is signed within a second of growth.
const HEAD_DELAY: Duration = Duration::from_millis(300);
/// How often ended SVIDs are forgotten.
const PRUNE: Duration = Duration::from_secs(60);
/// How long an ended SVID is still known.
const KEEP_ENDED: Duration = Duration::from_secs(60 * 60);
