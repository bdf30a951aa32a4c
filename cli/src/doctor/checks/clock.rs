//! Two clocks that are far apart make every document of the one invalid for the other.

use super::without_helper;
use crate::doctor::Finding;
use crate::doctor::scene::Scene;
use crate::output::span;
use std::time::Duration;

const CHECK: &str = "clock";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    if let Some(fault) = scene.start_fault_of(&[OFF]) {
        return Finding::wrong(CHECK, &fault.sentence, FIX);
    }
    let Some(status) = scene.status() else { return without_helper(CHECK, scene) };
    if status.contact_fault == OFF {
        return Finding::wrong(CHECK, "by this machine's clock the issuer's certificate is not valid now", FIX);
    }
    let apart = Duration::from_millis(status.clock_ahead_ms.unsigned_abs());
    if apart > FAR {
        let way = if status.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
        return Finding::wrong(CHECK, format!("the clock of this machine is {} {way} the issuer's", span(apart)), FIX);
    }
    Finding::ok(CHECK, format!("{} apart from the issuer's", span(apart)))
}

const OFF: &str = "clock_off";
const FIX: &str = "Set both machines' clocks, by NTP for example: `timedatectl set-ntp true`.";
/// A JWT-SVID has 5 minutes, and verifiers give little leeway.
const FAR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::Answer;
    use crate::doctor::scene::tests::sound;

    #[test]
    fn a_minute_is_the_limit_in_both_directions() {
        for (ahead, state) in [
            (60_000, State::Ok),
            (-60_000, State::Ok),
            (60_001, State::Wrong),
            (-61_000, State::Wrong),
            (i64::MIN, State::Wrong),
        ] {
            let mut scene = sound();
            if let Answer::Said(status) = &mut scene.helper {
                status.clock_ahead_ms = ahead;
            }
            let finding = judge(&scene);
            assert_eq!(finding.state, state, "{ahead}: {}", finding.about);
            assert!(ahead < -60_000 || !finding.about.contains("behind"), "{}", finding.about);
        }
    }
}
