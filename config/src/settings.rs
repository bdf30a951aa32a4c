//! Settings that both parts have.

use crate::parse;
use crate::read::{Table, Value};
use avouch_words::{Name, TrustDomain};
use std::net::SocketAddr;

/// Who may administer over a local socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The uid that the kernel says is at the other end.
    pub uid: u32,
    /// The name that decisions and records carry.
    pub name: Name,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least level that is written.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// What is broken.
    Error,
    /// And what may become so.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And how.
    Debug,
    /// And every step.
    Trace,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

pub(crate) const TRUST_DOMAIN: &str = "write the trust domain, such as trust_domain = \"example.test\"";

/// The operators on this host if none are named: whoever runs the part.
pub(crate) fn default_operators() -> Vec<Operator> {
    let uid = nix::unistd::geteuid().as_raw();
    Name::parse(&format!("uid-{uid}")).map(|name| Operator { uid, name }).into_iter().collect()
}

pub(crate) fn trust_domain(value: &Value<'_, '_>) -> Option<TrustDomain> {
    let text = value.text()?;
    match TrustDomain::parse(text) {
        Ok(domain) => Some(domain),
        Err(why) => value.wrong(format!(
            "is {text:?}, which is no trust domain: {why}; write the bare name, such as \"example.test\""
        )),
    }
}

pub(crate) fn operators(root: &Table<'_, '_>) -> Option<Vec<Operator>> {
    root.or("operators", default_operators(), |value| {
        let operators = value.list(|value| value.element(operator))?;
        if operators.is_empty() {
            return value.wrong("is empty, so nobody could administer: name one, or leave the key out");
        }
        let twice = operators
            .iter()
            .enumerate()
            .find(|(at, operator)| operators[..*at].iter().any(|other| other.uid == operator.uid));
        if let Some((_, operator)) = twice {
            return value.wrong(format!("names uid {} twice: keep one of the two", operator.uid));
        }
        Some(operators)
    })
}

fn operator(table: &Table<'_, '_>) -> Option<Operator> {
    let uid = table.must("uid", "write the uid as a number", |value| parse::whole(value, "a uid"));
    let name = table.must("name", "write the name that records shall carry", |value| {
        let text = value.text()?;
        match Name::parse(text) {
            Ok(name) => Some(name),
            Err(why) => value.wrong(format!("is {text:?}, which is no name: {why}")),
        }
    });
    Some(Operator { uid: uid?, name: name? })
}

pub(crate) fn log(root: &Table<'_, '_>) -> Option<Log> {
    root.table("log", |table| {
        let level = table.or("level", LogLevel::default(), |value| match value.text()? {
            "error" => Some(LogLevel::Error),
            "warn" => Some(LogLevel::Warn),
            "info" => Some(LogLevel::Info),
            "debug" => Some(LogLevel::Debug),
            "trace" => Some(LogLevel::Trace),
            other => value.wrong(format!("must be error, warn, info, debug or trace, not {other:?}")),
        });
        let format = table.or("format", LogFormat::default(), |value| match value.text()? {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            other => value.wrong(format!("must be text or json, not {other:?}")),
        });
        Some(Log { level: level?, format: format? })
    })
}

pub(crate) fn health(root: &Table<'_, '_>) -> Option<Option<SocketAddr>> {
    root.table("health", |table| {
        table.or("listen", None, |value| {
            let address = parse::address(value)?;
            if !address.ip().is_loopback() {
                return value
                    .wrong("must be a loopback address, for it is served without TLS: take 127.0.0.1 or [::1]");
            }
            Some(Some(address))
        })
    })
}
