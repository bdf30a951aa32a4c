//! What every source must hold, as one suite: adding a source is one file, and one call of [`hold`] in its tests.

use crate::sealed::{VALUE_MAX, VALUE_MIN};
use crate::{Obligations, Part, Source, SourceFault, Wanted};

/// What a source is tried with, and what it was prepared with for them.
pub struct Prepared<'a> {
    /// A credential that has a value.
    pub held: &'a Wanted,
    /// That value.
    pub value: &'a [u8],
    /// A credential that has none.
    pub missing: &'a Wanted,
    /// The first credential under a binding for which its value was not put; none for sources that do not keep it.
    pub other_binding: Option<&'a Wanted>,
    /// Where it records what it owes.
    pub owed: &'a dyn Obligations,
}

/// Tries a source; what it does wrong is told as a sentence, without the value.
pub async fn hold(source: &dyn Source, prepared: Prepared<'_>) -> Result<(), String> {
    for _ in 0..2 {
        match source.read(prepared.held, prepared.owed).await {
            Ok(lease) if lease.part(Part::Value).is_some_and(|value| value.expose() == prepared.value) => {}
            Ok(_) => return Err("an honest read gives another value".to_owned()),
            Err(fault) => return Err(format!("an honest read fails: {fault}")),
        }
    }
    if !(VALUE_MIN..=VALUE_MAX).contains(&prepared.value.len()) {
        return Err("the value is outside the lengths that can be injected".to_owned());
    }
    expect(source, &prepared, prepared.missing, SourceFault::Missing, "a credential without a value").await?;
    if let Some(other) = prepared.other_binding {
        expect(source, &prepared, other, SourceFault::OtherBinding, "a value put for another binding").await?;
    }
    let shown = format!("{}", source.name());
    match shown.as_bytes().windows(prepared.value.len()).any(|bytes| bytes == prepared.value) {
        true => Err("the source's name shows the value".to_owned()),
        false => Ok(()),
    }
}

async fn expect(
    source: &dyn Source,
    prepared: &Prepared<'_>,
    asked: &Wanted,
    wanted: SourceFault,
    what: &str,
) -> Result<(), String> {
    match source.read(asked, prepared.owed).await {
        Err(fault) if fault == wanted => Ok(()),
        Err(fault) => Err(format!("{what} gives the fault '{fault}' instead of '{wanted}'")),
        Ok(_) => Err(format!("{what} is given out")),
    }
}
