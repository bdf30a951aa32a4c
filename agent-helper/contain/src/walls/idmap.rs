//! The work directory for an id that is not its owner's: an idmapped mount, which shows one id as another and
//! gives nothing else away (mount_setattr(2)).

use super::ContainError;
use super::kernel::{Attributes, set_attributes};
use super::mounts;
use super::order::Order;
use super::who::FIRST_UNUSED;
use crate::CANNOT_EXECUTE;
use crate::stage::{Step, die_with, self_again};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{fstat, lgetxattr};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The work directory as a mount of its own, in which its owner's files are the session's. Root's work.
pub(super) fn give(order: &Order) -> Result<OwnedFd, ContainError> {
    let shown = order.work_dir.display();
    let failed = |doing: &str, error: io::Error| ContainError::IdMap(format!("{doing} {shown}: {error}"));
    let place = mounts::find_without_links(&order.work_dir).map_err(|error| failed("open", error))?;
    let about = fstat(&place).map_err(|error| failed("look at", error.into()))?;
    let plain = Attributes { no_devices: true, ..Attributes::default() };
    if about.st_uid == order.who.uid {
        let mount = mounts::copy(&place).map_err(|error| failed("copy the mount of", error))?;
        set_attributes(&mount, true, plain).map_err(|error| failed("mount", error))?;
        return Ok(mount);
    }
    let owner = (about.st_uid, about.st_gid);
    if !order.who.is_nobodys() {
        // A session may pass a descriptor of it out to whoever has its id, and no list of calls holds there.
        return Err(ContainError::IdMap(format!(
            "{shown} belongs to uid {}, and out of the session uid {} could write in it as that; an id that nobody has \
             is one from {FIRST_UNUSED} on",
            owner.0, order.who.uid
        )));
    }
    if let Some(found) = raising(&order.work_dir, owner).map_err(|error| failed("look through", error))? {
        return Err(ContainError::IdMap(format!(
            "{} in it runs with the rights of another, and the session could rewrite it",
            found.display()
        )));
    }
    let map = namespace(owner, (order.who.uid, order.who.gid)).map_err(|error| failed("map the owner of", error))?;
    // What is mounted below may belong to file systems that cannot be mapped, and is no part of the directory.
    let mount = mounts::copy_alone(&place).map_err(|error| failed("copy the mount of", error))?;
    let mapped = Attributes { map: Some(map.as_fd()), ..plain };
    set_attributes(&mount, false, mapped).map_err(|error| {
        let why = "this kernel or file system shows no id as another in";
        failed(why, error)
    })?;
    Ok(mount)
}

/// A program below `top` that runs with its owner's or its group's rights, or with capabilities, and belongs to those whose
/// files are the session's. Writing to one through its memory leaves it as it is: no list of calls stops that.
fn raising(top: &Path, owner: (u32, u32)) -> io::Result<Option<PathBuf>> {
    let device = fs::symlink_metadata(top)?.dev();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // What is gone meanwhile is no danger.
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() && about.dev() == device {
                directories.push(entry.path());
            }
            let theirs = about.uid() == owner.0 || about.gid() == owner.1;
            if theirs && about.is_file() && about.mode() & PROGRAM != 0 {
                let path = entry.path();
                if about.mode() & SET_ID != 0 || lgetxattr(&path, CAPABILITIES, &mut [0u8; 0]).is_ok() {
                    return Ok(Some(path));
                }
            }
        }
    }
    Ok(None)
}

/// A user namespace in which the second ids are called as the first, of a process that lives as long as this takes.
/// For a mount it shows what the first own as the second's.
pub(super) fn namespace(owner: (u32, u32), session: (u32, u32)) -> io::Result<OwnedFd> {
    let mut holder = self_again(Step::Hold).stdin(Stdio::piped()).stdout(Stdio::piped()).env_clear().spawn()?;
    let held = hold_and_map(&mut holder, owner, session);
    let _ = holder.kill();
    holder.wait()?;
    held
}

fn hold_and_map(holder: &mut std::process::Child, owner: (u32, u32), session: (u32, u32)) -> io::Result<OwnedFd> {
    let mut ready = [0];
    holder.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?.read_exact(&mut ready)?;
    let proc = format!("/proc/{}", holder.id());
    fs::write(format!("{proc}/uid_map"), format!("{} {} 1", owner.0, session.0))?;
    fs::write(format!("{proc}/gid_map"), format!("{} {} 1", owner.1, session.1))?;
    Ok(File::open(format!("{proc}/ns/user"))?.into())
}

/// The stage whose user namespace is borrowed: makes one, says so, and waits to be ended.
pub(crate) fn hold(parent: i32) -> u8 {
    let held = || -> io::Result<()> {
        die_with(parent)?;
        unshare(CloneFlags::CLONE_NEWUSER)?;
        let mut out = io::stdout();
        out.write_all(b"+")?;
        out.flush()?;
        io::stdin().read_to_end(&mut Vec::new()).map(drop)
    };
    if held().is_ok() { 0 } else { CANNOT_EXECUTE }
}

/// The set-user-id and set-group-id bits.
const SET_ID: u32 = 0o6000;
/// What makes a program of a file: that somebody may run it.
const PROGRAM: u32 = 0o111;
/// Where a file's capabilities are.
const CAPABILITIES: &str = "security.capability";
