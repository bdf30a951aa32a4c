//! Calls of agents that were refused lately.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::entry::{Body, Entry};
use avouch_audit::record::{HelperEvent, Outcome, Request};
use avouch_store::Read;
use avouch_wire::admin;
use avouch_words::Ulid;

#[tracing::instrument(name = "admin.refusal.list", skip_all)]
pub(super) async fn list_refusals(
    app: &App,
    _operator: Operator,
    request: admin::ListRefusalsRequest,
) -> Result<admin::ListRefusalsReply, Failure> {
    let limit = if request.limit == 0 { USUAL } else { request.limit.min(MOST) };
    let mut read = app.store.read().await?;
    let mut refusals = Vec::new();
    for entry in read.refusals(limit).await? {
        let Ok(entry) = Entry::decode(&entry.bytes) else { continue };
        refusals.extend(refusal(&mut read, entry).await?);
    }
    Ok(admin::ListRefusalsReply { refusals })
}

async fn refusal(read: &mut Read, entry: Entry) -> Result<Option<admin::Refusal>, Failure> {
    let Body::Record(record) = entry.body else { return Ok(None) };
    let told = |decision: Ulid, agent: String, code: String, reason: String, request: Option<Request>| {
        let part = |of: fn(&Request) -> String| request.as_ref().map(of).unwrap_or_default();
        admin::Refusal {
            decision: decision.to_string(),
            time_ms: record.time.millis().0,
            node_id: entry.writer.to_string(),
            agent,
            code,
            reason,
            method: part(|request| request.method.as_str().to_owned()),
            origin: part(|request| format!("{}://{}:{}", request.scheme.as_str(), request.host.as_str(), request.port)),
            path: part(|request| request.path.as_str().to_owned()),
        }
    };
    Ok(match record.event {
        HelperEvent::Denied { decision, caller, refusal, reason, request, .. } => {
            let (code, reason) = (refusal.as_str().to_owned(), reason.as_str().to_owned());
            Some(told(decision, caller.agent.to_string(), code, reason, request))
        }
        HelperEvent::Outcome { decision, agent, outcome: Outcome::Error { kind, .. }, .. } => {
            let request = intent(read, decision).await?;
            Some(told(decision, agent.to_string(), kind.as_str().to_owned(), String::new(), request))
        }
        _ => None,
    })
}

/// What an outcome is the end of.
async fn intent(read: &mut Read, decision: Ulid) -> Result<Option<Request>, Failure> {
    let entries = read.entries_about(decision, 1).await?;
    Ok(entries.first().and_then(|entry| match Entry::decode(&entry.bytes).ok()?.body {
        Body::Record(record) => match record.event {
            HelperEvent::Intent { request, .. } => Some(request),
            _ => None,
        },
        Body::Event(_) => None,
    }))
}

/// How many are told to who does not say.
const USUAL: u32 = 10;
/// How many are told at most.
const MOST: u32 = 1000;
