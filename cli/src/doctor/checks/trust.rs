//! Inside a session every tool has to trust the session's own authority; whoever replaces its bundle makes bound hosts
//! fail with a certificate error.

use crate::doctor::Finding;
use crate::doctor::scene::{Scene, Session};

const CHECK: &str = "certificates";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let Some(session) = &scene.session else { return outside(scene) };
    if let Some((file, Err(kind))) = session.files.iter().find(|(_, read)| read.is_err()) {
        let about = format!("the session's certificates in {} cannot be read: {kind}", file.display());
        let fix = "Start the program anew with `avouch run`, and let it keep the user that it was started as.";
        return Finding::wrong(CHECK, about, fix);
    }
    let is_file = |value: &str| session.files.iter().any(|(file, _)| file.as_os_str() == value);
    let mut names = session.names.iter().filter(|(_, value)| is_file(value));
    match names.find(|(name, value)| scene.variable(name) != Some(value)) {
        Some((name, value)) => replaced(scene, session, name, value),
        None => Finding::ok(CHECK, "every tool is led to the session's own"),
    }
}

fn replaced(scene: &Scene, session: &Session, name: &str, value: &str) -> Finding {
    let others = session.names.iter().filter(|(one, wanted)| one != name && wanted == value);
    let more = others.filter(|(one, wanted)| scene.variable(one) != Some(wanted)).count();
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    let about = match scene.variable(name) {
        None => format!("{name}{more} was unset in this session"),
        Some(other) => format!("{name}{more} was replaced in this session: it is {other:?}"),
    };
    let fix = format!("Run `export {name}={value}`, and take it out of the start-up file or wrapper that sets it.");
    Finding::wrong(CHECK, about, fix)
}

fn outside(scene: &Scene) -> Finding {
    match &scene.system_roots {
        Some(file) => Finding::ok(CHECK, format!("the machine's own are in {}", file.display())),
        None => {
            let about = "this machine has no certificates of its own, so a session's tools trust bound hosts alone";
            Finding::note(CHECK, about, "Install them: `apt-get install ca-certificates`, or your system's like.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::session;
    use std::io::ErrorKind;

    #[test]
    fn a_bundle_that_was_replaced_or_cannot_be_read_is_wrong() {
        assert_eq!(judge(&session()).state, State::Ok);
        let mut scene = session();
        scene.environment.insert("SSL_CERT_FILE".into(), "/etc/ssl/cert.pem".into());
        let finding = judge(&scene);
        assert!(finding.about.contains("SSL_CERT_FILE was replaced"), "{}", finding.about);
        assert!(finding.fix.contains("`export SSL_CERT_FILE=/run/avouch/helper/sessions/s/bundle.pem`"));
        let mut scene = session();
        scene.environment.remove("NODE_EXTRA_CA_CERTS");
        assert!(judge(&scene).about.contains("NODE_EXTRA_CA_CERTS was unset"));
        let mut scene = session();
        if let Some(session) = &mut scene.session {
            session.files[0].1 = Err(ErrorKind::NotFound);
        }
        assert_eq!(judge(&scene).state, State::Wrong);
    }
}
