//! A node's stream of the state: its whole part at each change, the age of the lock state between, and back from it what
//! it has applied. The stream ends with the SVID that opened it.

use crate::app::App;
use crate::caller::NodeCaller;
use crate::connected::Stream;
use crate::error::Failure;
use crate::slice;
use crate::state::State;
use avouch_core::node;
use avouch_core::refusal::Denial;
use avouch_wire::issuer::{self, sync_down, sync_up};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;

type Down = mpsc::Sender<Result<issuer::SyncDown, Status>>;

#[tracing::instrument(name = "issuer.node.sync", skip_all, fields(node = %caller.node.name))]
pub(super) async fn sync(
    app: &Arc<App>,
    caller: NodeCaller,
    mut up: Streaming<issuer::SyncUp>,
) -> Result<ReceiverStream<Result<issuer::SyncDown, Status>>, Failure> {
    let no_hello = |why: &str| Failure::malformed("hello", why);
    let first = tokio::time::timeout(HELLO_DEADLINE, up.message()).await;
    let first = first.map_err(|_| no_hello("did not come in time"))?.map_err(|status| no_hello(status.message()))?;
    let Some(sync_up::Kind::Hello(hello)) = first.and_then(|message| message.kind) else {
        return Err(no_hello("must come first"));
    };
    let mut state = app.state();
    if hello.epoch == state.epoch && hello.version > state.version {
        // The node had it from another issuer, and shall not see this one go back behind it.
        app.beat().await?;
        state = app.state();
    }
    if hello.epoch == state.epoch && hello.version > state.version {
        tracing::warn!(held = hello.version, newest = state.version, "the node holds a version that is not there yet");
    }
    let stream = app.connected.open(&caller.node.id).ok_or(Failure::Busy("sync streams"))?;
    let (down, receiver) = mpsc::channel(BUFFERED);
    let app = Arc::clone(app);
    let serve = async move {
        if let Err(failure) = serve(&app, &caller, up, &stream, &down).await {
            // Nobody may be there to read it.
            let _ = down.try_send(Err(app.refuse(&failure)));
        }
    };
    tokio::spawn(serve.in_current_span());
    Ok(ReceiverStream::new(receiver))
}

async fn serve(
    app: &App,
    caller: &NodeCaller,
    mut up: Streaming<issuer::SyncUp>,
    stream: &Stream,
    down: &Down,
) -> Result<(), Failure> {
    let (mut states, mut beats) = (app.watch_state(), app.watch_beat());
    let mut sent = None;
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        if sent < Some(state.version) {
            let known = app.store.read().await?.node_by_id(&caller.node.id).await?.ok_or(Denial::Node)?;
            send(down, sync_down::Kind::State(slice::of(app, &state, &known))).await?;
            stream.heard(state.read_at);
            sent = Some(state.version);
            if let Err(denial) = node::admit(&known) {
                return farewell(app, &mut up, stream, &state, denial).await;
            }
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return Err(Failure::Stopping),
            () = down.closed() => return Ok(()),
            changed = states.changed() => if changed.is_err() { return Err(Failure::Stopping) },
            changed = beats.changed() => {
                if changed.is_err() {
                    return Err(Failure::Stopping);
                }
                if app.now() > caller.svid_ends {
                    return Err(Failure::NotANode);
                }
                let beat = *beats.borrow_and_update();
                // A beat of a version that was not sent yet says nothing about the one that was.
                if sent == Some(beat.version) {
                    let heartbeat = issuer::Heartbeat {
                        version: beat.version,
                        epoch: state.epoch.to_vec(),
                        trust_domain: app.trust_domain().to_string(),
                        database_time_ms: beat.database_time.0,
                    };
                    send(down, sync_down::Kind::Heartbeat(heartbeat)).await?;
                    stream.heard(beat.database_time);
                }
            }
            message = up.message() => match message {
                Ok(Some(issuer::SyncUp { kind: Some(sync_up::Kind::Applied(applied)) })) => {
                    // What was never sent cannot be in force there.
                    if applied.epoch == state.epoch && Some(applied.version) <= sent {
                        stream.applied(applied.version, app.clock.boot());
                    }
                }
                Ok(Some(_)) => return Err(Failure::malformed("applied", "is what is expected after the first message")),
                Ok(None) | Err(_) => return Ok(()),
            },
        }
    }
}

/// A node that has just been banned was sent the state that forbids everything: its word that this is in force there
/// is waited for, and the stream ends.
async fn farewell(
    app: &App,
    up: &mut Streaming<issuer::SyncUp>,
    stream: &Stream,
    state: &State,
    denial: Denial,
) -> Result<(), Failure> {
    let last = tokio::time::timeout(SEND_DEADLINE, up.message()).await;
    if let Ok(Ok(Some(issuer::SyncUp { kind: Some(sync_up::Kind::Applied(applied)) }))) = last
        && applied.epoch == state.epoch
        && applied.version <= state.version
    {
        stream.applied(applied.version, app.clock.boot());
    }
    Err(denial.into())
}

/// A node that does not take what it is sent is hung up on; it counts as not having heard.
async fn send(down: &Down, kind: sync_down::Kind) -> Result<(), Failure> {
    match down.send_timeout(Ok(issuer::SyncDown { kind: Some(kind) }), SEND_DEADLINE).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Failure::Busy("unread messages")),
    }
}

/// How long a stream may wait for its first message.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// How long a message may wait to be taken.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Messages that wait to be taken.
const BUFFERED: usize = 4;
