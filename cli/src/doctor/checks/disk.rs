//! Without a place for its records the helper injects nothing.

use crate::doctor::Finding;
use crate::doctor::scene::{Disk, Scene};

const CHECK: &str = "disk";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    if let Some(fault) = scene.start_fault_of(&["directory_unusable", "database_unusable"]) {
        return Finding::wrong(CHECK, &fault.sentence, &fault.action);
    }
    if let Some(full) = scene.disks.iter().find(|disk| disk.free < LEAST_BYTES || disk.inodes < LEAST_FILES) {
        let dir = full.dir.display();
        let about = format!("the disk of {dir} is full: {} KiB and {} files are left", full.free / 1024, full.inodes);
        return Finding::wrong(CHECK, about, format!("Free some space: `df -h {dir}` shows the disk."));
    }
    if scene.status().is_some_and(|status| status.held_by == "audit_unavailable") {
        let about = "the helper cannot write its audit records, so it injects nothing";
        let fix = "See its log, free its disk or give its state directory back to it, then restart it: \
                   `systemctl restart avouch-helper`, or `avouch dev` again.";
        return Finding::wrong(CHECK, about, fix);
    }
    // Of a directory that belongs to somebody else, this user's rights say nothing.
    let ours = |disk: &&Disk| disk.owner == scene.uid || scene.uid == 0;
    if let Some(locked) = scene.disks.iter().filter(ours).find(|disk| !disk.writable) {
        let dir = locked.dir.display();
        let about = format!("{dir} cannot be written");
        return Finding::wrong(CHECK, about, format!("Make it writable: `chmod u+rwx {dir}`, or mount its disk `rw`."));
    }
    match scene.disks.iter().map(|disk| disk.free).min() {
        Some(free) => Finding::ok(CHECK, format!("{} MiB free where avouch writes", free / 1024 / 1024)),
        None => Finding::unseen(CHECK, "no directory of avouch is there to look at"),
    }
}

/// Room for a while of records.
const LEAST_BYTES: u64 = 1024 * 1024;
/// A renewal makes a few.
const LEAST_FILES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::sound;

    #[test]
    fn a_full_disk_and_one_that_cannot_be_written_are_wrong_and_others_are_not_judged_by_our_rights() {
        let disk = |free, inodes, owner, writable| Disk { dir: "/s".into(), free, inodes, owner, writable };
        for (disk, state) in [
            (disk(LEAST_BYTES, LEAST_FILES, 1000, true), State::Ok),
            (disk(LEAST_BYTES - 1, LEAST_FILES, 1000, true), State::Wrong),
            (disk(LEAST_BYTES, LEAST_FILES - 1, 1000, true), State::Wrong),
            (disk(LEAST_BYTES, LEAST_FILES, 1000, false), State::Wrong),
            (disk(LEAST_BYTES, LEAST_FILES, 7, false), State::Ok),
        ] {
            let finding = judge(&Scene { disks: vec![disk.clone()], ..sound() });
            assert_eq!(finding.state, state, "{disk:?}");
        }
    }
}
