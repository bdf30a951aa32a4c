//! Without a helper there is nothing here.

use crate::doctor::Finding;
use crate::doctor::scene::{Answer, INSIDE, Identity, Scene};

const CHECK: &str = "helper";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let gone = match &scene.helper {
        Answer::Said(status) => {
            let state = if status.injecting { "injecting" } else { "not injecting" };
            return Finding::ok(CHECK, format!("it runs, {state}"));
        }
        Answer::Refused(code) if code == INSIDE => {
            return Finding::ok(CHECK, "it runs; inside a session it tells no more");
        }
        Answer::Refused(code) => {
            let about = format!("it runs, and tells uid {} no more ({code})", scene.uid);
            return Finding::note(CHECK, about, "Ask as an operator of it to learn the rest.");
        }
        // From inside, its admin socket is not to be seen; that its other one answers is enough.
        Answer::Absent(_) if scene.inside() && !matches!(scene.identity, Identity::Silent(_)) => {
            return Finding::ok(CHECK, "it answers");
        }
        Answer::Absent(places) => format!("no helper runs here: there is no socket of it in {places}"),
        Answer::Dead(socket) => format!("the helper has ended and left {} behind", socket.display()),
        Answer::Silent(why) => format!("the helper does not answer: {why}"),
    };
    if scene.inside() {
        return Finding::wrong(CHECK, gone, "Start the helper again outside, and this program anew with `avouch run`.");
    }
    match &scene.start_fault {
        Some(fault) => Finding::wrong(
            CHECK,
            format!("the helper does not run: its last start failed, as {}", fault.sentence),
            &fault.action,
        ),
        None => Finding::wrong(CHECK, gone, START),
    }
}

const START: &str = "Start one: `avouch dev` on a machine of one's own, `systemctl start avouch-helper` on a node.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::{session, sound};
    use avouch_config::LastFault;

    #[test]
    fn why_it_did_not_start_is_passed_on() {
        let fault = |text: &str| text.to_owned();
        let mut scene = Scene { helper: Answer::Dead("/h".into()), ..sound() };
        assert!(judge(&scene).fix.contains("avouch dev"));
        scene.start_fault = Some(LastFault {
            code: fault("port_taken"),
            sentence: fault("the port is taken"),
            action: fault("Stop it."),
        });
        let finding = judge(&scene);
        assert_eq!((finding.state, finding.fix.as_str()), (State::Wrong, "Stop it."));
        assert!(finding.about.ends_with("as the port is taken"), "{}", finding.about);
    }

    #[test]
    fn from_inside_it_need_not_be_seen_as_long_as_it_answers() {
        let mut scene = Scene { helper: Answer::Absent("/run/avouch".to_owned()), ..session() };
        assert_eq!(judge(&scene).state, State::Ok);
        scene.identity = Identity::Silent("gone".to_owned());
        assert_eq!(judge(&scene).state, State::Wrong);
    }
}
