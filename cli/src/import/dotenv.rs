//! Reading a dotenv file. There is no standard: where two of the usual readers would take another value out of a line,
//! the line is left as it is and told, as nothing is worse than sealing half a value.

use avouch_words::{Digest, Secret};
use std::ops::Range;

/// A line that sets a variable.
#[derive(Debug)]
pub struct Entry {
    /// The line's number, from 1.
    pub line: usize,
    /// The variable's name.
    pub key: String,
    /// Its value.
    pub value: Secret,
    /// Which values are the same.
    pub digest: Digest,
    /// Where the value stands in the file, without its quotes.
    pub place: Range<usize>,
}

/// A line that is left as it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// The line's number, from 1.
    pub line: usize,
    /// The variable's name, if it has one.
    pub key: Option<String>,
    /// Why.
    pub why: &'static str,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The variables, in the file's order.
    pub entries: Vec<Entry>,
    /// What was not taken.
    pub left: Vec<Left>,
}

/// Reads a file's bytes.
pub fn parse(file: &[u8]) -> Parsed {
    let mut reader = Reader { file, at: if file.starts_with(MARK) { MARK.len() } else { 0 }, line: 1 };
    let mut parsed = Parsed::default();
    while reader.at < file.len() {
        let (begin, line) = (reader.at, reader.line);
        match reader.entry() {
            Ok(Some(entry)) => parsed.entries.push(entry),
            Ok(None) => {}
            Err((key, why)) => {
                // Only the line where it began is given up: what stands in the next may be sound.
                (reader.at, reader.line) = (begin, line);
                parsed.left.push(Left { line, key, why });
            }
        }
        reader.end_line();
    }
    leave_contradictions(&mut parsed);
    parsed.left.sort_by_key(|left| left.line);
    parsed
}

/// Which of two values counts is each reader's own matter.
fn leave_contradictions(parsed: &mut Parsed) {
    let differs =
        |entry: &Entry, all: &[Entry]| all.iter().any(|other| other.key == entry.key && other.digest != entry.digest);
    let contradictory: Vec<_> = parsed.entries.iter().filter(|entry| differs(entry, &parsed.entries)).collect();
    let left = contradictory.iter().map(|entry| Left { line: entry.line, key: Some(entry.key.clone()), why: TWICE });
    let mut left: Vec<_> = left.collect();
    let names: Vec<_> = left.iter().filter_map(|left| left.key.clone()).collect();
    parsed.entries.retain(|entry| !names.contains(&entry.key));
    parsed.left.append(&mut left);
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    line: usize,
}

type Fault = (Option<String>, &'static str);

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.file.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Past the end of this line.
    fn end_line(&mut self) {
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
                return;
            }
        }
    }

    fn at_end(&self) -> bool {
        matches!(self.peek(), None | Some(b'\n')) || self.file[self.at..].starts_with(b"\r\n")
    }

    fn entry(&mut self) -> Result<Option<Entry>, Fault> {
        self.skip_blanks();
        if self.at_end() || self.peek() == Some(b'#') {
            return Ok(None);
        }
        let line = self.line;
        let mut key = self.word();
        if key == "export" && matches!(self.peek(), Some(b' ' | b'\t')) {
            self.skip_blanks();
            key = self.word();
        }
        self.skip_blanks();
        if key.is_empty() || self.peek() != Some(b'=') {
            return Err((None, NO_ASSIGNMENT));
        }
        self.at += 1;
        self.skip_blanks();
        let (value, place) = self.value().map_err(|why| (Some(key.clone()), why))?;
        let digest = Digest::of(&[&value]);
        Ok(Some(Entry { line, key, value: Secret::new(value), digest, place }))
    }

    /// A name, as shells and dotenv have it; the rest of a line that begins otherwise is not shown to anybody.
    fn word(&mut self) -> String {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
            self.at += 1;
        }
        let word = &self.file[begin..self.at];
        let named = word.first().is_some_and(|first| !first.is_ascii_digit()) && word.len() <= LONGEST_KEY;
        if named { String::from_utf8_lossy(word).into_owned() } else { String::new() }
    }

    fn value(&mut self) -> Result<(Vec<u8>, Range<usize>), &'static str> {
        match self.peek() {
            Some(quote @ (b'\'' | b'"' | b'`')) => self.quoted(quote),
            _ => self.bare(),
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<(Vec<u8>, Range<usize>), &'static str> {
        self.at += 1;
        let begin = self.at;
        loop {
            match self.peek().ok_or(OPEN)? {
                byte if byte == quote => break,
                b'\\' if quote == b'"' => {
                    // Only the two that all readers take for ends of lines.
                    if !matches!(self.file.get(self.at + 1), Some(b'n' | b'r')) {
                        return Err(BACKSLASH);
                    }
                    self.at += 2;
                    continue;
                }
                b'\n' => self.line += 1,
                _ => {}
            }
            self.at += 1;
        }
        let place = begin..self.at;
        self.at += 1;
        self.skip_blanks();
        if !self.at_end() && self.peek() != Some(b'#') {
            return Err(BEHIND);
        }
        let inside = &self.file[place.clone()];
        if quote != b'\'' && refers(inside) {
            return Err(REFERS);
        }
        Ok((if quote == b'"' { unescaped(inside) } else { inside.to_vec() }, place))
    }

    fn bare(&mut self) -> Result<(Vec<u8>, Range<usize>), &'static str> {
        let begin = self.at;
        let mut end = begin;
        let mut blank = true;
        while !self.at_end() {
            match self.peek() {
                Some(b'#') if blank => break,
                Some(b'#') => return Err(HASH),
                Some(b' ' | b'\t') => blank = true,
                _ => {
                    blank = false;
                    end = self.at + 1;
                }
            }
            self.at += 1;
        }
        let value = &self.file[begin..end];
        if refers(value) {
            return Err(REFERS);
        }
        Ok((value.to_vec(), begin..end))
    }
}

/// Whether some reader would put another variable's value in.
fn refers(value: &[u8]) -> bool {
    value.windows(2).any(|pair| pair[0] == b'$' && (pair[1].is_ascii_alphabetic() || b"_{(".contains(&pair[1])))
}

fn unescaped(inside: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' if bytes.next() == Some(&b'r') => b'\r',
            b'\\' => b'\n',
            other => *other,
        });
    }
    value
}

/// The byte order mark of some editors.
const MARK: &[u8] = "\u{feff}".as_bytes();
const LONGEST_KEY: usize = 256;
const NO_ASSIGNMENT: &str = "it is no NAME=VALUE";
const OPEN: &str = "its quote is not closed";
const BEHIND: &str = "something stands behind its closing quote";
const BACKSLASH: &str = "it has a backslash, which not all readers take alike: use single quotes";
const HASH: &str = "it has a # that some readers take for a comment: put the value in quotes";
const REFERS: &str = "it seems to refer to another variable: put it in single quotes if it does not";
const TWICE: &str = "it stands more than once, with different values: keep one";

#[cfg(test)]
mod tests;
