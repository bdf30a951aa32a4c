//! `run`: a session for a program. Works on one thread and without a runtime, as signals are taken for the whole
//! process, and the helper attests the process that speaks.

mod agent;
mod talk;
mod variables;
mod walls;

use crate::endpoints::Socket;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::verbs::Context;
use avouch_contain::{
    Hardened, Launch, LaunchError, Reach, SessionEnvironment, Watch, child_environment, harden, launch, prepare,
};
use avouch_wire::local::{SessionOpened, SessionTerms};
use avouch_words::Name;
use serde_json::json;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use talk::Talk;
use walls::Work;

/// Opens a session for the agent, runs the program in it and returns the program's exit code.
pub fn run(context: &Context, order: crate::args::Run) -> Result<u8, Failure> {
    if order.explain {
        return explain(context, &order).map(|()| 0);
    }
    let agent = agent::of(context, &order)?;
    let hardened = harden().map_err(|error| failed("protect this process", error))?;
    let socket = context.directories.find(Socket::Session)?;
    let mut talk = Talk::begin(&socket)?;
    let terms = talk.hello(&agent)?;
    match walls::profile(&order, &terms)? {
        Some(profile) => contained(&hardened, talk, &agent, order, &terms, profile),
        None => uncontained(&hardened, talk, &agent, order),
    }
}

/// Says what the program would reach. A helper that does not answer has no terms: the session would be contained.
fn explain(context: &Context, order: &crate::args::Run) -> Result<(), Failure> {
    let asked = || -> Result<SessionTerms, Failure> {
        let agent = match &order.agent {
            Some(agent) => agent.clone(),
            None => Name::parse(NOBODY).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?,
        };
        Talk::begin(&context.directories.find(Socket::Session)?)?.hello(&agent)
    };
    let terms = asked().unwrap_or_else(|_| SessionTerms { contain_required: true, ..SessionTerms::default() });
    let Some(profile) = walls::profile(order, &terms)? else {
        let sentence = walls::not_contained();
        let json = || json!({"contained": false, "profile": null, "about": sentence, "reaches": []});
        return context.output.tell(|| format!("{sentence}\n"), json);
    };
    let scrubbed = avouch_contain::scrub(std::env::vars_os(), &order.env);
    let contain = walls::settle(profile, &Work::find()?, order, &terms);
    let row = |one: Reach| json!({"about": one.about, "how": one.how, "what": one.what});
    let json = || {
        let reaches: Vec<_> = avouch_contain::reach(&contain, &scrubbed).into_iter().map(row).collect();
        let (profile, about) = (contain.profile.name(), contain.profile.about());
        json!({"contained": true, "profile": profile, "about": about, "reaches": reaches})
    };
    context.output.tell(|| format!("{}\n", avouch_contain::explain(&contain, &scrubbed)), json)
}

fn uncontained(hardened: &Hardened, mut talk: Talk, agent: &Name, order: crate::args::Run) -> Result<u8, Failure> {
    if order.no_contain {
        output::talk(format!("avouch: {}", walls::not_contained()));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| failed("listen on loopback", error))?;
    let proxy = listener.local_addr().map_err(|error| failed("listen on loopback", error))?;
    let opened = talk.open(agent, None, &[listener.as_fd()])?;
    // The helper has its own; as long as ours were open, a proxy port would outlive the session.
    drop(listener);
    if opened.listener_alone && rustix::process::geteuid().is_root() {
        output::talk(
            "avouch: this session runs as uid 0, so the kernel cannot tell its connections from others'; \
             its listener alone guards it",
        );
    }
    let session = SessionEnvironment {
        workload_socket: PathBuf::from(&opened.workload_socket),
        proxy,
        bundle_file: PathBuf::from(&opened.bundle_file),
        extra_file: PathBuf::from(&opened.extra_file),
    };
    let environment = child_environment(&session, std::env::vars_os());
    launch(hardened, what(order.command, environment, &opened, talk)?).map_err(lost)
}

fn contained(
    hardened: &Hardened,
    mut talk: Talk,
    agent: &Name,
    order: crate::args::Run,
    terms: &SessionTerms,
    profile: avouch_contain::Profile,
) -> Result<u8, Failure> {
    let name = profile.name().to_owned();
    let scrubbed = avouch_contain::scrub(std::env::vars_os(), &order.env);
    let work = Work::find()?;
    let contain = walls::settle(profile, &work, &order, terms);
    let prepared = prepare(hardened, contain).map_err(|error| walls::none(&error))?;
    let opened = talk.open(agent, Some(&name), &[prepared.listener(), prepared.init()])?;
    if !opened.contained {
        return Err(Failure::new(Exit::Failure, "the helper does not know of contained sessions")
            .then("Use a helper of the same version, or --no-contain."));
    }
    work.say();
    walls::say(&scrubbed.secrets, prepared.lacking());
    let files = walls::files(&opened)?;
    let environment = child_environment(&walls::environment(prepared.proxy()), scrubbed.environment.into_iter());
    let what = what(order.command, environment, &opened, talk)?;
    prepared.launch(what, files).map_err(lost)
}

fn what(
    command: Vec<OsString>,
    mut environment: Vec<(OsString, OsString)>,
    opened: &SessionOpened,
    talk: Talk,
) -> Result<Launch, Failure> {
    variables::set(&mut environment, opened);
    let mut command = command.into_iter();
    let program = command.next().ok_or_else(|| Failure::new(Exit::Usage, "there is no command to run"))?;
    let gone = "the helper has ended this session: from now on calls get no credentials and no identity";
    Ok(Launch {
        program,
        args: command.collect(),
        environment,
        watch: Some(Watch { connection: talk.into(), when_gone: gone.to_owned() }),
    })
}

fn failed(what: &str, error: io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("cannot {what}: {error}"))
}

fn lost(error: LaunchError) -> Failure {
    Failure::new(Exit::Failure, error.to_string())
}

/// Asks for terms where no agent is named.
const NOBODY: &str = "nobody";
