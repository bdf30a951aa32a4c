//! Room and rights where avouch writes.

use crate::doctor::scene::Disk;
use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The disks of these directories; of the nearest above, where one does not exist yet.
pub fn look(places: &[PathBuf]) -> Vec<Disk> {
    places.iter().filter_map(|place| disk(place.ancestors().find(|dir| dir.is_dir())?)).collect()
}

fn disk(dir: &Path) -> Option<Disk> {
    let room = statvfs(dir).ok()?;
    // Some file systems count no files, and say that there are none at all.
    let inodes = if room.f_files == 0 { u64::MAX } else { room.f_favail };
    Some(Disk {
        free: room.f_bavail.saturating_mul(room.f_frsize),
        inodes,
        owner: std::fs::metadata(dir).ok()?.uid(),
        writable: accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok(),
        dir: dir.to_owned(),
    })
}
