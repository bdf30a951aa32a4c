//! Programs ask for their identity where `SPIFFE_ENDPOINT_SOCKET` says.

use crate::doctor::Finding;
use crate::doctor::scene::Scene;
use std::path::Path;

const CHECK: &str = "endpoint";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let Some(value) = scene.variable(VARIABLE) else {
        return match (scene.inside(), scene.workload_socket()) {
            (true, Some(ours)) => {
                let about = format!("{VARIABLE} was unset in this session");
                Finding::wrong(CHECK, about, format!("Run `export {VARIABLE}=unix://{}`.", ours.display()))
            }
            (true, None) => Finding::wrong(CHECK, format!("{VARIABLE} was unset in this session"), ANEW),
            (false, _) => Finding::ok(CHECK, "`avouch run` sets it; here it is not set"),
        };
    };
    let Some(path) = value.strip_prefix("unix:").map(|rest| Path::new(rest.strip_prefix("//").unwrap_or(rest))) else {
        let about = format!("{VARIABLE} is {value:?}, and the helper listens on a Unix socket");
        return Finding::wrong(CHECK, about, ANEW);
    };
    match scene.workload_socket() {
        Some(ours) if ours != path => {
            let about =
                format!("{VARIABLE} leads to {}, and the helper's Workload API is {}", path.display(), ours.display());
            Finding::wrong(CHECK, about, format!("Run `export {VARIABLE}=unix://{}`, or unset it.", ours.display()))
        }
        _ => Finding::ok(CHECK, format!("{VARIABLE} leads to the helper")),
    }
}

const VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
const ANEW: &str = "Unset it where it is set, and start the program anew with `avouch run`.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::{session, sound};

    #[test]
    fn it_has_to_lead_to_the_helper_that_is_here() {
        let with = |scene: Scene, value: &str| {
            let environment = [(VARIABLE.to_owned(), value.to_owned())].into();
            judge(&Scene { environment, ..scene })
        };
        let finding = with(sound(), "unix:///tmp/spire-agent/public/api.sock");
        assert!(finding.fix.contains("`export SPIFFE_ENDPOINT_SOCKET=unix:///run/avouch/helper/workload.sock`"));
        assert_eq!(with(sound(), "unix:///run/avouch/helper/workload.sock").state, State::Ok);
        assert_eq!(with(session(), "unix:/run/avouch/helper/workload.sock").state, State::Ok);
        assert_eq!(with(sound(), "tcp:127.0.0.1:80").state, State::Wrong);
        assert_eq!(judge(&Scene { environment: Default::default(), ..session() }).state, State::Wrong);
    }
}
