//! Reading checked types out of rows. A value that does not read is an error, never a gap: a skipped lock would open
//! what it closes.

use crate::error::StoreError;
use crate::sql::{Cell, Row};
use avouch_words::{Digest, Millis, Name, Selector, Ulid};

/// One row of one table.
pub(crate) struct Cells<'r> {
    row: &'r Row,
    table: &'static str,
}

impl<'r> Cells<'r> {
    pub(crate) fn of(row: &'r Row, table: &'static str) -> Self {
        Self { row, table }
    }

    pub(crate) fn damaged(&self, column: &'static str) -> StoreError {
        StoreError::Damaged { table: self.table, column }
    }

    pub(crate) fn raw<T: Cell<'r>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.named(column).map_err(|_| self.damaged(column))
    }

    /// A text that a parser has to accept.
    pub(crate) fn read<T>(&self, column: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
        parse(self.raw(column)?).ok_or_else(|| self.damaged(column))
    }

    pub(crate) fn name(&self, column: &'static str) -> Result<Name, StoreError> {
        self.read(column, |text| Name::parse(text).ok())
    }

    pub(crate) fn ulid(&self, column: &'static str) -> Result<Ulid, StoreError> {
        self.read(column, |text| Ulid::parse(text).ok())
    }

    pub(crate) fn millis(&self, column: &'static str) -> Result<Millis, StoreError> {
        self.raw(column).map(Millis)
    }

    pub(crate) fn some_millis(&self, column: &'static str) -> Result<Option<Millis>, StoreError> {
        Ok(self.raw::<Option<i64>>(column)?.map(Millis))
    }

    pub(crate) fn unsigned(&self, column: &'static str) -> Result<u64, StoreError> {
        u64::try_from(self.raw::<i64>(column)?).map_err(|_| self.damaged(column))
    }

    pub(crate) fn array<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        self.raw::<&[u8]>(column)?.try_into().map_err(|_| self.damaged(column))
    }

    pub(crate) fn some_array<const N: usize>(&self, column: &'static str) -> Result<Option<[u8; N]>, StoreError> {
        let bytes = self.raw::<Option<&[u8]>>(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| self.damaged(column))).transpose()
    }

    pub(crate) fn digest(&self, column: &'static str) -> Result<Digest, StoreError> {
        self.array(column).map(Digest::from_bytes)
    }

    pub(crate) fn selectors(&self, column: &'static str) -> Result<Vec<Selector>, StoreError> {
        let texts: Vec<String> = self.read(column, |text| serde_json::from_str(text).ok())?;
        texts.iter().map(|text| Selector::parse(text).map_err(|_| self.damaged(column))).collect()
    }
}

/// A list of selectors as it is stored.
pub(crate) fn selectors(selectors: &[Selector]) -> String {
    serde_json::Value::from(selectors.iter().map(Selector::as_str).collect::<Vec<_>>()).to_string()
}

/// A number as SQL has it. Sizes and versions never come near the border.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
