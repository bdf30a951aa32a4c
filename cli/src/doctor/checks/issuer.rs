//! Locks and identities come from the issuer: a helper that does not reach it stops injecting.

use super::without_helper;
use crate::doctor::Finding;
use crate::doctor::scene::Scene;

const CHECK: &str = "issuer";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    if let Some(fault) = scene.start_fault_of(&["issuer_unreachable", "issuer_refused"]) {
        return Finding::wrong(CHECK, &fault.sentence, START);
    }
    let Some(status) = scene.status() else { return without_helper(CHECK, scene) };
    let (issuer, reason) = (&status.issuer, &status.contact_reason);
    match status.contact_fault.as_str() {
        // The clock is another check's; doubts of what the issuer said are the lock state's.
        // What a join cures is that check's.
        "node_expired" | "node_banned" => Finding::ok(CHECK, format!("what keeps this node from {issuer} is its join")),
        "" | "clock_off" | "renewed" => Finding::ok(CHECK, format!("the helper hears the issuer at {issuer}")),
        "connecting" => Finding::note(CHECK, format!("the helper has just begun to look for {issuer}"), "Ask again."),
        "issuer_not_expected" => {
            let about = format!("whoever answers at {issuer} is not the issuer that this node has joined: {reason}");
            Finding::wrong(CHECK, about, "Correct `issuer` in helper.toml, or join that one with a new token.")
        }
        "issuer_unreachable" | "issuer_gone" | "issuer_silent" => {
            Finding::wrong(CHECK, format!("the helper cannot reach the issuer at {issuer}: {reason}"), START)
        }
        _ => Finding::ok(CHECK, format!("the helper reaches the issuer at {issuer}")),
    }
}

const START: &str = "Start the issuer, `systemctl start avouch-server` on its machine, and see that `issuer` in \
                     helper.toml is where it is.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::Answer;
    use crate::doctor::scene::tests::sound;

    #[test]
    fn what_is_no_fault_of_the_way_there_is_left_to_others() {
        for (code, state) in [
            ("", State::Ok),
            ("connecting", State::Note),
            ("issuer_unreachable", State::Wrong),
            ("issuer_silent", State::Wrong),
            ("issuer_not_expected", State::Wrong),
            ("clock_off", State::Ok),
            ("version_went_back", State::Ok),
        ] {
            let mut scene = sound();
            if let Answer::Said(status) = &mut scene.helper {
                status.contact_fault = code.to_owned();
            }
            assert_eq!(judge(&scene).state, state, "{code}");
        }
    }
}
