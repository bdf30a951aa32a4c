//! One file for each cause. The order is from what causes to what is caused: where several are wrong, the first
//! explains the others.

mod agent;
mod clock;
mod containment;
mod disk;
mod endpoint;
mod helper;
mod issuer;
mod join;
mod lock_state;
mod node;
mod pids;
mod proxy;
mod sockets;
mod trust;
mod version;

use super::Finding;
use super::scene::Scene;

type Check = fn(&Scene) -> Finding;

const ALL: &[Check] = &[
    disk::judge,
    clock::judge,
    join::judge,
    issuer::judge,
    sockets::judge,
    pids::judge,
    helper::judge,
    version::judge,
    lock_state::judge,
    endpoint::judge,
    agent::judge,
    trust::judge,
    proxy::judge,
    node::judge,
    containment::judge,
];

/// All of them, in order.
pub fn all(scene: &Scene) -> Vec<Finding> {
    ALL.iter().map(|judge| judge(scene)).collect()
}

/// What a check says that needs the helper's word and does not have it.
fn without_helper(check: &'static str, scene: &Scene) -> Finding {
    let why = if scene.inside() { "not told inside a session" } else { "the helper does not say" };
    Finding::unseen(check, why)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::scene::tests::{session, sound};
    use super::*;

    #[test]
    fn a_sound_node_has_nothing_wrong_outside_and_inside_a_session() {
        for scene in [sound(), session()] {
            let wrong: Vec<_> = all(&scene).into_iter().filter(|finding| finding.state == State::Wrong).collect();
            assert_eq!(wrong, []);
        }
    }

    #[test]
    fn the_table_of_the_docs_has_these_checks_in_this_order() {
        let docs = include_str!("../../../../docs/doctor.md");
        let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let listed: Vec<_> = rows.map(|(check, _)| check).collect();
        let checks: Vec<_> = all(&sound()).iter().map(|finding| finding.check).collect();
        assert_eq!(listed, checks);
    }

    #[test]
    fn what_is_wrong_says_what_to_do_in_a_sentence() {
        let mut scene = sound();
        scene.helper = super::super::scene::Answer::Absent("/run/avouch".to_owned());
        let wrong = all(&scene).into_iter().find(|finding| finding.state == State::Wrong).unwrap();
        assert_eq!(wrong.check, "helper");
        assert!(wrong.fix.ends_with('.') && wrong.fix.contains("avouch dev"), "{}", wrong.fix);
    }
}
