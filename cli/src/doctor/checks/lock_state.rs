//! A helper that does not know which locks there are injects nothing.

use super::without_helper;
use crate::doctor::Finding;
use crate::doctor::scene::Scene;
use crate::output::span;
use std::time::Duration;

const CHECK: &str = "locks";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let Some(status) = scene.status() else { return without_helper(CHECK, scene) };
    let age = span(Duration::from_millis(status.state_age_ms));
    let stale =
        |why: &str, fix: &str| Finding::wrong(CHECK, format!("nothing is injected: {why} ({})", status.held_by), fix);
    match status.held_by.as_str() {
        "" | "audit_unavailable" => Finding::ok(CHECK, format!("their state was heard {age} ago")),
        "state_unknown" => stale("the helper has not yet heard which locks there are", WAIT),
        "state_old" => stale(&format!("the helper heard {age} ago which locks there are, and that is too long"), WAIT),
        "version_went_back" | "locks_vanished" => stale(
            "the issuer's state went back, as after an older copy of its database was put in place",
            "If that was meant, restart the helper: `systemctl restart avouch-helper`; else put the newer copy back.",
        ),
        _ => stale("what the issuer says is not believed", "See the helper's log: `journalctl -u avouch-helper`."),
    }
}

const WAIT: &str = "See that the issuer can read its database: `journalctl -u avouch-server` on its machine; then ask \
                    again.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::Answer;
    use crate::doctor::scene::tests::sound;

    #[test]
    fn whatever_holds_injection_back_is_wrong_but_for_the_spool() {
        for (code, state) in [
            ("", State::Ok),
            ("audit_unavailable", State::Ok),
            ("state_old", State::Wrong),
            ("something_new", State::Wrong),
        ] {
            let mut scene = sound();
            if let Answer::Said(status) = &mut scene.helper {
                status.held_by = code.to_owned();
            }
            assert_eq!(judge(&scene).state, state, "{code}");
        }
    }
}
