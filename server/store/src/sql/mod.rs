//! One SQL text for two databases: statements, their values and the rows that answer them. What the two dialects do
//! differently is in the arguments of one macro, [`dialect`]; nothing above this module knows which of them it speaks.

mod session;

pub(crate) use session::{NotCommitted, Session, is_cut};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Decode, Postgres, Row as _, Sqlite, Type};
use std::borrow::Cow;
use std::fmt::Write as _;

/// A statement with the values of its `$1`, `$2`, …
pub(crate) struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
    /// Worth remembering by the connection: its text does not depend on how many values it has.
    kept: bool,
}

/// What is bound to a statement.
pub(crate) enum Value {
    Text(Option<String>),
    Integer(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

/// A row that answers a statement.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What can be read from a row of either database.
pub(crate) trait Cell<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

impl<'r, T> Cell<'r> for T where T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

/// How many rows a statement changed.
pub(crate) struct Done(u64);

impl Done {
    pub(crate) fn rows_affected(&self) -> u64 {
        self.0
    }
}

impl Row {
    pub(crate) fn named<'r, T: Cell<'r>>(&'r self, column: &str) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// By the column's number, from 0.
    pub(crate) fn at<'r, T: Cell<'r>>(&'r self, column: usize) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// A statement without values yet.
pub(crate) fn query(text: &'static str) -> Statement {
    Statement { text: Cow::Borrowed(text), values: Vec::new(), kept: true }
}

/// A statement whose text was put together here, of nothing that came from outside.
pub(crate) fn written(text: String) -> Statement {
    Statement { text: Cow::Owned(text), values: Vec::new(), kept: true }
}

/// `head VALUES (…), (…) tail`: many rows in one statement. None of the rows may be missing a value.
pub(crate) fn insert<const N: usize>(
    head: &str,
    rows: impl IntoIterator<Item = [Value; N]>,
    tail: &'static str,
) -> Statement {
    let (mut text, mut values) = (format!("{head} VALUES "), Vec::new());
    for (at, row) in rows.into_iter().enumerate() {
        text.push_str(if at == 0 { "(" } else { ", (" });
        values.extend(row);
        placeholders(&mut text, values.len() - N..values.len());
        text.push(')');
    }
    let _ = write!(text, " {tail}");
    Statement { text: Cow::Owned(text), values, kept: false }
}

/// `head (…)`: a list of values to look for.
pub(crate) fn among(head: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    let values: Vec<Value> = values.into_iter().collect();
    let mut text = format!("{head} (");
    placeholders(&mut text, 0..values.len());
    text.push(')');
    Statement { text: Cow::Owned(text), values, kept: false }
}

fn placeholders(text: &mut String, numbers: std::ops::Range<usize>) {
    let first = numbers.start;
    for number in numbers {
        let comma = if number == first { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}${}", number + 1);
    }
}

impl Statement {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(crate) async fn execute(self, session: &mut Session) -> Result<Done, sqlx::Error> {
        session.execute(self).await.map(Done)
    }

    pub(crate) async fn fetch_all(self, session: &mut Session) -> Result<Vec<Row>, sqlx::Error> {
        session.fetch(self).await
    }

    /// The first row, if there is one.
    pub(crate) async fn fetch_optional(self, session: &mut Session) -> Result<Option<Row>, sqlx::Error> {
        Ok(session.fetch(self).await?.into_iter().next())
    }

    pub(crate) async fn fetch_one(self, session: &mut Session) -> Result<Row, sqlx::Error> {
        self.fetch_optional(session).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

macro_rules! values {
    ($($from:ty => $kind:ident($convert:expr);)*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                let convert: fn($from) -> _ = $convert;
                Self::$kind(convert(value))
            }
        })*
    };
}

values! {
    &str => Text(|text| Some(text.to_owned()));
    String => Text(Some);
    &String => Text(|text| Some(text.clone()));
    i64 => Integer(Some);
    u32 => Integer(|number| Some(i64::from(number)));
    Option<i64> => Integer(|number| number);
    &[u8] => Bytes(|bytes| Some(bytes.to_vec()));
    Option<&[u8]> => Bytes(|bytes| bytes.map(<[u8]>::to_vec));
    Vec<u8> => Bytes(Some);
    &Vec<u8> => Bytes(|bytes| Some(bytes.clone()));
}

/// What one database's driver does with a statement, and the words that are its own.
macro_rules! dialect {
    ($name:ident, $database:ty, $connection:ty, $row:path, now: $now:literal) => {
        pub(crate) mod $name {
            use super::*;

            /// The database's own clock in milliseconds since 1970, never later than what the same snapshot shows.
            pub(crate) const NOW: &str = $now;

            fn bound(
                statement: Statement,
            ) -> sqlx::query::Query<'static, $database, <$database as sqlx::Database>::Arguments> {
                let query = match statement.text {
                    Cow::Borrowed(text) => sqlx::query(text),
                    Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
                };
                let query = query.persistent(statement.kept);
                statement.values.into_iter().fold(query, |query, value| match value {
                    Value::Text(text) => query.bind(text),
                    Value::Integer(number) => query.bind(number),
                    Value::Bytes(bytes) => query.bind(bytes),
                })
            }

            pub(crate) async fn execute(
                connection: &mut $connection,
                statement: Statement,
            ) -> Result<u64, sqlx::Error> {
                bound(statement).execute(connection).await.map(|done| done.rows_affected())
            }

            pub(crate) async fn fetch(
                connection: &mut $connection,
                statement: Statement,
            ) -> Result<Vec<Row>, sqlx::Error> {
                Ok(bound(statement).fetch_all(connection).await?.into_iter().map($row).collect())
            }
        }
    };
}

dialect!(sqlite, Sqlite, SqliteConnection, Row::Sqlite,
    now: "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)");
dialect!(postgres, Postgres, PgConnection, Row::Postgres,
    now: "CAST(extract(epoch FROM now()) * 1000 AS BIGINT)");
