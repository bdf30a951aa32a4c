//! Sources of credentials beside the sealed store, as `[[source]]` in the helper's settings names them.

mod aws;
mod exec;
mod file;
mod kubernetes;
mod openbao;

pub use aws::{AwsLogin, AwsSource, BinaryForm};
pub use exec::{ExecSource, Variable};
pub use file::FileSource;
pub use kubernetes::KubernetesSource;
pub use openbao::{OpenBaoLogin, OpenBaoSource};

use crate::read::{Table, Value};
use avouch_words::Name;

/// The most sources.
pub const SOURCES_MAX: usize = 64;

/// The source that every helper has, and that is not named.
const SEALED: &str = "sealed";

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// The name by which credentials refer to it.
    pub name: Name,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is, with what that kind needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// An OpenBao or a HashiCorp Vault.
    OpenBao(OpenBaoSource),
    /// AWS Secrets Manager.
    Aws(AwsSource),
    /// The Secrets of a Kubernetes cluster.
    Kubernetes(KubernetesSource),
    /// A command that prints a value.
    Exec(ExecSource),
    /// A file that holds a value.
    File(FileSource),
}

pub(crate) fn sources(root: &Table<'_, '_>) -> Option<Vec<SourceSettings>> {
    root.or("source", Vec::new(), |value| {
        let sources = value.list(|value| value.element(source))?;
        if sources.len() > SOURCES_MAX {
            return value.wrong(format!("has {} entries: keep at most {SOURCES_MAX}", sources.len()));
        }
        let twice = (1..sources.len()).find(|at| sources[..*at].iter().any(|other| other.name == sources[*at].name));
        if let Some(at) = twice {
            return value.wrong(format!("has two entries with the name {}", sources[at].name));
        }
        Some(sources)
    })
}

fn source(table: &Table<'_, '_>) -> Option<SourceSettings> {
    let name = table.must("name", "write the name by which credentials refer to it, such as name = \"vault\"", name);
    let kind = table.must("kind", "write what it is, such as kind = \"file\"", |value| Some(value.text()?.to_owned()));
    let kind = match kind?.as_str() {
        "openbao" => openbao::read(table).map(SourceKind::OpenBao),
        "aws" => aws::read(table).map(SourceKind::Aws),
        "kubernetes" => kubernetes::read(table).map(SourceKind::Kubernetes),
        "exec" => exec::read(table).map(SourceKind::Exec),
        "file" => file::read(table).map(SourceKind::File),
        other => table.get("kind")?.wrong(format!("must be openbao, aws, kubernetes, exec or file, not {other:?}")),
    };
    Some(SourceSettings { name: name?, kind: kind? })
}

fn name(value: &Value<'_, '_>) -> Option<Name> {
    let text = value.text()?;
    match Name::parse(text) {
        Ok(name) if name.as_str() != SEALED => Some(name),
        Ok(_) => value.wrong(format!("is {SEALED}, which is the store on the node itself: take another name")),
        Err(why) => value.wrong(format!("is {text:?}, but {why}")),
    }
}

/// An address that a secret or a login is sent to: https, or http to this machine itself.
fn address(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    let rest = text.strip_prefix("https://").or_else(|| {
        let rest = text.strip_prefix("http://")?;
        let host = rest.split('/').next()?.rsplit_once(':').map_or(rest, |(host, _)| host);
        ["127.0.0.1", "[::1]", "localhost"].contains(&host.trim_end_matches('/')).then_some(rest)
    });
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']) => Some(text.to_owned()),
        _ => value
            .wrong(format!("must be an https:// address, or http:// to 127.0.0.1, [::1] or localhost, not {text:?}")),
    }
}

/// A text that is not empty.
fn text(value: &Value<'_, '_>) -> Option<String> {
    match value.text()? {
        "" => value.wrong("is empty"),
        text => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
