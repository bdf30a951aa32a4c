//! What people and scripts read: data on stdout as an aligned table or as JSON, talk on stderr.

use crate::failure::{Exit, Failure};
use avouch_words::Millis;
use serde_json::Value;
use std::io::{self, IsTerminal as _, Write as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns, times relative.
    Table,
    /// JSON, times in RFC 3339 UTC.
    Json,
}

/// One value in its two forms.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    json: Value,
}

/// Rows under named columns. The names in lower case are the keys in JSON.
#[derive(Debug)]
pub struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

/// Where a verb writes to.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
    bold: bool,
    now: Millis,
}

impl Cell {
    /// The same text in both.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { json: Value::String(text.clone()), text }
    }

    /// A number.
    pub fn number(number: u64) -> Self {
        Self { text: number.to_string(), json: Value::from(number) }
    }

    /// Yes or no.
    pub fn flag(flag: bool) -> Self {
        Self { text: if flag { "yes" } else { "no" }.to_owned(), json: Value::Bool(flag) }
    }

    /// Several texts, joined by a blank for people.
    pub fn list(texts: &[String]) -> Self {
        Self { text: texts.join(" "), json: Value::from(texts.to_vec()) }
    }

    /// Any JSON, with its text for people.
    pub fn both(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json }
    }

    /// A moment: relative for people. Zero or less is none.
    pub fn moment(moment: Millis, now: Millis) -> Self {
        if moment.0 <= 0 {
            return Self { text: "-".to_owned(), json: Value::Null };
        }
        Self { text: relative(moment, now), json: Value::String(rfc3339(moment)) }
    }
}

impl Table {
    /// An empty table.
    pub fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; it must have a cell for each column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The table as a person reads it, without emphasis.
    pub fn to_text(&self) -> String {
        self.lines(false)
    }

    fn json(&self) -> Vec<Value> {
        let key = |column: &&str| column.to_ascii_lowercase().replace(' ', "_");
        let object = |row: &Vec<Cell>| {
            Value::Object(self.columns.iter().map(key).zip(row.iter().map(|cell| cell.json.clone())).collect())
        };
        self.rows.iter().map(object).collect()
    }

    fn lines(&self, bold: bool) -> String {
        let width = |at: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| shown(&cell.text).chars().count());
            cells.chain([name.len()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = self.columns.iter().enumerate().map(|(at, name)| width(at, name)).collect();
        let line = |cells: Vec<String>| {
            let padded: Vec<_> = cells.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        let head = line(self.columns.iter().map(|name| name.to_ascii_uppercase()).collect());
        let head = if bold { format!("\u{1b}[1m{head}\u{1b}[0m") } else { head };
        let rows = self.rows.iter().map(|row| line(row.iter().map(|cell| shown(&cell.text)).collect()));
        [head].into_iter().chain(rows).map(|line| line + "\n").collect()
    }
}

impl Output {
    /// As the flag says, else `AVOUCH_OUTPUT`, else tables.
    pub fn new(flag: Option<Format>, now: Millis) -> Result<Self, Failure> {
        let format = format(flag)?;
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Ok(Self { format, bold: !plain && io::stdout().is_terminal(), now })
    }

    /// The moment that relative times are counted from.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The format asked for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Writes all rows; in JSON an array.
    pub fn list(&self, table: &Table) -> Result<(), Failure> {
        match self.format {
            Format::Table => data(table.lines(self.bold)),
            Format::Json => data(pretty(&Value::Array(table.json()))),
        }
    }

    /// Writes something that is no table: as its text, or in JSON as this value.
    pub fn tell(&self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Result<(), Failure> {
        match self.format {
            Format::Table => data(text()),
            Format::Json => data(pretty(&json())),
        }
    }

    /// The same for one of several things that are told as they happen: in JSON each on a line of its own.
    pub fn line(&self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Result<(), Failure> {
        match self.format {
            Format::Table => data(text()),
            Format::Json => data(format!("{}\n", json())),
        }
    }

    /// Writes what only a script wants to have as data; a person was talked to.
    pub fn script(&self, json: impl FnOnce() -> Value) -> Result<(), Failure> {
        self.tell(String::new, json)
    }

    /// Writes the one row there is; in JSON an object.
    pub fn one(&self, table: &Table) -> Result<(), Failure> {
        match self.format {
            Format::Table => data(table.lines(self.bold)),
            Format::Json => data(pretty(&table.json().into_iter().next().unwrap_or(Value::Null))),
        }
    }
}

/// The format that the flag says, else `AVOUCH_OUTPUT`, else tables.
pub fn format(flag: Option<Format>) -> Result<Format, Failure> {
    match (flag, std::env::var("AVOUCH_OUTPUT").as_deref()) {
        (Some(format), _) => Ok(format),
        (None, Err(_) | Ok("table")) => Ok(Format::Table),
        (None, Ok("json")) => Ok(Format::Json),
        (None, Ok(other)) => {
            let sentence = format!("AVOUCH_OUTPUT is {other:?}, which is no output format");
            Err(Failure::new(Exit::Usage, sentence).then("Set it to table or json, or use -o."))
        }
    }
}

/// Writes data to stdout. A reader that has gone away is no failure.
pub fn data(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref().as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failure, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something to a person.
pub fn talk(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}

/// Names the next useful command.
pub fn next(command: impl AsRef<str>) {
    talk(format!("next: {}", command.as_ref()));
}

/// `in 4m12s`, `3h5m ago`, or `now`.
pub fn relative(moment: Millis, now: Millis) -> String {
    if moment.0.abs_diff(now.0) < 1_000 {
        return "now".to_owned();
    }
    if moment > now { format!("in {}", span(moment.since(now))) } else { format!("{} ago", span(now.since(moment))) }
}

/// The two largest units of a duration.
pub fn span(duration: std::time::Duration) -> String {
    let all = duration.as_secs();
    let (days, hours, minutes, seconds) = (all / 86_400, all / 3_600 % 24, all / 60 % 60, all % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// RFC 3339 in UTC, to the millisecond.
pub fn rfc3339(moment: Millis) -> String {
    let nanoseconds = i128::from(moment.0) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{}ms", moment.0))
}

/// JSON on several lines, with an end of line.
pub fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// What others wrote into our data cannot steer a terminal.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A word as a shell takes it for one.
pub fn quote(word: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '=' | '@' | ',' | '%' | '+');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn sample() -> Table {
        let mut table = Table::new(&["name", "connected", "svid expires"]);
        let soon = Millis(NOW.0 + 252_000);
        table.row(vec![Cell::text("laptop"), Cell::flag(true), Cell::moment(soon, NOW)]);
        table.row(vec![Cell::text("a-longer-name"), Cell::flag(false), Cell::moment(Millis(0), NOW)]);
        table
    }

    #[test]
    fn tables_are_aligned_and_bare() {
        let expected = "NAME           CONNECTED  SVID EXPIRES\n\
                        laptop         yes        in 4m12s\n\
                        a-longer-name  no         -\n";
        assert_eq!(sample().lines(false), expected);
        assert!(sample().lines(true).starts_with("\u{1b}[1mNAME"));
    }

    #[test]
    fn json_has_the_same_rows_with_times_in_rfc3339() {
        let expected = serde_json::json!([
            {"name": "laptop", "connected": true, "svid_expires": "2023-11-14T22:17:32Z"},
            {"name": "a-longer-name", "connected": false, "svid_expires": null},
        ]);
        assert_eq!(Value::Array(sample().json()), expected);
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (61, "1m1s"), (3_661, "1h1m"), (90_061, "1d1h"), (864_000, "10d0h")]
        {
            assert_eq!(span(std::time::Duration::from_secs(seconds)), text);
        }
        assert_eq!(relative(Millis(NOW.0 - 65_000), NOW), "1m5s ago");
        assert_eq!(
            (relative(Millis(NOW.0 + 999), NOW), relative(Millis(NOW.0 - 999), NOW)),
            ("now".into(), "now".into())
        );
    }

    #[test]
    fn words_are_quoted_only_where_a_shell_would_read_more() {
        for (word, quoted) in [("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("a-b/c", "a-b/c"), ("$x", "'$x'")]
        {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut table = Table::new(&["reason"]);
        table.row(vec![Cell::text("x\u{1b}[2Jy\nz")]);
        assert_eq!(table.lines(false), "REASON\nx\u{fffd}[2Jy\u{fffd}z\n");
    }
}
