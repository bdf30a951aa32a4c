//! `run` without `--agent`: under `avouch dev` the agent is named after its program. Once a person has said yes it is
//! registered, and may use the credentials that there are; later ones have to be granted.

use crate::args;
use crate::failure::{Exit, Failure};
use crate::output::{next, quote, talk};
use crate::progress::{self, SETTLING};
use crate::verbs::{Context, agent};
use crate::{dev, prompt, replies};
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::admin::{
    CreateAgentRequest, CreateGrantRequest, ListAgentsRequest, ListCredentialsRequest, ListGrantsRequest, StatusRequest,
};
use avouch_wire::local;
use avouch_wire::tonic::transport::Channel;
use avouch_words::Name;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

/// The agent to run as.
pub fn of(context: &Context, order: &args::Run) -> Result<Name, Failure> {
    if let Some(agent) = &order.agent {
        return Ok(agent.clone());
    }
    let name = after(&order.command).ok_or_else(|| {
        Failure::new(Exit::Usage, "the program's name makes no agent's name").then("Name the agent with --agent.")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failure, format!("cannot start a runtime: {error}")))?;
    // Nothing of it is left when the session begins: signals are taken for the whole process then.
    runtime.block_on(register(context, order, &name))?;
    Ok(name)
}

async fn register(context: &Context, order: &args::Run, name: &Name) -> Result<(), Failure> {
    let unnamed = || {
        Failure::new(Exit::Usage, "there is no --agent, and no `avouch dev` runs here that could make one")
            .then("Name the agent with --agent; `avouch agent list` shows those there are.")
    };
    let mut admin = context.admin().await.map_err(|_| unnamed())?;
    let status = admin.status(StatusRequest {}).await.map_err(|status| replies::failure(&status))?.into_inner();
    if status.trust_domain != dev::TRUST_DOMAIN {
        return Err(unnamed());
    }
    let agents = admin.list_agents(ListAgentsRequest {}).await.map_err(|status| replies::failure(&status))?;
    let known = agents.into_inner().agents.iter().any(|agent| agent.name == name.as_str());
    let reply = admin.list_credentials(ListCredentialsRequest {}).await.map_err(|status| replies::failure(&status))?;
    let credentials: Vec<String> = reply.into_inner().credentials.into_iter().map(|one| one.name).collect();
    if known {
        return remind(&mut admin, name, &credentials).await;
    }
    let uid = rustix::process::geteuid().as_raw();
    let owner = owner().unwrap_or(status.operator);
    let selectors = vec![format!("session:agent:{name}"), format!("session:uid:{uid}")];
    let mut commands = vec![format!(
        "avouch agent create {name} --owner {} --selector {} --selector {}",
        quote(&owner),
        selectors[0],
        selectors[1]
    )];
    commands.extend(credentials.iter().map(|credential| grant(name, credential)));
    if !order.yes && !agreed(name, &owner, &commands)? {
        return Err(Failure::new(Exit::Usage, "no agent was registered").then("Name one with --agent."));
    }
    let nodes = vec![agent::this_node(context).await?];
    let request = CreateAgentRequest { name: name.to_string(), owner, nodes, selectors, ..Default::default() };
    progress::during(SETTLING, admin.create_agent(request)).await.map_err(|status| replies::failure(&status))?;
    for credential in &credentials {
        let request = CreateGrantRequest { agent: name.to_string(), credential: credential.clone() };
        admin.create_grant(request).await.map_err(|status| replies::failure(&status))?;
    }
    let may = match &credentials[..] {
        [] => "may use nothing yet".to_owned(),
        some => format!("may use {}", some.join(", ")),
    };
    talk(format!("{name} is registered, for sessions of uid {uid} on this node, and {may}."));
    match &credentials[..] {
        [] => next("avouch secret put NAME --preset NAME --value-stdin"),
        _ => talk("`avouch grant list` shows what it may use, `avouch grant delete ID` takes it back."),
    }
    known_to_the_helper(context, &mut admin).await
}

/// Of credentials that were put after the agent was registered it has none unless somebody says so.
async fn remind(admin: &mut AdminClient<Channel>, name: &Name, credentials: &[String]) -> Result<(), Failure> {
    let grants = admin.list_grants(ListGrantsRequest {}).await.map_err(|status| replies::failure(&status))?;
    let has_one = grants.into_inner().grants.iter().any(|grant| grant.agent == name.as_str());
    if let Some(credential) = credentials.first().filter(|_| !has_one) {
        talk(format!("{name} may use no credential. One is granted by: {}", grant(name, credential)));
    }
    Ok(())
}

/// What was registered just now is of no use before the helper has heard of it.
async fn known_to_the_helper(context: &Context, admin: &mut AdminClient<Channel>) -> Result<(), Failure> {
    let reply = admin.status(StatusRequest {}).await.map_err(|status| replies::failure(&status))?;
    let newest = reply.into_inner().state_version;
    let mut helper = context.helper().await?;
    for _ in 0..TRIES {
        let held = helper.status(local::StatusRequest {}).await.map_err(|status| replies::failure(&status))?;
        if held.into_inner().state_version >= newest {
            return Ok(());
        }
        tokio::time::sleep(STEP).await;
    }
    Err(Failure::new(Exit::Timeout, "the helper has not heard of the new agent").then("See `avouch status`."))
}

fn grant(name: &Name, credential: &str) -> String {
    format!("avouch grant create --agent {name} --credential {credential}")
}

/// Asks on the terminal; where there is none, says what to type instead.
fn agreed(name: &Name, owner: &str, commands: &[String]) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let sentence = format!("there is no agent {name} yet, and nobody here who could be asked");
        let instead = format!("Add --yes, or register it first:\n  {}", commands.join("\n  "));
        return Err(Failure::new(Exit::Usage, sentence).then(instead));
    }
    let may = if commands.len() > 1 { ", and may then use what is here" } else { "" };
    talk(format!("There is no agent {name} yet. It would be registered for {owner}{may}:"));
    for command in commands {
        talk(format!("  {command}"));
    }
    prompt::agreed("Do that?").map_err(|error| Failure::new(Exit::Usage, format!("cannot ask: {error}")))
}

/// Who is at the keyboard, if the name is fit for an owner.
fn owner() -> Option<String> {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok()?;
    let fits = !user.is_empty() && user.len() <= LONGEST_OWNER && user.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(user)
}

/// The name that a command gives its agent: the program's, or the script's where the program only reads one.
fn after(command: &[OsString]) -> Option<Name> {
    let mut words = command.iter();
    let program = file_name(words.next()?)?;
    let script = words.next().filter(|word| !word.as_encoded_bytes().starts_with(b"-"));
    match script.filter(|_| INTERPRETERS.contains(&program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')))
    {
        Some(script) => named(&file_name(script)?),
        None => named(&program),
    }
}

fn file_name(word: &OsStr) -> Option<String> {
    Path::new(word).file_name().map(|name| name.to_string_lossy().into_owned())
}

/// A file's name as far as it can be a name here, without its ending.
fn named(file: &str) -> Option<Name> {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let fit = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '_' | '.') => c,
        _ => '-',
    };
    let text: String = stem.chars().map(fit).collect();
    let text = text.trim_matches(['-', '_', '.']);
    Name::parse(&text[..text.len().min(Name::MAX)]).ok()
}

/// Programs that are named after what they read, without their versions.
const INTERPRETERS: [&str; 12] =
    ["python", "node", "deno", "bun", "ruby", "perl", "php", "sh", "bash", "zsh", "tsx", "ts-node"];
/// How often, and how many times, the helper is asked what it has heard: for 5 s.
const STEP: Duration = Duration::from_millis(10);
const TRIES: u32 = 500;
/// The longest owner, in bytes.
const LONGEST_OWNER: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_named_after_its_program_or_its_script() {
        for (line, expected) in [
            ("claude", Some("claude")),
            ("/usr/local/bin/codex exec x", Some("codex")),
            ("python3.12 /srv/My_Agent.py --fast", Some("my_agent")),
            ("python -m http.server", Some("python")),
            ("node ./src/index.mjs", Some("index")),
            ("sh -c true", Some("sh")),
            ("./Été!.sh", Some("t")),
            ("curl https://api.example.test/x.py", Some("curl")),
            ("./---", None),
        ] {
            let command: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(after(&command).as_ref().map(Name::as_str), expected, "{line}");
        }
        assert_eq!(after(&[OsString::from("x".repeat(200))]).map(|name| name.as_str().len()), Some(Name::MAX));
    }
}
