//! Parts of different versions understand each other only in part.

use super::without_helper;
use crate::doctor::Finding;
use crate::doctor::scene::{Answer, Scene};

const CHECK: &str = "version";
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    let issuer = match &scene.issuer {
        Answer::Said(issuer) => Some(("issuer", issuer.status.version.as_str(), "avouch-server")),
        Answer::Absent(_) | Answer::Dead(_) | Answer::Refused(_) | Answer::Silent(_) => None,
    };
    let helper = scene.status().map(|status| ("helper", status.version.as_str(), "avouch-helper"));
    let parts: Vec<_> = helper.into_iter().chain(issuer).collect();
    if let Some((part, version, unit)) = parts.iter().find(|(_, version, _)| *version != OURS) {
        let theirs = if version.is_empty() { "an older version" } else { version };
        let about = format!("the {part} that runs is avouch {theirs}, and this program is avouch {OURS}");
        return Finding::wrong(
            CHECK,
            about,
            format!("Restart it with this one: `systemctl restart {unit}`, or `avouch dev` again."),
        );
    }
    if parts.is_empty() {
        without_helper(CHECK, scene)
    } else {
        Finding::ok(CHECK, format!("avouch {OURS} throughout"))
    }
}
