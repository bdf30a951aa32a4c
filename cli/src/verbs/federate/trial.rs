//! `--test`: one real exchange, made where it counts, in a session of the agent with the file that the SDK would read.

use super::exchange::Order;
use crate::args::Federated;
use crate::failure::{Exit, Failure};
use crate::verbs::Context;
use avouch_words::target::Target;
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs this program again in a session of the agent; gives what it says, which holds no token.
pub fn run(context: &Context, common: &Federated, target: &Target) -> Result<Value, Failure> {
    let failed = |what: &str, why: &dyn std::fmt::Display| Failure::new(Exit::Failure, format!("cannot {what}: {why}"));
    let ca = common.ca.as_ref().map(std::fs::read_to_string).transpose();
    let order = Order {
        vendor: target.vendor().as_str().to_owned(),
        endpoint: common.endpoint.clone().unwrap_or_else(|| target.vendor().token_endpoint(target.settings())),
        settings: target.settings().clone(),
        ca: ca.map_err(|error| failed("read the certificates of --ca", &error))?,
    };
    let order = serde_json::to_vec(&order).map_err(|error| failed("write the order", &error))?;
    let program = std::env::current_exe().map_err(|error| failed("find this program", &error))?;
    let mut command = Command::new(&program);
    if let Some(directory) = context.directories.only() {
        command.arg("--runtime-dir").arg(directory);
    }
    // It sends the token to one place that was named here, and reads nothing else.
    command.args(["run", "--agent", common.agent.as_str(), "--no-contain", "--"]);
    command.arg(program).args(["-o", "json", "federate", "exchange"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed("start a session", &error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has ended already says why.
        let _ = stdin.write_all(&order);
    }
    let output = child.wait_with_output().map_err(|error| failed("wait for the session", &error))?;
    let last = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().last().unwrap_or_default().to_owned();
    if !output.status.success() {
        let said = last(&output.stderr);
        let told: Option<Value> = serde_json::from_str(&said).ok();
        let sentence = told.as_ref().and_then(|told| told["error"]["message"].as_str()).unwrap_or(&said).to_owned();
        return Err(Failure::new(Exit::Failure, format!("the exchange failed: {sentence}"))
            .then("The target stays open; `avouch federate close` takes it back."));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed("read what came of it", &error))
}
