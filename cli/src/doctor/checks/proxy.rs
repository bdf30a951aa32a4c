//! A call that goes past the session's proxy gets no credential.

use crate::doctor::Finding;
use crate::doctor::scene::{Scene, Session};

const CHECK: &str = "proxy";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let Some(session) = &scene.session else { return Finding::ok(CHECK, "`avouch run` sets it, and empties NO_PROXY") };
    for name in ["NO_PROXY", "no_proxy"] {
        if let Some(hosts) = scene.variable(name).filter(|hosts| !hosts.trim().is_empty()) {
            let about = format!("{name} lets {hosts} pass by the session's proxy, and such calls get no credential");
            let fix = "Run `export NO_PROXY= no_proxy=`, and take it out of the start-up file or wrapper that sets it.";
            return Finding::wrong(CHECK, about, fix);
        }
    }
    let Some((address, answers)) = session.proxy else {
        let about = "no variable leads to the session's proxy";
        return Finding::wrong(
            CHECK,
            about,
            "Unset HTTP_PROXY, HTTPS_PROXY and ALL_PROXY where they are set, and start anew with `avouch run`.",
        );
    };
    if !answers {
        let about = format!("the session's proxy at {address} does not answer: the session has ended, or its helper");
        return Finding::wrong(CHECK, about, "Start the program anew with `avouch run`.");
    }
    changed(scene, session).unwrap_or_else(|| Finding::ok(CHECK, format!("every tool is led to {address}")))
}

fn changed(scene: &Scene, session: &Session) -> Option<Finding> {
    let proxies = session.names.iter().filter(|(name, _)| name.to_ascii_uppercase().ends_with("_PROXY"));
    let mut proxies = proxies.filter(|(_, value)| !value.is_empty());
    let (name, value) = proxies.find(|(name, value)| scene.variable(name) != Some(value))?;
    let about = match scene.variable(name) {
        None => format!("{name} was unset in this session"),
        Some(_) => format!("{name} was replaced in this session by another proxy's address"),
    };
    let fix = format!("Run `export {name}={value}`, and take it out of the start-up file or wrapper that sets it.");
    Some(Finding::wrong(CHECK, about, fix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::session;

    #[test]
    fn whatever_leads_past_the_proxy_is_wrong() {
        for (name, value, said) in [
            ("NO_PROXY", "localhost", "NO_PROXY lets localhost pass by"),
            ("no_proxy", "*", "no_proxy lets * pass by"),
            ("HTTPS_PROXY", "http://me:pw@proxy.test:3128", "HTTPS_PROXY was replaced"),
        ] {
            let mut scene = session();
            scene.environment.insert(name.into(), value.into());
            let finding = judge(&scene);
            assert!(finding.about.contains(said) && !finding.about.contains("pw"), "{}", finding.about);
            assert_eq!(finding.state, State::Wrong);
        }
        let mut scene = session();
        if let Some(session) = &mut scene.session {
            session.proxy = session.proxy.map(|(address, _)| (address, false));
        }
        assert!(judge(&scene).about.contains("does not answer"));
    }
}
