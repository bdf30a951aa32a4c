//! Programs that a session's tools run on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// What `node --version` says, if there is a Node in PATH that says anything.
pub async fn node_version(environment: &BTreeMap<String, String>) -> Option<String> {
    let path = environment.get("PATH")?;
    // What lies in the directory that one happens to be in is not started.
    let dirs = std::env::split_paths(path).filter(|dir| dir.is_absolute());
    let node = dirs.map(|dir| dir.join("node")).find(|program| is_program(program))?;
    let mut command = Command::new(node);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && version.len() <= LONGEST && version.starts_with('v')).then_some(version)
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

const PATIENCE: Duration = Duration::from_secs(5);
/// Letters of a version.
const LONGEST: usize = 40;
