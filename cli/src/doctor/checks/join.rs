//! A helper that is no node of the trust domain serves nobody.

use super::without_helper;
use crate::doctor::Finding;
use crate::doctor::scene::Scene;
use crate::output::relative;
use avouch_words::Millis;

const CHECK: &str = "join";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    if let Some(fault) = scene.start_fault_of(JOINING) {
        let about = format!("this node could not join: {}", fault.sentence);
        return Finding::wrong(CHECK, about, format!("{} {TOKEN}", fault.action));
    }
    let Some(status) = scene.status() else { return without_helper(CHECK, scene) };
    if status.contact_fault == "node_banned" {
        let about = format!("an operator has banned this node, {}", status.node_id);
        return Finding::wrong(CHECK, about, EVICT);
    }
    let end = Millis(status.svid_expires_ms);
    if end <= scene.now {
        let ended = relative(end, scene.now);
        return Finding::wrong(CHECK, format!("the node's SVID ran out {ended}, and was not renewed"), TOKEN);
    }
    Finding::ok(CHECK, format!("{}, its SVID ends {}", status.node_id, relative(end, scene.now)))
}

const JOINING: &[&str] = &[
    "not_joined",
    "node_svid_expired",
    "token_malformed",
    "token_expired",
    "token_refused",
    "token_file_unusable",
    "wrong_trust_domain",
    "issuer_not_pinned",
];
const TOKEN: &str = "On the issuer's machine: `avouch token create --node NAME --out join.token`; put it where \
                     `join_token_file` in helper.toml says. A helper that runs takes it within seconds.";
const EVICT: &str = "If that is over, on the issuer's machine: `avouch node evict NAME --reason WHY`, then `avouch node \
                     token NAME --out join.token`; put that where `join_token_file` in helper.toml says.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::Answer;
    use crate::doctor::scene::tests::sound;

    #[test]
    fn a_banned_node_is_told_first() {
        let mut scene = sound();
        if let Answer::Said(status) = &mut scene.helper {
            status.contact_fault = "node_banned".to_owned();
        }
        assert_eq!(judge(&scene).state, State::Wrong);
    }

    #[test]
    fn an_svid_is_good_until_its_end() {
        for (left, state) in [(1, State::Ok), (0, State::Wrong), (-90_000, State::Wrong)] {
            let mut scene = sound();
            if let Answer::Said(status) = &mut scene.helper {
                status.svid_expires_ms = scene.now.0 + left;
            }
            assert_eq!(judge(&scene).state, state, "{left}");
        }
    }
}
