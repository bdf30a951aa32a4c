//! Whoever may not connect gets neither a session nor an identity; and where others can put a socket of their own, it
//! would be theirs that is asked.

use crate::doctor::Finding;
use crate::doctor::scene::{Door, Scene};
use std::io::ErrorKind;

const CHECK: &str = "sockets";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    if scene.doors.is_empty() {
        return Finding::unseen(CHECK, "there are none");
    }
    let (mut denied, mut exposed) = (scene.doors.iter().filter_map(denied), scene.doors.iter().filter_map(exposed));
    if let Some((about, fix)) = denied.next().or_else(|| exposed.next()) {
        return Finding::wrong(CHECK, about, fix);
    }
    Finding::ok(CHECK, format!("uid {} may use them", scene.uid))
}

fn denied(door: &Door) -> Option<(String, String)> {
    if door.outcome != Err(ErrorKind::PermissionDenied) {
        return None;
    }
    let socket = door.path.display();
    let Some((barrier, mode)) = &door.barrier else {
        let about = format!("this user may not connect to {socket}");
        return Some((
            about,
            format!("See who keeps it: `namei -l {socket}`, or the helper's AppArmor or SELinux rules."),
        ));
    };
    let right = if *barrier == door.path { "a+rw" } else { "a+x" };
    let barrier = barrier.display();
    let about = format!("this user may not connect to {socket}, as {barrier} has mode {mode:04o}");
    Some((about, format!("Run `chmod {right} {barrier}`: who connects is asked of the kernel, not of the mode.")))
}

fn exposed(door: &Door) -> Option<(String, String)> {
    let (dir, mode) = door.unsafe_dir.as_ref()?;
    let (socket, dir) = (door.path.display(), dir.display());
    let about = format!("others can put a socket of their own in the place of {socket}: {dir} has mode {mode:04o}");
    Some((about, format!("Run `chmod go-w {dir}`, then start the helper again.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::sound;

    #[test]
    fn what_is_in_the_way_is_named_with_the_right_that_opens_it() {
        let mut scene = sound();
        scene.doors[1].outcome = Err(ErrorKind::PermissionDenied);
        scene.doors[1].barrier = Some(("/run/avouch".into(), 0o700));
        let finding = judge(&scene);
        assert!(finding.fix.contains("`chmod a+x /run/avouch`"), "{}", finding.fix);
        scene.doors[1].barrier = Some((scene.doors[1].path.clone(), 0o600));
        assert!(judge(&scene).fix.contains("`chmod a+rw /run/avouch/helper/workload.sock`"));
        scene.doors[1].outcome = Err(ErrorKind::ConnectionRefused);
        assert_eq!(judge(&scene).state, State::Ok, "that nobody listens is the helper's");
        scene.doors[0].unsafe_dir = Some(("/run/avouch".into(), 0o777));
        assert!(judge(&scene).fix.contains("chmod go-w /run/avouch"));
    }
}
