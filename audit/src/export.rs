//! The exported log, as lines: first `{"key":…}`, then each entry as it is, byte for byte, then (or between them)
//! `{"checkpoint":…}`. An entry's own first field is `event` or `index`, so the three cannot be taken for another.

use crate::canonical::MAX_RECORD;
use crate::note::MAX_NOTE;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};

/// The longest line, in bytes: a checkpoint whose every byte is escaped.
pub const MAX_LINE: usize = 6 * MAX_NOTE + 32;

/// A part of an exported log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The key of its heads, `name+id+key`.
    Key(String),
    /// The canonical form of an entry.
    Entry(Vec<u8>),
    /// A signed head.
    Checkpoint(String),
}

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// The file or stream.
    #[error("the export cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Above [`MAX_LINE`], or an entry above [`MAX_RECORD`].
    #[error("line {0} of the export is too long")]
    TooLong(u64),
    /// Empty, without its line end, or a key or head that is no text.
    #[error("line {0} of the export is not a whole line of its kind")]
    Form(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine {
    checkpoint: String,
}

/// Writes a part as a line.
pub fn write_part(part: &Part, out: &mut impl Write) -> io::Result<()> {
    match part {
        Part::Key(key) => serde_json::to_writer(&mut *out, &KeyLine { key: key.clone() })?,
        Part::Entry(bytes) => out.write_all(bytes)?,
        Part::Checkpoint(note) => serde_json::to_writer(&mut *out, &CheckpointLine { checkpoint: note.clone() })?,
    }
    out.write_all(b"\n")
}

/// Reads parts line by line; after a fault it ends.
pub fn read_parts(from: impl BufRead) -> impl Iterator<Item = Result<Part, ReadFault>> {
    Reader { from, line: 0, ended: false }
}

struct Reader<R> {
    from: R,
    line: u64,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    fn part(&mut self) -> Result<Option<Part>, ReadFault> {
        self.line += 1;
        let mut line = Vec::new();
        let limit = MAX_LINE as u64 + 1;
        if (&mut self.from).take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            // Either the line goes on past the limit, or the file ends in its middle.
            return Err(if line.len() >= MAX_LINE {
                ReadFault::TooLong(self.line)
            } else {
                ReadFault::Form(self.line)
            });
        }
        if line.is_empty() {
            return Err(ReadFault::Form(self.line));
        }
        let form = |_| ReadFault::Form(self.line);
        if line.starts_with(b"{\"key\":") {
            return Ok(Some(Part::Key(serde_json::from_slice::<KeyLine>(&line).map_err(form)?.key)));
        }
        if line.starts_with(b"{\"checkpoint\":") {
            return Ok(Some(Part::Checkpoint(
                serde_json::from_slice::<CheckpointLine>(&line).map_err(form)?.checkpoint,
            )));
        }
        if line.len() > MAX_RECORD {
            return Err(ReadFault::TooLong(self.line));
        }
        Ok(Some(Part::Entry(line)))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Part, ReadFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let part = self.part().transpose();
        self.ended = !matches!(part, Some(Ok(_)));
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_read_back_byte_for_byte() {
        let parts = [
            Part::Key("td/audit+00000000+AAAA".to_owned()),
            Part::Entry(br#"{"event":{},"index":"0"}"#.to_vec()),
            Part::Checkpoint("td/audit\n1\nx\n\n\u{2014} td/audit y\n".to_owned()),
        ];
        let mut file = Vec::new();
        parts.iter().for_each(|part| write_part(part, &mut file).unwrap());
        assert_eq!(file.iter().filter(|b| **b == b'\n').count(), 3);
        let read: Vec<Part> = read_parts(&file[..]).map(Result::unwrap).collect();
        assert_eq!(read, parts);
    }

    #[test]
    fn broken_files_are_refused_and_lines_have_a_limit() {
        for bad in ["\n", "{\"event\":1}", "{\"key\":1}\n", "{\"key\":\"a\",\"b\":1}\n", "{\"checkpoint\":\"a\n"] {
            assert!(matches!(read_parts(bad.as_bytes()).last(), Some(Err(ReadFault::Form(1)))), "{bad:?}");
        }
        let entry = format!("{{\"index\":{}}}\n", "1".repeat(MAX_RECORD));
        assert!(matches!(read_parts(entry.as_bytes()).last(), Some(Err(ReadFault::TooLong(1)))));
        let endless = io::BufReader::new(io::repeat(b'x'));
        let read: Vec<_> = read_parts(endless).collect();
        assert!(matches!(read[..], [Err(ReadFault::TooLong(1))]));
    }
}
