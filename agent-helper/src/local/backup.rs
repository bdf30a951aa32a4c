//! SealBackup and RestoreBackup: the content of a file with secrets is sealed before an import rewrites it, and goes back
//! on request into a file that the caller has made. It comes out by no message: the helper writes it itself, and what it
//! writes into has to be a new file of the caller's own, so that nobody has the helper write where only the helper may.

use super::{Desk, Refusal};
use crate::ids;
use crate::peer::Caller;
use avouch_audit::record::HelperEvent;
use avouch_wire::local::{RestoreBackupReply, RestoreBackupRequest, SealBackupReply, SealBackupRequest};
use avouch_words::{Digest, Secret, Ulid};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// Answers SealBackup.
pub async fn seal(desk: &Desk, uid: u32, request: SealBackupRequest) -> Result<SealBackupReply, Refusal> {
    let content = Secret::new(request.content);
    let of = owned(uid, &request.of)?;
    let backup = ids::ulid(desk.clock.as_ref()).map_err(|_| Refusal::Failed)?;
    let sealed = desk.sealed.clone();
    let put = tokio::task::spawn_blocking(move || sealed.keep_backup(&of, backup, &content));
    put.await.map_err(|_| Refusal::Failed)?.map_err(Refusal::Put)?;
    desk.journal.note(HelperEvent::BackupSealed { backup, uid });
    Ok(SealBackupReply { backup: backup.to_string() })
}

/// Answers RestoreBackup. Nothing is written before it is on record.
pub async fn restore(
    desk: &Desk,
    caller: &Caller,
    request: RestoreBackupRequest,
) -> Result<RestoreBackupReply, Refusal> {
    let uid = caller.uid();
    let of = owned(uid, &request.of)?;
    let sealed = desk.sealed.clone();
    let wanted = match request.backup.as_str() {
        "" => None,
        text => Some(Ulid::parse(text).map_err(|_| Refusal::NoBackup)?),
    };
    let opening = tokio::task::spawn_blocking(move || {
        let backup = wanted.or(sealed.newest_backup(&of).ok().flatten()).ok_or(Refusal::NoBackup)?;
        sealed.open_backup(&of, backup).map(|content| (backup, content)).map_err(|_| Refusal::NoBackup)
    });
    let (backup, content) = opening.await.map_err(|_| Refusal::Failed)??;
    let mut file = callers_file(caller, request.descriptor)?;
    let noted = desk.spool.append(HelperEvent::BackupRestored { backup, uid }).await;
    noted.map_err(|_| Refusal::NotRecorded)?;
    let sealed = desk.sealed.clone();
    let writing = tokio::task::spawn_blocking(move || {
        file.write_all(content.expose()).and_then(|()| file.sync_all()).map_err(|_| Refusal::NotYours)?;
        // It is in the caller's file now; one that stays behind is only one too many.
        let _ = sealed.drop_backup(&of, backup);
        Ok(())
    });
    writing.await.map_err(|_| Refusal::Failed)??;
    tracing::info!(%backup, uid, "local.backup.restored");
    Ok(RestoreBackupReply { backup: backup.to_string() })
}

/// One operator's files are not another's.
fn owned(uid: u32, of: &[u8]) -> Result<Digest, Refusal> {
    let of: [u8; 32] = of.try_into().map_err(|_| Refusal::NoBackup)?;
    Ok(Digest::of(&[&uid.to_be_bytes(), &of]))
}

/// The file behind a descriptor of the caller's: new, empty, of mode 0600 and its own.
fn callers_file(caller: &Caller, descriptor: u32) -> Result<File, Refusal> {
    let path = format!("/proc/{}/fd/{descriptor}", caller.peer().pid());
    // What is behind it may be a pipe or a terminal, and is not waited for.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path).map_err(|_| Refusal::NotYours)?;
    // The process whose descriptor it was is still the one that asked.
    caller.recheck().map_err(|_| Refusal::NotOperator)?;
    let about = file.metadata().map_err(|_| Refusal::NotYours)?;
    let own = about.is_file() && about.uid() == caller.uid() && about.mode() & 0o7777 == 0o600;
    if own && about.len() == 0 && about.nlink() <= 1 { Ok(file) } else { Err(Refusal::NotYours) }
}
