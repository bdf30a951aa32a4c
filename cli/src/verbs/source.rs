//! `source list|test`.

use super::Context;
use crate::args::{SourceTest, SourceVerb};
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Table, next, shown};
use crate::progress;
use crate::replies;
use avouch_wire::local::{Found, ListSourcesRequest, Source, TestSourceReply, TestSourceRequest, Try};
use serde_json::{Value, json};

/// Lists the sources, or tries one.
pub async fn run(context: &Context, verb: SourceVerb) -> Result<(), Failure> {
    match verb {
        SourceVerb::List => list(context).await,
        SourceVerb::Test(test) => self::test(context, &test).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let reply = context.helper().await?.list_sources(ListSourcesRequest {}).await;
    let sources = reply.map_err(|status| replies::failure(&status))?.into_inner().sources;
    let mut table = Table::new(&["name", "kind", "place", "login", "audience", "state"]);
    for source in &sources {
        let Source { name, kind, place, login, audience, state } = source;
        table.row([name, kind, place, login, audience, state].map(Cell::text).into());
    }
    context.output.list(&table)?;
    match sources.iter().find(|source| source.state == UNRESERVED) {
        Some(source) => next(reserve(source)),
        None if sources.len() > 1 => next("avouch source test NAME"),
        None => {}
    }
    Ok(())
}

async fn test(context: &Context, test: &SourceTest) -> Result<(), Failure> {
    let named = |name: &Option<_>| name.as_ref().map(ToString::to_string).unwrap_or_default();
    let request = TestSourceRequest {
        source: test.name.to_string(),
        agent: named(&test.agent),
        credential: named(&test.credential),
    };
    let mut helper = context.helper().await?;
    let tried = progress::during(TRYING, async { helper.test_source(request).await });
    let reply = tried.await.map_err(|status| replies::failure(&status))?.into_inner();
    context.output.tell(|| text(&reply), || as_json(&reply))?;
    match reply.passed {
        true => Ok(()),
        false => Err(what_is_wrong(&reply)),
    }
}

/// What lets others in counts more than that the agent is not let in.
fn what_is_wrong(reply: &TestSourceReply) -> Failure {
    let source = reply.source.clone().unwrap_or_default();
    let (name, agent) = (&source.name, &reply.agent);
    let let_in = |tried: &Option<Try>| tried.as_ref().is_some_and(|tried| tried.outcome == LET_IN);
    let failed = |sentence: String| Failure::new(Exit::Failure, sentence);
    if let_in(&reply.as_workload) {
        let sentence = format!("{name} lets {agent} in with what it gets from the Workload API, past the broker");
        return failed(sentence).then(reply.remedy.clone());
    }
    if let_in(&reply.as_probe) {
        let sentence = format!("{name} takes anybody for {agent}: what it is entered by is bound to no subject");
        return failed(sentence).then(reply.remedy.clone());
    }
    let all = [&reply.as_agent, &reply.as_probe, &reply.as_workload];
    match all.into_iter().flatten().find(|tried| tried.outcome == NOT_TRIED) {
        Some(tried) if tried.fault == UNRESERVED => {
            failed(format!("{name} is left alone: {}", tried.reason)).then(reserve(&source))
        }
        Some(tried) => failed(format!("{name} could not be tried to the end: {}", tried.reason))
            .then("Look at the helper's log, and see `avouch status`."),
        None => match reply.as_agent.as_ref().and_then(|tried| tried.found.as_ref()) {
            Some(found) => {
                failed(format!("{name} lets {agent} in and gives nothing for {}: {}", reply.credential, found.reason))
                    .then("Compare the reference with what is there: `avouch credential list`.")
            }
            None => failed(format!("{name} does not let {agent} in"))
                .then("Compare its role with docs/sources.md; its own log says why."),
        },
    }
}

fn reserve(source: &Source) -> String {
    format!("add {:?} to reserved_audiences in the issuer's settings, and start it again", source.audience)
}

fn text(reply: &TestSourceReply) -> String {
    let source = reply.source.clone().unwrap_or_default();
    let mut lines = vec![format!("{}: {} {}, login {}", source.name, source.kind, source.place, source.login)];
    let tries = [
        (format!("as {}", reply.agent), reply.spiffe_id.as_str(), &reply.as_agent),
        ("as a probe".to_owned(), "a brokered identity that nothing was granted to", &reply.as_probe),
        ("as the workload".to_owned(), "what the agent gets from the Workload API", &reply.as_workload),
    ];
    for (who, with, tried) in tries {
        let Some(tried) = tried else { continue };
        lines.push(format!("{who:<16} {}  ({with})", outcome(tried)));
        if let Some(found) = &tried.found {
            lines.push(format!("{:<16} {} {}: {}", "", reply.credential, reply.reference, self::found(found)));
        }
    }
    if reply.as_probe.is_none() {
        lines.push(format!("{:<16} not told apart: what the node has opens it, and grants alone decide", "others"));
    }
    lines.into_iter().map(|line| shown(line.trim_end()) + "\n").collect()
}

fn outcome(tried: &Try) -> String {
    let seen = match tried.seen_as.as_str() {
        "" => String::new(),
        seen => format!(" as {seen}"),
    };
    let rights = match tried.rights.is_empty() {
        true => String::new(),
        false => format!(" with {}", tried.rights.join(", ")),
    };
    match tried.outcome.as_str() {
        LET_IN => format!("let in{seen}{rights}"),
        "refused" => "refused".to_owned(),
        _ => format!("not tried: {}", tried.reason),
    }
}

fn found(found: &Found) -> String {
    match (found.fault.as_str(), found.on_demand) {
        ("", true) => "would be made for each call".to_owned(),
        ("", false) if found.version.is_empty() => format!("{} bytes", found.bytes),
        ("", false) => format!("{} bytes, version {}", found.bytes, found.version),
        _ => found.reason.clone(),
    }
}

fn as_json(reply: &TestSourceReply) -> Value {
    let source = reply.source.clone().unwrap_or_default();
    let found = |found: &Found| {
        json!({
            "bytes": (found.fault.is_empty() && !found.on_demand).then_some(found.bytes),
            "version": some(&found.version),
            "on_demand": found.on_demand,
            "fault": some(&found.fault),
        })
    };
    let tried = |tried: &Option<Try>| {
        tried.as_ref().map(|tried| {
            json!({
                "outcome": tried.outcome,
                "fault": some(&tried.fault),
                "seen_as": some(&tried.seen_as),
                "rights": tried.rights,
                "found": tried.found.as_ref().map(found),
            })
        })
    };
    json!({
        "source": source.name,
        "kind": source.kind,
        "place": source.place,
        "login": source.login,
        "audience": some(&source.audience),
        "state": source.state,
        "agent": reply.agent,
        "instance": reply.instance,
        "id": reply.spiffe_id,
        "credential": some(&reply.credential),
        "reference": some(&reply.reference),
        "as_agent": tried(&reply.as_agent),
        "as_probe": tried(&reply.as_probe),
        "as_workload": tried(&reply.as_workload),
        "remedy": some(&reply.remedy),
        "passed": reply.passed,
    })
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

const LET_IN: &str = "let_in";
const NOT_TRIED: &str = "not_tried";
const UNRESERVED: &str = "audience_not_reserved";
const TRYING: &str = "The source is being entered";

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(outcome: &str) -> Option<Try> {
        let (fault, reason) =
            if outcome == NOT_TRIED { ("unavailable", "the source is not available") } else { ("", "") };
        Some(Try {
            outcome: outcome.to_owned(),
            fault: fault.to_owned(),
            reason: reason.to_owned(),
            ..Default::default()
        })
    }

    fn reply(agent: &str, probe: &str, workload: &str) -> TestSourceReply {
        TestSourceReply {
            source: Some(Source { name: "vault".to_owned(), audience: "https://v".to_owned(), ..Default::default() }),
            agent: "researcher".to_owned(),
            credential: "ci".to_owned(),
            as_agent: tried(agent),
            as_probe: tried(probe),
            as_workload: tried(workload),
            remedy: "bound_subject=X".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn the_worst_is_said_and_what_mends_it() {
        for (reply, sentence, action) in [
            (reply(LET_IN, LET_IN, LET_IN), "past the broker", "bound_subject"),
            (reply(LET_IN, LET_IN, "refused"), "bound to no subject", "bound_subject"),
            (reply("refused", LET_IN, "refused"), "bound to no subject", "bound_subject"),
            (reply(LET_IN, NOT_TRIED, "refused"), "could not be tried to the end: the source is not available", "log"),
            (reply("refused", "refused", "refused"), "does not let researcher in", "role"),
        ] {
            let said = what_is_wrong(&reply).to_string();
            assert!(said.contains(sentence) && said.contains(action), "{said}");
        }
        let mut unreserved = reply(NOT_TRIED, NOT_TRIED, NOT_TRIED);
        for tried in [&mut unreserved.as_agent, &mut unreserved.as_probe] {
            tried.as_mut().unwrap().fault = UNRESERVED.to_owned();
        }
        assert!(what_is_wrong(&unreserved).to_string().contains("reserved_audiences"));
        let mut missing = reply(LET_IN, "refused", "refused");
        let found = Found { fault: "missing".to_owned(), reason: "there is none".to_owned(), ..Default::default() };
        missing.as_agent.as_mut().unwrap().found = Some(found);
        assert!(what_is_wrong(&missing).to_string().contains("gives nothing for ci: there is none"));
    }
}
