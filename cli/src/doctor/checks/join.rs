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
const TOKEN: &str = "On the issuer's machine: `avouch token create --node NAME --out join.token`; name that file as \
                     `join_token_file` in helper.toml, and start the helper again.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::Answer;
    use crate::doctor::scene::tests::sound;

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
