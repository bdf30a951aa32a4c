//! Reads TOML key by key and goes on after each fault, so that all of them are told at once.

use crate::fault::{ConfigFault, ConfigFaults, Problem};
use std::cell::RefCell;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The largest settings file, in bytes.
pub(crate) const MAX_FILE: usize = 256 * 1024;

/// How alike two keys are (Jaro-Winkler, 0 to 1) for one to be offered for the other.
const NEAR: f64 = 0.75;

/// Reads the whole text with `read`; what it returns counts only if nothing was wrong.
pub(crate) fn document<T>(
    text: &str,
    file: &Path,
    read: impl FnOnce(&Table<'_, '_>) -> Option<T>,
) -> Result<T, ConfigFaults> {
    let sink = Sink { text, faults: RefCell::default() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map(|span| sink.line(span.start));
        sink.add(String::new(), line, Problem::Syntax(error.message().to_owned()));
    }
    // After a syntax error the values are guesses; unknown or missing keys would be noise.
    let value = if sink.faults.borrow().is_empty() {
        let table =
            Table { sink: &sink, path: String::new(), entries: Some(root.get_ref()), known: RefCell::default() };
        let value = read(&table);
        table.finish();
        value
    } else {
        None
    };
    let mut faults = sink.faults.into_inner();
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => {
            faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
            Err(ConfigFaults { file: file.to_owned(), faults })
        }
    }
}

/// Where the faults of one document go.
struct Sink<'t> {
    text: &'t str,
    faults: RefCell<Vec<ConfigFault>>,
}

impl Sink<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    fn add(&self, key: String, line: Option<usize>, problem: Problem) {
        self.faults.borrow_mut().push(ConfigFault { key, line, problem });
    }
}

/// One table of the document; the root is one too.
pub(crate) struct Table<'a, 't> {
    sink: &'a Sink<'t>,
    path: String,
    entries: Option<&'a DeTable<'t>>,
    known: RefCell<Vec<&'static str>>,
}

/// A value with the place it stands at.
pub(crate) struct Value<'a, 't> {
    sink: &'a Sink<'t>,
    key: String,
    value: &'a Spanned<DeValue<'t>>,
}

impl<'a, 't> Table<'a, 't> {
    /// The value of a key that need not be there. Every key that is asked for is a known one.
    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'a, 't>> {
        self.known.borrow_mut().push(key);
        let entries = self.entries?;
        let (_, value) = entries.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some(Value { sink: self.sink, key: self.join(key), value })
    }

    /// The value of a key, or the default if it is not there. None after a fault.
    pub(crate) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a, 't>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(value) => read(&value),
            None => Some(default),
        }
    }

    /// The value of a key that must be there; `action` says what to write.
    pub(crate) fn must<T>(
        &self,
        key: &'static str,
        action: &'static str,
        read: impl FnOnce(&Value<'a, 't>) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(value) => read(&value),
            None => {
                let key = self.join(key);
                self.sink.add(key.clone(), None, Problem::Missing { key, action });
                None
            }
        }
    }

    /// Reads a table below this one; it is read as an empty one if it is not there.
    pub(crate) fn table<T>(&self, key: &'static str, read: impl FnOnce(&Table<'a, 't>) -> Option<T>) -> Option<T> {
        let entries = match self.get(key) {
            Some(value) => Some(value.as_table()?),
            None => None,
        };
        let table = Table { sink: self.sink, path: self.join(key), entries, known: RefCell::default() };
        let read = read(&table);
        table.finish();
        read
    }

    /// Says that a key's value is wrong; `sentence` goes on after the key.
    pub(crate) fn wrong(&self, key: &'static str, sentence: String) {
        let line = self.entries.and_then(|entries| {
            let (name, _) = entries.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
            Some(self.sink.line(name.span().start))
        });
        let key = self.join(key);
        self.sink.add(key.clone(), line, Problem::Value { key, sentence });
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Every key that nobody asked for is a fault.
    fn finish(&self) {
        let known = self.known.borrow();
        for (name, _) in self.entries.into_iter().flatten() {
            let key = name.get_ref().as_ref();
            if known.contains(&key) {
                continue;
            }
            let nearest = known
                .iter()
                .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
                .filter(|(alike, _)| *alike >= NEAR)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let problem = match nearest {
                Some((_, nearest)) => Problem::Near { key: self.join(key), nearest: self.join(nearest) },
                None => {
                    let known: Vec<String> = known.iter().map(|key| format!("`{}`", self.join(key))).collect();
                    Problem::Unknown { key: self.join(key), known: known.join(", ") }
                }
            };
            self.sink.add(self.join(key), Some(self.sink.line(name.span().start)), problem);
        }
    }
}

impl<'a, 't> Value<'a, 't> {
    /// A string.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.mistyped("a string in quotes"),
        }
    }

    /// A whole number.
    pub(crate) fn number(&self) -> Option<i64> {
        match self.value.get_ref() {
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                match i64::from_str_radix(&digits, number.radix()) {
                    Ok(number) => Some(number),
                    Err(_) => self
                        .fault(Problem::Value { key: self.key.clone(), sentence: "is too large a number".to_owned() }),
                }
            }
            _ => self.mistyped("a whole number"),
        }
    }

    /// A list, each element read by itself.
    pub(crate) fn list<T>(&self, read: impl Fn(&Value<'a, 't>) -> Option<T>) -> Option<Vec<T>> {
        let DeValue::Array(array) = self.value.get_ref() else {
            return self.mistyped("a list in brackets");
        };
        let read: Vec<Option<T>> = array
            .iter()
            .enumerate()
            .map(|(at, value)| read(&Value { sink: self.sink, key: format!("{}[{at}]", self.key), value }))
            .collect();
        read.into_iter().collect()
    }

    /// A table that is an element of a list.
    pub(crate) fn element<T>(&self, read: impl FnOnce(&Table<'a, 't>) -> Option<T>) -> Option<T> {
        let entries = Some(self.as_table()?);
        let table = Table { sink: self.sink, path: self.key.clone(), entries, known: RefCell::default() };
        let read = read(&table);
        table.finish();
        read
    }

    /// Says that the value is wrong; `sentence` goes on after the key.
    pub(crate) fn wrong<T>(&self, sentence: impl Into<String>) -> Option<T> {
        self.fault(Problem::Value { key: self.key.clone(), sentence: sentence.into() })
    }

    fn as_table(&self) -> Option<&'a DeTable<'t>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => self.mistyped("a table"),
        }
    }

    fn mistyped<T>(&self, wanted: &'static str) -> Option<T> {
        let found = self.value.get_ref().type_str();
        self.fault(Problem::Type { key: self.key.clone(), wanted, found })
    }

    fn fault<T>(&self, problem: Problem) -> Option<T> {
        self.sink.add(self.key.clone(), Some(self.sink.line(self.value.span().start)), problem);
        None
    }
}
