//! What this host gives to contained sessions. It is wrong only where the helper requires them.

use crate::doctor::Finding;
use crate::doctor::scene::{Lacking, Scene};

const CHECK: &str = "containment";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let Some(host) = &scene.host else { return Finding::unseen(CHECK, "not tried inside a session") };
    let sentence = |lacking: &Lacking| {
        let about = format!("this host cannot contain a session: {}", lacking.why);
        let fix = format!("{}; until then `avouch run --no-contain` goes without.", fix(&lacking.fix));
        (about, fix)
    };
    if let Some(lacking) = host.iter().find(|lacking| lacking.needed) {
        let (about, fix) = sentence(lacking);
        let required = scene.status().is_some_and(|status| status.contain_required);
        return if required { Finding::wrong(CHECK, about, fix) } else { Finding::note(CHECK, about, fix) };
    }
    match host.first() {
        Some(Lacking { name, why, fix: command, .. }) => {
            let about = format!("`avouch run --contain -- COMMAND` works, with less: {name}: {why}");
            Finding::note(CHECK, about, format!("{}.", fix(command)))
        }
        None => Finding::ok(CHECK, "`avouch run --contain -- COMMAND` works, with all that a kernel can give"),
    }
}

/// A command is to be run; anything else says by itself what to do.
fn fix(text: &str) -> String {
    let command = ["sudo ", "systemd-run "].iter().any(|word| text.starts_with(word));
    let mut letters = text.chars();
    match letters.next() {
        Some(_) if command => format!("Run `{text}`"),
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => "Use another host".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::Answer;
    use crate::doctor::scene::tests::{session, sound};

    fn lacking(needed: bool) -> Option<Vec<Lacking>> {
        let text = |text: &str| text.to_owned();
        Some(vec![Lacking {
            name: "user namespaces",
            needed,
            why: text("they are off"),
            fix: text("sudo sysctl -w x=1"),
        }])
    }

    #[test]
    fn a_host_that_cannot_contain_is_wrong_where_it_has_to() {
        let with = |host, required| {
            let mut scene = Scene { host, ..sound() };
            if let Answer::Said(status) = &mut scene.helper {
                status.contain_required = required;
            }
            judge(&scene)
        };
        let finding = with(lacking(true), true);
        assert_eq!(finding.state, State::Wrong);
        assert!(finding.fix.starts_with("Run `sudo sysctl -w x=1`") && finding.fix.contains("--no-contain"));
        assert_eq!(with(lacking(true), false).state, State::Note);
        assert_eq!(with(lacking(false), true).state, State::Note);
        assert_eq!(with(Some(Vec::new()), true).state, State::Ok);
        assert_eq!(judge(&session()).state, State::Unseen);
    }
}
