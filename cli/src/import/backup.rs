//! The file as it was, sealed by the helper; and back. No message carries it out: the helper writes it into a file that
//! is made here, new and of mode 0600, and that then takes the place of the one rewritten.

use super::file::{EnvFile, NewFile};
use crate::args::Import;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Table, next, talk};
use crate::verbs::Context;
use crate::{prompt, replies};
use avouch_wire::local::{RestoreBackupRequest, SealBackupRequest};
use avouch_words::Digest;
use std::io::IsTerminal as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Has the helper seal the file as it is.
pub async fn seal(context: &Context, file: &EnvFile) -> Result<(), Failure> {
    let mut helper = context.helper().await?;
    let of = digest(file.path())?.as_bytes().to_vec();
    let request = SealBackupRequest { of, content: file.content.expose().to_vec() };
    let reply = helper.seal_backup(request).await.map_err(|status| replies::failure(&status))?.into_inner();
    talk(format!("The file as it is is sealed as {}.", reply.backup));
    next(format!("avouch import {} --restore={}", file.path().display(), reply.backup));
    Ok(())
}

/// Puts a backup in the file's place.
pub async fn restore(context: &Context, order: &Import, id: &str) -> Result<(), Failure> {
    let path = order.file.display();
    if !order.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(Exit::Usage, "there is no terminal to ask on").then("Use --yes to have it done."));
        }
        let question = format!("Put the secrets back into {path}, where whatever can read it can read them?");
        let agreed = prompt::agreed(&question);
        if !agreed.map_err(|error| Failure::new(Exit::Failure, format!("cannot ask: {error}")))? {
            return Err(Failure::new(Exit::Failure, "nothing was restored, as you said no"));
        }
    }
    let mut helper = context.helper().await?;
    let of = digest(&order.file)?.as_bytes().to_vec();
    let failed = |error: std::io::Error| Failure::new(Exit::Failure, format!("cannot restore {path}: {error}"));
    let made = NewFile::beside(&order.file)?;
    let descriptor = u32::try_from(made.file.as_raw_fd()).unwrap_or(u32::MAX);
    let request = RestoreBackupRequest { of, backup: id.to_owned(), descriptor };
    let reply = match helper.restore_backup(request).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => {
            made.discard();
            return Err(replies::failure(&status));
        }
    };
    // From here on it is the only copy.
    let kept = made.path();
    made.take_place().map_err(|error| failed(error).then(format!("What it held is in {}.", kept.display())))?;
    let mut table = Table::new(&["file", "backup"]);
    table.row(vec![Cell::text(path.to_string()), Cell::text(reply.backup)]);
    context.output.one(&table)?;
    talk(format!("{path} is as it was, with its secrets in clear."));
    next(format!("avouch import {path}"));
    Ok(())
}

/// Which file it is, whatever it is called from where.
fn digest(path: &Path) -> Result<Digest, Failure> {
    let name = path.file_name().unwrap_or_default();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize();
    let parent =
        parent.map_err(|error| Failure::new(Exit::Usage, format!("cannot find {}: {error}", path.display())))?;
    Ok(Digest::of(&[parent.join(name).as_os_str().as_bytes()]))
}
