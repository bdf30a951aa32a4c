//! Step 7: the calls that are not allowed.

use super::{Actors, PATH, expect, get};
use crate::demo::order::{Order, Report};
use crate::demo::world::Tool;
use crate::failure::{Exit, Failure};

/// Has both agents make calls that must not reach the tool.
pub(super) async fn refusals(actors: &mut Actors, tool: &Tool) -> Result<((), String), Failure> {
    let before = tool.log.seen().len();
    let Actors { researcher, intruder, witness, .. } = actors;
    let report = witness.hear(intruder.order(&get(&tool.http(""))).await?);
    let refusal = refused(&report)?;
    let tls = witness.hear(intruder.order(&get(&tool.https(""))).await?);
    refused(&tls)?;
    let post = Order::Call { method: "POST".to_owned(), url: tool.http("") };
    // The same tool under a name that nothing is bound to: it would answer.
    let elsewhere = format!("http://localhost:{}{PATH}", tool.plain.port());
    for order in [get(&tool.http("/other")), get(&elsewhere), post, get(&tool.http("?unlisted=1"))] {
        refused(&witness.hear(researcher.order(&order).await?))?;
    }
    let after = tool.log.seen().len();
    expect(after == before, &format!("the tool saw {} of the refused calls", after - before))?;
    witness.saw_none_of(&tool.secrets())?;
    let line = format!(
        "The intruder's same calls were refused (\"{} {}\", retry: {}), and so were the researcher's to another path, \
         host, method and query; the tool saw none of them.",
        refusal.message, refusal.action, refusal.retry
    );
    Ok(((), line))
}

/// A refusal as a model reads it.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Refusal {
    code: String,
    message: String,
    action: String,
    retry: String,
    decision: String,
}

#[derive(Debug, serde::Deserialize)]
struct Refused {
    error: Refusal,
}

/// The refusal that a report tells of; anything else is a failure.
pub(super) fn refused(report: &Report) -> Result<Refusal, Failure> {
    let parsed: Result<Refused, _> = serde_json::from_str(&report.body);
    let Ok(Refused { error }) = parsed else {
        let sentence = format!("a call was not refused as it should be: {} {}", report.status, report.body);
        return Err(Failure::new(Exit::Failure, sentence));
    };
    let complete = [&error.code, &error.message, &error.action, &error.retry, &error.decision];
    expect(report.status >= 400 && complete.iter().all(|text| !text.is_empty()), "a refusal says too little")?;
    Ok(error)
}
