//! Step 6: the calls that are allowed, and what the agents saw of the secrets: nothing.

use super::{Actors, PATH, expect, get};
use crate::demo::order::Order;
use crate::demo::world::Tool;
use crate::demo::{canary, client};
use crate::failure::{Exit, Failure};

/// Has the researcher call the tool every way, and searches all that the agents had or read.
pub(super) async fn calls(actors: &mut Actors, tool: &Tool) -> Result<((), String), Failure> {
    let Actors { researcher, intruder, witness, .. } = actors;
    for url in [tool.http(""), tool.https(""), tool.http("?mode=echo"), tool.https("?mode=echo")] {
        let report = witness.hear(researcher.order(&get(&url)).await?);
        expect(report.status == 200, &format!("{url} was answered with {}: {}", report.status, report.body))?;
        let wanted = if url.ends_with("echo") { "that was all" } else { "the tool has done it" };
        expect(report.body.contains(wanted), &format!("{url} was answered with {}", report.body))?;
    }
    let seen = tool.log.seen();
    expect(
        seen.len() == 4 && seen.iter().all(|one| one.authorized),
        "the tool was not shown its credential each time",
    )?;
    for agent in [researcher, intruder] {
        witness.hear(agent.order(&Order::Own).await?);
    }
    witness.saw_none_of(&tool.secrets())?;
    let forms = gives_away(tool).await?;
    let line = format!(
        "The researcher's ordinary client called the tool by HTTP_PROXY and, intercepted, by HTTPS_PROXY, and the tool \
         was shown its credential each time. Asked directly the tool's echo gives the secret away in {forms} spellings; \
         in the {} bytes that the agents had or read there is none of them.",
        witness.size()
    );
    Ok(((), line))
}

/// Asks the tool past avouch, with the credential in hand: the spellings that come back show that the search of
/// the agent's bytes could have found something.
async fn gives_away(tool: &Tool) -> Result<usize, Failure> {
    let (url, secret) = (tool.plain, tool.plain_secret.expose().to_vec());
    let value = String::from_utf8_lossy(&secret).into_owned();
    let answer = tokio::task::spawn_blocking(move || client::ask_directly(url, &format!("{PATH}?mode=echo"), &value));
    let answer = answer.await.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    let answer = answer.map_err(|error| Failure::new(Exit::Failure, format!("the tool did not answer: {error}")))?;
    let body = String::from_utf8_lossy(&answer).into_owned();
    let found = canary::spellings(&secret).iter().filter(|(_, form)| body.contains(form.as_str())).count();
    expect(canary::find(body.as_bytes(), &secret).is_some() && found >= 10, "the tool's echo gives nothing away")?;
    Ok(found)
}
