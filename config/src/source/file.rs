//! `kind = "file"`.

use crate::parse;
use crate::read::{Table, Value};

/// Where a service manager puts a service's credentials; what stands before a path in it.
const CREDENTIALS_DIRECTORY: &str = "$CREDENTIALS_DIRECTORY/";

/// A file that holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// An absolute path, or one that begins with `$CREDENTIALS_DIRECTORY/`.
    pub path: String,
}

pub(super) fn read(table: &Table<'_, '_>) -> Option<FileSource> {
    let path = table.must("path", "write where the file is, such as path = \"/etc/avouch/token\"", private_path)?;
    Some(FileSource { path })
}

/// The path of a file for the helper's eyes alone.
pub(super) fn private_path(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    match text.strip_prefix(CREDENTIALS_DIRECTORY) {
        Some(name) if !name.is_empty() && !name.contains('/') && !name.starts_with('.') => Some(text.to_owned()),
        Some(_) => value.wrong(format!("names no credential after {CREDENTIALS_DIRECTORY}: it is one file's name")),
        None => parse::path(value).map(|_| text.to_owned()),
    }
}
