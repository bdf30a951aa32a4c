//! A helper that cannot see a process by its number cannot attest it, and hangs up on it.

use crate::doctor::Finding;
use crate::doctor::scene::{Identity, PeerProcess, Scene};

const CHECK: &str = "pids";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let answered = matches!(scene.identity, Identity::Known(_) | Identity::Nobody);
    match &scene.peer {
        None => Finding::unseen(CHECK, "no helper is connected to"),
        _ if answered => Finding::ok(CHECK, "the helper can attest this process"),
        Some(PeerProcess { pid, same_namespace: Some(false) }) if *pid > 0 => {
            let about =
                format!("the helper (pid {pid}) is in a pid namespace below this one and cannot attest this process");
            Finding::wrong(CHECK, about, FIX)
        }
        Some(PeerProcess { pid: 0, .. }) => {
            let about = "the helper is in another pid namespace and does not answer this process";
            Finding::wrong(CHECK, about, FIX)
        }
        Some(_) => Finding::unseen(CHECK, "the helper said nothing that would tell"),
    }
}

const FIX: &str = "Run the helper where it sees this process: on the host, or in a container with `--pid=host` (in \
                   Kubernetes `hostPID: true`).";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::sound;

    #[test]
    fn another_namespace_is_wrong_only_where_the_helper_is_silent() {
        let silent = || Identity::Silent("it hung up".to_owned());
        for (identity, pid, same_namespace, state) in [
            (Identity::Nobody, 0, None, State::Ok),
            (silent(), 0, None, State::Wrong),
            (silent(), 9, Some(false), State::Wrong),
            (silent(), 9, Some(true), State::Unseen),
        ] {
            let peer = Some(PeerProcess { pid, same_namespace });
            assert_eq!(judge(&Scene { identity, peer: peer.clone(), ..sound() }).state, state, "{peer:?}");
        }
    }
}
