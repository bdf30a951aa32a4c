//! Node's own fetch knows a proxy from the environment only since 22.21 and 24.5, and only if it is told to look.

use crate::doctor::Finding;
use crate::doctor::scene::Scene;

const CHECK: &str = "node";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let Some(version) = &scene.node else { return Finding::ok(CHECK, "there is no Node in PATH") };
    if !knows_proxies(version) {
        let about =
            format!("Node {} cannot use the proxy of the environment: its fetch passes the broker by", shown(version));
        let fix = "Use Node 22.21 or later (24.5 or later of the 24 line), or give its program an undici `EnvHttpProxyAgent`.";
        // Outside nothing says that an agent will use it.
        return if scene.inside() { Finding::wrong(CHECK, about, fix) } else { Finding::note(CHECK, about, fix) };
    }
    let told = scene.variable(VARIABLE) == Some("1")
        || scene.variable("NODE_OPTIONS").is_some_and(|options| options.split_whitespace().any(|one| one == OPTION));
    if scene.inside() && !told {
        let about = format!("{VARIABLE} is not 1 in this session, so Node's fetch passes the broker by");
        let fix =
            format!("Run `export {VARIABLE}=1`, and take it out of the start-up file or wrapper that changes it.");
        return Finding::wrong(CHECK, about, fix);
    }
    Finding::ok(CHECK, format!("Node {} uses the proxy of the environment", shown(version)))
}

/// Whether this version, `v22.21.0`, has the switch.
fn knows_proxies(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    match (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) {
        (22, minor) => minor >= 21,
        (24, minor) => minor >= 5,
        (major, _) => major > 24,
    }
}

fn shown(version: &str) -> &str {
    version.trim_start_matches('v')
}

const VARIABLE: &str = "NODE_USE_ENV_PROXY";
const OPTION: &str = "--use-env-proxy";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::{session, sound};

    #[test]
    fn the_versions_that_know_proxies_are_told_apart() {
        for (version, knows) in [
            ("v20.20.2", false),
            ("v22.20.9", false),
            ("v22.21.0", true),
            ("v23.11.1", false),
            ("v24.4.1", false),
            ("v24.5.0", true),
            ("v25.0.0", true),
            ("nonsense", false),
        ] {
            assert_eq!(knows_proxies(version), knows, "{version}");
        }
    }

    #[test]
    fn an_old_node_is_wrong_in_a_session_and_worth_knowing_outside() {
        let with = |scene: Scene, version: &str| judge(&Scene { node: Some(version.to_owned()), ..scene }).state;
        assert_eq!((with(session(), "v20.1.0"), with(sound(), "v20.1.0")), (State::Wrong, State::Note));
        assert_eq!(with(session(), "v24.5.0"), State::Ok);
        let mut scene = session();
        scene.environment.remove(VARIABLE);
        assert_eq!(with(scene, "v24.5.0"), State::Wrong);
        let mut scene = session();
        scene.environment.insert(VARIABLE.into(), "0".into());
        scene.environment.insert("NODE_OPTIONS".into(), "--max-old-space-size=99 --use-env-proxy".into());
        assert_eq!(with(scene, "v24.5.0"), State::Ok);
    }
}
