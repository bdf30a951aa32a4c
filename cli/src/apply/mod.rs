//! `apply`: agents, credentials and grants as files say. Everything is read and checked before anything is asked of the
//! issuer, which makes all of it in one transaction or nothing.

mod read;
mod resource;
mod tree;

use crate::args::Apply;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::output::{Cell, Table, data, next, talk};
use crate::progress::{self, SETTLING};
use crate::replies;
use crate::verbs::Context;
use avouch_wire::admin::{self, ApplyReply, ApplyRequest};
use resource::{Resource, read};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Applies, or prints the schema.
pub async fn run(context: &Context, order: &Apply) -> Result<(), Failure> {
    if order.schema {
        return data(SCHEMA);
    }
    let mut faults = Vec::new();
    let mut resources = Vec::new();
    for (name, text) in texts(&order.file)? {
        resources.extend(read(&name, &text, &mut faults));
    }
    if !faults.is_empty() {
        return Err(refused(faults));
    }
    if resources.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is no document in it").then("See `avouch apply --help`."));
    }
    let wanted = resources.iter().map(|resource| admin::Resource { kind: Some(resource.kind.clone()) }).collect();
    let request = ApplyRequest { resources: wanted, dry_run: order.dry_run };
    let mut admin = context.admin().await?;
    let reply = progress::during(SETTLING, admin.apply(request)).await;
    let reply = reply.map_err(|status| replies::failure(&status))?.into_inner();
    if !reply.faults.is_empty() {
        return Err(refused(located(&resources, &reply)));
    }
    tell(context, order, &resources, &reply)
}

fn tell(context: &Context, order: &Apply, resources: &[Resource], reply: &ApplyReply) -> Result<(), Failure> {
    let mut table = Table::new(&["action", "kind", "name", "fields", "from"]);
    for (resource, applied) in resources.iter().zip(&reply.applied) {
        table.row(vec![
            Cell::text(&applied.action),
            Cell::text(resource.kind_name()),
            Cell::text(resource.name()),
            Cell::list(&applied.fields),
            Cell::text(resource.place.to_string()),
        ]);
    }
    context.output.list(&table)?;
    let count = |action: &str| reply.applied.iter().filter(|applied| applied.action == action).count();
    let (made, changed, same) = (count("create"), count("change"), count("unchanged"));
    let version = reply.version;
    match (order.dry_run, made + changed) {
        (_, 0) => talk(format!("All {same} are as written; nothing is to be done.")),
        (true, _) => talk(format!("{made} to be made, {changed} to be changed, {same} as written. Nothing was done.")),
        (false, _) => talk(format!("{made} made, {changed} changed, {same} as written (state version {version}).")),
    }
    if order.dry_run && made + changed > 0 {
        let files: Vec<_> = order.file.iter().map(|file| format!("-f {}", file.display())).collect();
        next(format!("avouch apply {}", files.join(" ")));
    }
    Ok(())
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, or `-`.
    pub file: String,
    /// From 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What is wrong, and where. It never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The field, as `spec.owner`; empty for the whole document.
    pub path: String,
    /// What is wrong with it.
    pub sentence: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{}: {}", self.place, self.sentence),
            path => write!(f, "{}: `{path}`: {}", self.place, self.sentence),
        }
    }
}

/// All of them, in the order of the files. Nothing was applied.
fn refused(mut faults: Vec<Fault>) -> Failure {
    faults.sort_by(|one, other| one.place.cmp(&other.place));
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let sentence = format!("nothing was applied:\n  {}", lines.join("\n  "));
    Failure::new(Exit::Usage, sentence).then("See `avouch apply --schema` for what a document may say.")
}

/// The issuer's faults, where they stand.
fn located(resources: &[Resource], reply: &ApplyReply) -> Vec<Fault> {
    let locate = |fault: &admin::ApplyFault| {
        let resource = resources.get(usize::try_from(fault.resource).ok()?)?;
        let (path, place) = resource.field(&fault.field);
        Some(Fault { place, path, sentence: fault.fault.clone() })
    };
    reply.faults.iter().filter_map(locate).collect()
}

/// Files with their texts, by name.
fn texts(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            texts.push(("-".to_owned(), text(path, io::stdin())?));
        } else if path.is_dir() {
            for path in directory(path)? {
                texts.push((path.display().to_string(), open(&path)?));
            }
        } else {
            texts.push((path.display().to_string(), open(path)?));
        }
    }
    Ok(texts)
}

/// What lies in a directory itself, in order.
fn directory(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| unreadable(path, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            files.push(path);
        }
    }
    if files.is_empty() {
        let sentence = format!("{} holds no file that ends in .yaml, .yml or .json", path.display());
        return Err(Failure::new(Exit::Usage, sentence));
    }
    files.sort();
    Ok(files)
}

fn open(path: &Path) -> Result<String, Failure> {
    text(path, File::open(path).map_err(|error| unreadable(path, &error))?)
}

fn text(path: &Path, from: impl io::Read) -> Result<String, Failure> {
    let bytes = files::read_limited(from, LARGEST).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|_| unreadable(path, &io::Error::other("it is not UTF-8")))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display()))
}

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Bytes of one file.
const LARGEST: usize = 1024 * 1024;
/// What a document may say, for editors.
const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests;
