//! `import`: the secrets of a dotenv file are sealed, and placeholders stand for them in the file. A value is stored
//! first and leaves the file after, so at no moment is it in neither; one that cannot be stored stays where it is.

mod backup;
pub mod dotenv;
mod file;
mod propose;

use crate::args::Import;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Table, next, talk};
use crate::verbs::{Context, secret};
use crate::{presets, prompt, replies};
use avouch_wire::admin::ListCredentialsRequest;
use avouch_words::Secret;
use dotenv::Entry;
use file::EnvFile;
use propose::{Bind, Proposal, Proposer};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;

/// What has become of a variable.
struct Outcome<'a> {
    entry: &'a Entry,
    proposal: Proposal,
    result: Done,
}

/// How far it came.
enum Done {
    /// Nothing was to be done.
    Nothing,
    /// It would be sealed.
    Would,
    /// It is sealed.
    Sealed,
    /// The person said no.
    Declined,
    /// It could not be sealed, and stays.
    Failed(String),
}

/// Imports a file.
pub async fn run(context: &Context, order: &Import) -> Result<(), Failure> {
    if let Some(id) = &order.restore {
        return backup::restore(context, order, id).await;
    }
    let file = EnvFile::open(&order.file)?;
    if !order.dry_run && !order.yes && !std::io::stdin().is_terminal() {
        let failure = Failure::new(Exit::Usage, "there is no terminal to ask on");
        return Err(failure.then("Use --dry-run to see what would be done, and --yes to have it done."));
    }
    let parsed = dotenv::parse(file.content.expose());
    let mut proposer = Proposer::new(presets::all()?, taken(context, order).await?);
    let mut outcomes = Vec::new();
    for entry in &parsed.entries {
        outcomes.push(Outcome { entry, proposal: proposer.propose(entry)?, result: Done::Nothing });
    }
    if order.dry_run {
        outcomes.iter_mut().filter(|one| one.bind().is_some()).for_each(|one| one.result = Done::Would);
    } else {
        if order.backup && outcomes.iter().any(|one| one.bind().is_some()) {
            backup::seal(context, &file).await?;
        }
        seal(context, order, &mut outcomes).await?;
        rewrite(&file, &outcomes)?;
    }
    context.output.list(&table(&outcomes, &parsed.left))?;
    advise(order, &file, &outcomes);
    let failed = outcomes.iter().filter(|one| matches!(one.result, Done::Failed(_))).count();
    match failed {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Failure, format!("{count} values could not be sealed, and stay in the file"))),
    }
}

/// Names that credentials have already; a dry run goes without, where there is nobody to ask.
async fn taken(context: &Context, order: &Import) -> Result<BTreeSet<String>, Failure> {
    if order.replace {
        return Ok(BTreeSet::new());
    }
    let asked = async {
        let mut admin = context.admin().await?;
        let reply =
            admin.list_credentials(ListCredentialsRequest {}).await.map_err(|status| replies::failure(&status))?;
        Ok(reply.into_inner().credentials.into_iter().map(|credential| credential.name).collect())
    };
    match asked.await {
        Err(_) if order.dry_run => Ok(BTreeSet::new()),
        other => other,
    }
}

/// Asks and seals, one after another. A value that stands twice is asked for and sealed once.
async fn seal(context: &Context, order: &Import, outcomes: &mut [Outcome<'_>]) -> Result<(), Failure> {
    if outcomes.iter().all(|one| one.bind().is_none()) {
        return Ok(());
    }
    // Both ends are looked at before anything is asked.
    let (mut helper, mut admin) = (context.helper().await?, context.admin().await?);
    let mut settled: BTreeMap<String, bool> = BTreeMap::new();
    for one in outcomes {
        let Some(bind) = one.bind().cloned() else { continue };
        let name = bind.name.to_string();
        if let Some(sealed) = settled.get(&name) {
            one.result = if *sealed { Done::Sealed } else { Done::Declined };
            continue;
        }
        let question =
            format!("{}: seal it as {name}, for {} at {}?", one.entry.key, bind.title, bind.binding.spec().to);
        let asked = if order.yes { Ok(true) } else { prompt::agreed(&question) };
        let agreed = asked.map_err(|error| Failure::new(Exit::Failure, format!("cannot ask: {error}")))?;
        one.result = if agreed {
            // The message is the last that holds it; like every value that is put, it is wiped by the allocator.
            let value = one.entry.value.expose().to_vec();
            match secret::store(&mut helper, &mut admin, &bind.name, &bind.binding, value).await {
                Ok(_) => Done::Sealed,
                Err(failure) => Done::Failed(failure.to_string()),
            }
        } else {
            Done::Declined
        };
        settled.insert(name, matches!(one.result, Done::Sealed));
    }
    Ok(())
}

/// Puts placeholders where sealed values stood.
fn rewrite(file: &EnvFile, outcomes: &[Outcome<'_>]) -> Result<(), Failure> {
    let sealed: Vec<_> = outcomes
        .iter()
        .filter(|one| matches!(one.result, Done::Sealed))
        .filter_map(|one| Some((one.entry.place.clone(), one.bind()?)))
        .collect();
    if sealed.is_empty() {
        return Ok(());
    }
    let old = file.content.expose();
    // A buffer that grew would leave copies behind.
    let mut content =
        Vec::with_capacity(old.len() + sealed.iter().map(|(_, bind)| bind.placeholder.len()).sum::<usize>());
    let mut from = 0;
    for (place, bind) in &sealed {
        content.extend_from_slice(&old[from..place.start]);
        content.extend_from_slice(bind.placeholder.as_bytes());
        from = place.end;
    }
    content.extend_from_slice(&old[from..]);
    file.replace(&Secret::new(content)).map_err(|error| {
        let names: BTreeSet<_> = sealed.iter().map(|(_, bind)| bind.name.to_string()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let path = file.path().display();
        let failure =
            Failure::new(Exit::Failure, format!("the values are sealed as {names}, and {path} is as it was: {error}"));
        failure.then(format!("`avouch import {path} --replace` seals them again under these names and rewrites it."))
    })
}

impl Outcome<'_> {
    fn bind(&self) -> Option<&Bind> {
        match &self.proposal {
            Proposal::Bind(bind) => Some(bind),
            Proposal::Unknown(_) | Proposal::Unfit(_) | Proposal::Placeholder | Proposal::Plain => None,
        }
    }

    /// One word, and more.
    fn told(&self) -> (&'static str, String) {
        match (&self.proposal, &self.result) {
            (Proposal::Bind(bind), Done::Sealed) => ("sealed", format!("for {}", bind.title)),
            (Proposal::Bind(bind), Done::Would) => ("would be sealed", format!("for {}", bind.title)),
            (Proposal::Bind(_), Done::Failed(why)) => ("kept", format!("not sealed: {why}")),
            (Proposal::Bind(_), Done::Declined | Done::Nothing) => ("kept", "you said no".to_owned()),
            (Proposal::Unknown(command), _) => ("kept", format!("where may it go? {command}")),
            (Proposal::Unfit(why), _) => ("kept", (*why).to_owned()),
            (Proposal::Placeholder, _) => ("placeholder", "sealed before".to_owned()),
            (Proposal::Plain, _) => ("plain", "no secret by its name or shape".to_owned()),
        }
    }
}

/// A row for each line that says anything, in the file's order.
fn table(outcomes: &[Outcome<'_>], left: &[dotenv::Left]) -> Table {
    let mut rows: Vec<_> = outcomes
        .iter()
        .map(|one| {
            let (state, about) = one.told();
            let credential = one.bind().map(|bind| bind.name.to_string()).unwrap_or_default();
            (one.entry.line, one.entry.key.clone(), state, credential, about)
        })
        .collect();
    rows.extend(
        left.iter()
            .map(|one| (one.line, one.key.clone().unwrap_or_default(), "not read", String::new(), one.why.to_owned())),
    );
    rows.sort_by_key(|(line, ..)| *line);
    let mut table = Table::new(&["line", "name", "state", "credential", "about"]);
    for (line, key, state, credential, about) in rows {
        let line = Cell::number(u64::try_from(line).unwrap_or(u64::MAX));
        table.row(vec![line, Cell::text(key), Cell::text(state), Cell::text(credential), Cell::text(about)]);
    }
    table
}

fn advise(order: &Import, file: &EnvFile, outcomes: &[Outcome<'_>]) {
    let path = file.path().display();
    if let Some(mode) = file.open_to_others().filter(|_| outcomes.iter().any(|one| one.bind().is_some())) {
        talk(format!("{path} has mode {mode:04o}: others could read it, so take its values for known to them."));
    }
    if order.dry_run {
        talk("Nothing was changed.");
        return;
    }
    let first = outcomes.iter().find(|one| matches!(one.result, Done::Sealed)).and_then(|one| one.bind());
    if let Some(bind) = first {
        talk(format!(
            "What {path} held before may still be in version control, in copies and on the disk: where others could \
             see it, make new keys at the service and put those."
        ));
        next(format!("avouch grant create --agent AGENT --credential {}", bind.name));
    }
}
