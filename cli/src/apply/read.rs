//! Reads the fields of a document and gathers all that is wrong.

use super::tree::{Node, Tree};
use super::{Fault, Place};
use std::collections::BTreeMap;

/// The fields at one place of a document.
pub struct Fields<'a> {
    file: &'a str,
    /// Where they stand, as `spec`; empty at the top.
    at: String,
    line: u64,
    map: &'a [(String, u64, Tree)],
    known: Vec<&'static str>,
}

/// What is wrong so far, and where each field that was read stands.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Lines by path.
    pub lines: BTreeMap<String, u64>,
}

impl<'a> Fields<'a> {
    /// The fields of a value, which has to have some.
    pub fn of(file: &'a str, at: &str, tree: &'a Tree, findings: &mut Findings) -> Option<Self> {
        findings.lines.insert(at.to_owned(), tree.line);
        match &tree.node {
            Node::Map(map) => Some(Self { file, at: at.to_owned(), line: tree.line, map, known: Vec::new() }),
            _ => {
                findings.add(file, tree.line, at, "must have keys with values");
                None
            }
        }
    }

    fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    /// The value of a key, if it is there.
    pub fn find(&mut self, key: &'static str, findings: &mut Findings) -> Option<&'a Tree> {
        self.known.push(key);
        let (_, line, tree) = self.map.iter().find(|(name, _, _)| name == key)?;
        findings.lines.insert(self.path(key), *line);
        Some(tree)
    }

    /// The same, and it has to be there.
    pub fn must(&mut self, key: &'static str, findings: &mut Findings) -> Option<&'a Tree> {
        let found = self.find(key, findings);
        if found.is_none() {
            findings.add(self.file, self.line, &self.path(key), "is missing");
        }
        found
    }

    /// Text that has to be there.
    pub fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        let tree = self.must(key, findings)?;
        self.as_text(key, tree, findings)
    }

    /// Text, empty if it is not there.
    pub fn some_text(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        match self.find(key, findings) {
            Some(tree) => self.as_text(key, tree, findings),
            None => Some(String::new()),
        }
    }

    /// Texts, none if they are not there.
    pub fn texts(&mut self, key: &'static str, findings: &mut Findings) -> Option<Vec<String>> {
        let Some(tree) = self.find(key, findings) else { return Some(Vec::new()) };
        let Node::List(list) = &tree.node else {
            findings.add(self.file, tree.line, &self.path(key), "must be a list");
            return None;
        };
        // Each is read, so that everything wrong is told.
        let read: Vec<_> = list.iter().map(|tree| self.as_text(key, tree, findings)).collect();
        read.into_iter().collect()
    }

    /// A time as `90s`, `15m`, `1h` or `7d`, in seconds; 0 if it is not there.
    pub fn seconds(&mut self, key: &'static str, findings: &mut Findings) -> Option<u32> {
        let Some(tree) = self.find(key, findings) else { return Some(0) };
        let text = self.as_text(key, tree, findings)?;
        match crate::args::duration(&text) {
            Ok(time) => u32::try_from(time.as_secs()).ok(),
            Err(sentence) => {
                findings.add(self.file, tree.line, &self.path(key), &sentence);
                None
            }
        }
    }

    fn as_text(&self, key: &str, tree: &Tree, findings: &mut Findings) -> Option<String> {
        match &tree.node {
            Node::Text(text) => Some(text.clone()),
            _ => {
                findings.add(self.file, tree.line, &self.path(key), "must be text");
                None
            }
        }
    }

    /// Something is wrong with the value of a key.
    pub fn wrong(&self, key: &str, line: u64, sentence: &str, findings: &mut Findings) {
        findings.add(self.file, line, &self.path(key), sentence);
    }

    /// Every key that nobody asked for is wrong, and the nearest right one is named.
    pub fn end(self, findings: &mut Findings) {
        for (key, line, _) in self.map.iter().filter(|(key, _, _)| !self.known.contains(&key.as_str())) {
            let near = self
                .known
                .iter()
                .max_by(|one, other| strsim::jaro_winkler(key, one).total_cmp(&strsim::jaro_winkler(key, other)));
            let sentence = match near.filter(|near| strsim::jaro_winkler(key, near) > NEAR) {
                _ if VALUES.contains(&key.to_ascii_lowercase().as_str()) => {
                    "a value is never in such a file: seal it with `avouch secret put NAME --value-stdin`, or name \
                     where it lies"
                        .to_owned()
                }
                Some(near) => format!("is not known; did you mean `{near}`?"),
                None => format!("is not known; known are {}", self.known.join(", ")),
            };
            findings.add(self.file, *line, &self.path(key), &sentence);
        }
    }
}

impl Findings {
    /// One more thing that is wrong.
    pub fn add(&mut self, file: &str, line: u64, path: &str, sentence: &str) {
        let place = Place { file: file.to_owned(), line };
        self.faults.push(Fault { place, path: path.to_owned(), sentence: sentence.to_owned() });
    }
}

/// How alike a wrong key and a right one have to be.
const NEAR: f64 = 0.8;
/// Keys under which people put values.
const VALUES: &[&str] =
    &["value", "values", "secret", "secrets", "token", "password", "key", "apikey", "data", "stringdata"];
