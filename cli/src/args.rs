//! The command line: nouns, verbs and flags, and how their values are read.

mod apply;
mod bound;
mod credential;
mod federate;
mod first_day;
mod lease;
mod node;
mod secret;
mod source;

pub use apply::Apply;
pub use bound::Bound;
pub use credential::{CredentialCreate, CredentialVerb};
pub use federate::{FederateVerb, Federated, JwksVerb, Ordered};
pub use first_day::{Completions, Import, ManPages, Shell, Why};
pub use lease::{Exec, How, LeaseVerb, With};
pub use node::{NodeVerb, TokenOrder, Withdrawal};
pub use secret::{PresetVerb, SecretPut, SecretVerb};
pub use source::{SourceTest, SourceVerb};

use crate::complete::live;
use crate::output::Format;
use avouch_policy::SlotSpec;
use avouch_words::{IdPath, Name, Selector};
use clap::{Args, Parser, Subcommand};
use clap_complete::ArgValueCandidates;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Identities for AI agents, and credentials for their tools that they never hold.
#[derive(Debug, Parser)]
#[command(
    name = "avouch",
    version,
    before_help = "Examples:\n  avouch demo                                    show the whole job, and end\n  avouch dev                                     issuer and helper in one process\n  avouch run --agent researcher -- python a.py   run a program as an agent\n  avouch lock create --agent researcher --reason test",
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 denied, 5 no identity, 7 unreachable,\n8 expired, 124 timeout. `run` passes its program's on.",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Directory of avouch's sockets. Without it: $XDG_RUNTIME_DIR/avouch, ~/.local/share/avouch/run, /run/avouch.
    #[arg(long, global = true, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// How data is written; also AVOUCH_OUTPUT.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The nouns, and the verbs that have none.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole job on loopback, step by step, and leave nothing behind.
    #[command(before_help = "Example:\n  avouch demo")]
    Demo,
    /// Run issuer and helper in one process for this user, with a local tool to try.
    #[command(
        before_help = "Example:\n  avouch dev\n\nState is kept in $XDG_DATA_HOME/avouch, its seal keys in $XDG_CONFIG_HOME/avouch, sockets in\n$XDG_RUNTIME_DIR/avouch or, where that is not set, in `run` below the state."
    )]
    Dev,
    /// Run a program as an agent, in a session of its own.
    #[command(
        before_help = "Examples:\n  avouch run -- claude                              under `avouch dev`: as the agent claude\n  avouch run --agent researcher -- python agent.py\n  avouch run --agent researcher --contain=strict -- python agent.py\n  avouch run --agent researcher --contain --explain -- python agent.py\n  avouch run --agent researcher -- sh -c 'curl https://api.example.test/repos/x'"
    )]
    Run(Run),
    /// Run a program that has to hold a value itself. The credential's binding has to reveal it.
    #[command(
        before_help = "Examples:\n  avouch exec --agent researcher --with db=env -- psql\n  avouch exec --with token=env:GITHUB_TOKEN -- gh pr list     inside a session\n  avouch exec --with db=memfd -- sh -c 'tool --password-file \"$DB_PASSWORD_FD\"'"
    )]
    Exec(Exec),
    /// Run the issuer.
    #[command(before_help = "Example:\n  avouch server --config /etc/avouch/server.toml")]
    Server(Daemon),
    /// Run the node's helper.
    #[command(before_help = "Example:\n  avouch helper --config /etc/avouch/helper.toml")]
    Helper(Daemon),
    /// Join tokens, with which a node enrols once.
    #[command(before_help = "Example:\n  avouch token create --node web-1 --out join.token")]
    Token {
        /// Verb.
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Nodes that have enrolled.
    #[command(before_help = "Example:\n  avouch node list")]
    Node {
        /// Verb.
        #[command(subcommand)]
        verb: NodeVerb,
    },
    /// Registered agents.
    #[command(before_help = "Example:\n  avouch agent list")]
    Agent {
        /// Verb.
        #[command(subcommand)]
        verb: AgentVerb,
    },
    /// Credentials: what is bound where, and where it lies. Values are never shown.
    #[command(before_help = "Example:\n  avouch credential list")]
    Credential {
        /// Verb.
        #[command(subcommand)]
        verb: CredentialVerb,
    },
    /// Values of credentials, sealed on this node.
    #[command(before_help = "Example:\n  avouch secret put github --preset github --value-stdin")]
    Secret {
        /// Verb.
        #[command(subcommand)]
        verb: SecretVerb,
    },
    /// Where secrets live, beside what is sealed on this node.
    #[command(before_help = "Example:\n  avouch source list")]
    Source {
        /// Verb.
        #[command(subcommand)]
        verb: SourceVerb,
    },
    /// Ready bindings for well-known services.
    #[command(before_help = "Example:\n  avouch preset list")]
    Preset {
        /// Verb.
        #[command(subcommand)]
        verb: PresetVerb,
    },
    /// Make agents, credentials and grants as files say: all of it, or nothing.
    #[command(
        before_help = "Examples:\n  avouch apply -f avouch.yaml --dry-run\n  avouch apply -f registrations/\n  avouch apply --schema"
    )]
    Apply(Apply),
    /// Which agent may use which credential.
    #[command(before_help = "Example:\n  avouch grant create --agent researcher --credential github")]
    Grant {
        /// Verb.
        #[command(subcommand)]
        verb: GrantVerb,
    },
    /// What this node's helper owes to sources.
    #[command(before_help = "Example:\n  avouch lease list")]
    Lease {
        /// Verb.
        #[command(subcommand)]
        verb: LeaseVerb,
    },
    /// Denials that are felt at once.
    #[command(before_help = "Example:\n  avouch lock create --agent researcher --reason 'odd calls'")]
    Lock {
        /// Verb.
        #[command(subcommand)]
        verb: LockVerb,
    },
    /// Agents that go to clouds and model vendors with identity tokens of their own: no key at all.
    #[command(
        before_help = "Example:\n  avouch federate aws --agent researcher --role-arn arn:aws:iam::123456789012:role/researcher"
    )]
    Federate {
        /// Verb.
        #[command(subcommand)]
        verb: FederateVerb,
    },
    /// The keys that tokens are verified with.
    #[command(before_help = "Example:\n  avouch jwks print")]
    Jwks {
        /// Verb.
        #[command(subcommand)]
        verb: JwksVerb,
    },
    /// This process's own identity documents.
    #[command(before_help = "Example:\n  avouch svid show")]
    Svid {
        /// Verb.
        #[command(subcommand)]
        verb: SvidVerb,
    },
    /// The audit log.
    #[command(before_help = "Example:\n  avouch audit verify")]
    Audit {
        /// Verb.
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// What a refusal's code means, and what to do.
    #[command(before_help = "Example:\n  avouch explain unbound_host")]
    Explain {
        /// The code; all of them without it.
        code: Option<String>,
    },
    /// How issuer and helper are.
    #[command(before_help = "Example:\n  avouch status -o json")]
    Status,
    /// Why a call was refused or let through, and what would change that.
    #[command(before_help = "Example:\n  avouch why 01K9ZQ3M6X5T8W4V2R7N1C0BDE")]
    Why(Why),
    /// Seal the secrets of a dotenv file, and leave placeholders in it.
    #[command(
        before_help = "Examples:\n  avouch import .env --dry-run\n  avouch import .env\n  avouch import .env --yes --backup\n  avouch import .env --restore"
    )]
    Import(Import),
    /// Find why something does not work here, and what to do: the first line says it.
    #[command(
        before_help = "Examples:\n  avouch doctor\n  avouch run --agent researcher -- avouch doctor    what a session's programs see"
    )]
    Doctor,
    /// Print what makes a shell complete verbs, flags and the names that the issuer has.
    #[command(
        before_help = "Examples:\n  source <(avouch completions bash)      in ~/.bashrc\n  source <(avouch completions zsh)       in ~/.zshrc, after compinit\n  avouch completions fish | source       in ~/.config/fish/config.fish"
    )]
    Completions(Completions),
    /// Write the man pages.
    #[command(before_help = "Example:\n  avouch man --dir ~/.local/share/man/man1")]
    Man(ManPages),
    /// The agents of `avouch demo`.
    #[command(hide = true)]
    DemoAgent,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The agent. The name only narrows what this user may be. Without it, under `avouch dev`: one named after the
    /// program.
    #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::agents))]
    pub agent: Option<Name>,
    /// Register that agent without asking.
    #[arg(long, conflicts_with = "agent")]
    pub yes: bool,
    /// Contain it: nothing but the session's broker, its own work directory and what the profile names is reached.
    /// Profiles are open, work, strict and files of your own; work without one.
    #[arg(long, value_name = "PROFILE", num_args = 0..=1, require_equals = true, default_missing_value = "work",
          add = ArgValueCandidates::new(live::profiles))]
    pub contain: Option<String>,
    /// Do not contain it, whatever the helper's settings say.
    #[arg(long, conflicts_with = "contain")]
    pub no_contain: bool,
    /// Keep this variable, although it looks like a secret or leads out of the session.
    #[arg(long, value_name = "NAME", conflicts_with = "no_contain")]
    pub env: Vec<OsString>,
    /// Print what the program would reach, and end.
    #[arg(long)]
    pub explain: bool,
    /// The user behind a contained session that root opens: the owner of the work directory, or an id that nobody has; never root.
    #[arg(long, value_name = "UID", conflicts_with = "no_contain")]
    pub uid: Option<u32>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `server` and `helper`.
#[derive(Debug, Args)]
pub struct Daemon {
    /// Settings, in TOML; without it, the system's for root, else the user's.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `token`.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token for one node; it pins the trust bundle and is used once.
    #[command(
        before_help = "Examples:\n  avouch token create --node web-1 --out /root/join.token\n  avouch token create --node web-1 --ttl 1h --out - | ssh web-1 'umask 077; cat > /etc/avouch/join.token'"
    )]
    Create {
        /// Name of the node that may join with it.
        #[arg(long, value_name = "NAME", value_parser = name)]
        node: Name,
        /// How long, and where to.
        #[command(flatten)]
        order: TokenOrder,
    },
}

/// `agent`.
#[derive(Debug, Subcommand)]
pub enum AgentVerb {
    /// Register an agent.
    #[command(
        before_help = "Example:\n  avouch agent create researcher --owner me@example.test --node node:name:web-1 --selector unix:uid:1001"
    )]
    Create(AgentCreate),
    /// List the agents.
    #[command(before_help = "Example:\n  avouch agent list")]
    List,
    /// Take an agent's registration back, with its grants; its identity is withdrawn on every node.
    #[command(before_help = "Example:\n  avouch agent delete researcher --reason 'project ended'")]
    Delete {
        /// The agent.
        #[arg(value_parser = name, add = ArgValueCandidates::new(live::agents))]
        name: Name,
        /// Why, and whether to ask.
        #[command(flatten)]
        withdrawal: Withdrawal,
    },
}

/// `agent create`.
#[derive(Debug, Args)]
pub struct AgentCreate {
    /// Its name; the ID is spiffe://<trust domain>/agent/<name>, unless --id-path says otherwise.
    #[arg(value_parser = name)]
    pub name: Name,
    /// Who answers for it.
    #[arg(long, value_name = "WHO")]
    pub owner: String,
    /// Selector of the nodes it may run on; all must hold. Without it: this node, under `avouch dev`.
    #[arg(long, value_name = "SELECTOR", value_parser = selector)]
    pub node: Vec<Selector>,
    /// Selector of its processes; all must hold.
    #[arg(long, value_name = "SELECTOR", value_parser = selector, required = true)]
    pub selector: Vec<Selector>,
    /// Lifetime of its X.509-SVIDs.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub x509_ttl: Option<Duration>,
    /// Lifetime of its JWT-SVIDs.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub jwt_ttl: Option<Duration>,
    /// The path of its SPIFFE IDs; /{instance} at its end gives each instance one of its own.
    #[arg(long, value_name = "PATH", value_parser = id_path, default_value = "/agent/{agent}")]
    pub id_path: IdPath,
    /// What the Workload API calls it, for a program that is several agents.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub hint: String,
    /// The common name in its X.509-SVIDs, as a database asks for.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub common_name: String,
    /// A DNS name in its X.509-SVIDs.
    #[arg(long, value_name = "HOST")]
    pub dns_name: Vec<String>,
}

/// `grant`.
#[derive(Debug, Subcommand)]
pub enum GrantVerb {
    /// Let an agent use a credential.
    #[command(before_help = "Example:\n  avouch grant create --agent researcher --credential github")]
    Create {
        /// The agent.
        #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::agents))]
        agent: Name,
        /// The credential.
        #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::credentials))]
        credential: Name,
    },
    /// List the grants.
    #[command(before_help = "Example:\n  avouch grant list")]
    List,
    /// Take a grant back.
    #[command(before_help = "Example:\n  avouch grant delete 01K9ZQ3M6X5T8W4V2R7N1C0BDE")]
    Delete {
        /// Its ID, as `grant list` shows it.
        #[arg(add = ArgValueCandidates::new(live::grants))]
        id: String,
    },
}

/// `lock`.
#[derive(Debug, Subcommand)]
pub enum LockVerb {
    /// Deny an agent everything, everywhere, at once.
    #[command(before_help = "Example:\n  avouch lock create --agent researcher --reason 'odd calls' --ttl 1h")]
    Create {
        /// The agent.
        #[arg(long, value_name = "NAME", value_parser = name, add = ArgValueCandidates::new(live::agents))]
        agent: Name,
        /// Why; it is recorded.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// When it ends by itself; never without it.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        ttl: Option<Duration>,
    },
    /// List the locks in force.
    #[command(before_help = "Example:\n  avouch lock list")]
    List {
        /// Also those that have ended.
        #[arg(long)]
        all: bool,
    },
    /// End a lock.
    #[command(before_help = "Example:\n  avouch lock release 01K9ZQ3M6X5T8W4V2R7N1C0BDE")]
    Release {
        /// Its ID, as `lock list` shows it.
        #[arg(add = ArgValueCandidates::new(live::locks))]
        id: String,
    },
}

/// `svid`.
#[derive(Debug, Subcommand)]
pub enum SvidVerb {
    /// Ask the Workload API who this process is. Keys are never shown.
    #[command(before_help = "Example:\n  avouch run --agent researcher -- avouch svid show")]
    Show {
        /// The Workload API socket; else SPIFFE_ENDPOINT_SOCKET, else this host's.
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
}

/// `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// List the records.
    #[command(before_help = "Example:\n  avouch audit list")]
    List,
    /// Check the whole log, here or in an export, without asking anyone.
    #[command(
        before_help = "Examples:\n  avouch audit verify\n  avouch audit verify export.jsonl --key 'example.test/audit+...'"
    )]
    Verify {
        /// An export; the issuer's own log without it.
        file: Option<PathBuf>,
        /// The log's verifier key, known from elsewhere. Without it the key in the export is believed.
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
    },
    /// Write the whole log with its key and checkpoints.
    #[command(before_help = "Example:\n  avouch audit export --out export.jsonl")]
    Export {
        /// A file to be made, or - for stdout.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| error.to_string())
}

fn selector(text: &str) -> Result<Selector, String> {
    Selector::parse(text).map_err(|error| error.to_string())
}

fn id_path(text: &str) -> Result<IdPath, String> {
    IdPath::parse(text).map_err(|error| error.to_string())
}

/// `90s`, `10m`, `1h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time as 90s, 10m, 1h or 7d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let total = number.checked_mul(seconds).filter(|total| *total > 0).ok_or_else(wrong)?;
    Ok(Duration::from_secs(u64::from(total)))
}

/// `bearer`, `basic:USER`, `header:NAME`, `header:NAME:PREFIX`.
fn slot(text: &str) -> Result<SlotSpec, String> {
    let wrong = || "write a slot as bearer, basic:USER, header:NAME or header:NAME:PREFIX".to_owned();
    let mut parts = text.splitn(3, ':');
    let slot = match (parts.next(), parts.next(), parts.next()) {
        (Some("bearer"), None, None) => SlotSpec::Bearer,
        (Some("basic"), Some(username), None) => SlotSpec::Basic { username: username.to_owned() },
        (Some("header"), Some(name), prefix) => {
            SlotSpec::Header { name: name.to_owned(), prefix: prefix.map(ToOwned::to_owned) }
        }
        _ => return Err(wrong()),
    };
    slot.check().map_err(|error| error.to_string())?;
    Ok(slot)
}

#[cfg(test)]
mod tests;
