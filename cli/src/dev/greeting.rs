//! What `dev` says when it is ready: where things are, and the first commands.

use super::tool::{self, LocalTool};
use super::{NODE, TRUST_DOMAIN};
use avouch_config::{HELPER_SOCKET, Paths, WORKLOAD_SOCKET};
use serde_json::{Value, json};
use std::path::Path;

/// Everything there is to say.
pub struct Greeting {
    admin_socket: String,
    helper_socket: String,
    workload_api: String,
    state: String,
    seal_keys: String,
    tool_https: String,
    tool_http: String,
    tool_secret: String,
    commands: [String; 4],
    /// Why nothing can be contained here, if that is so.
    uncontained: Option<String>,
}

impl Greeting {
    /// Gathers it.
    pub fn new(paths: &Paths, admin_socket: &Path, tool: &LocalTool, uncontained: Option<String>) -> Self {
        let helper = paths.helper_runtime();
        let address = tool.server.tls_address();
        let origin = format!("https://{}:{}", tool::HOST, address.port());
        let (secret, ca) = (tool.secret_file.display(), tool.ca_file.display());
        let put = format!(
            "avouch secret put tool --value-file '{secret}' --to {origin} --method GET --path '/v1/**' --as bearer \
             --address {address} --ca '{ca}'"
        );
        Self {
            admin_socket: admin_socket.display().to_string(),
            helper_socket: helper.join(HELPER_SOCKET).display().to_string(),
            workload_api: format!("unix://{}", helper.join(WORKLOAD_SOCKET).display()),
            state: paths.state.display().to_string(),
            seal_keys: paths.config.display().to_string(),
            tool_http: format!("http://{}", tool.server.plain_address()),
            tool_secret: secret.to_string(),
            commands: [
                put,
                "avouch agent create researcher --owner me@example.test --selector session:uid:$(id -u)".to_owned(),
                "avouch grant create --agent researcher --credential tool".to_owned(),
                format!("avouch run --agent researcher -- curl {origin}/v1/report"),
            ],
            tool_https: origin,
            uncontained,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("avouch dev runs the trust domain {TRUST_DOMAIN}, with this machine as its node {NODE}."),
            String::new(),
            format!("admin socket     {}", self.admin_socket),
            format!("helper's socket  {}", self.helper_socket),
            format!("Workload API     {}", self.workload_api),
            format!("state            {}", self.state),
            format!("seal keys        {}", self.seal_keys),
            format!("local tool       {} and {}", self.tool_https, self.tool_http),
            format!("its credential   {}", self.tool_secret),
            String::new(),
        ];
        match &self.uncontained {
            None => lines.push(
                "Sessions are contained: they see the directory that they are started in, and not your home."
                    .to_owned(),
            ),
            Some(why) => lines.extend([
                format!("This host cannot contain sessions: {why}."),
                "So `avouch run` refuses here, unless it is told --no-contain; `avouch doctor` says what to do."
                    .to_owned(),
            ]),
        }
        lines.extend([
            String::new(),
            "In another terminal, in a directory for the work (mkdir -p work && cd work):".to_owned(),
            String::new(),
        ]);
        lines.extend(self.commands.iter().map(|command| format!("  {command}")));
        lines.extend([String::new(), "Ctrl-C ends it; the state is kept.".to_owned(), String::new()]);
        lines.join("\n")
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        json!({
            "trust_domain": TRUST_DOMAIN,
            "node": NODE,
            "admin_socket": self.admin_socket,
            "helper_socket": self.helper_socket,
            "workload_api": self.workload_api,
            "state": self.state,
            "seal_keys": self.seal_keys,
            "tool": {"https": self.tool_https, "http": self.tool_http, "value_file": self.tool_secret},
            "contains": self.uncontained.is_none(),
            "commands": self.commands,
        })
    }
}
