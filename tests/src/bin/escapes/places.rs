//! Where attempts are made: outside, and in sessions of each profile; and what came of each.

use crate::corpus::{Case, On, PROFILES, Proof};
use crate::outside::Outside;
use avouch_tests::World;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A listener tells a moment later what it has heard.
const SETTLE: Duration = Duration::from_millis(300);
pub(super) const PYTHON: &str = "/usr/bin/python3";
/// The one who tries.
pub(super) const AGENT: &str = "researcher";

/// What came of an attempt.
#[derive(Debug, Clone)]
pub enum Came {
    /// It got what it was after.
    Out,
    /// It did not, for this reason.
    Failed(String),
}

/// All that came of one place, by the case's name.
pub type Outcomes = BTreeMap<String, Came>;

/// An installation that runs, another session, and the outside.
pub struct Stage {
    pub(super) base: PathBuf,
    canary: String,
    outside: Outside,
    facts: Value,
    locks: BTreeMap<String, String>,
    pub(super) world: World,
    other: Child,
}

impl Stage {
    /// Sets it up.
    pub fn set(base: &Path, canary: &str) -> io::Result<Self> {
        let mut world = World::start()?;
        let uid = rustix::process::geteuid().as_raw();
        let mut locks = BTreeMap::new();
        for place in ["outside"].into_iter().chain(PROFILES) {
            let victim = format!("victim-{place}");
            let selector = format!("session:uid:{uid}");
            world.made.run(&[
                "agent",
                "create",
                &victim,
                "--owner",
                "me@example.test",
                "--node",
                "node:name:n1",
                "--selector",
                &selector,
            ])?;
            world.made.run(&["lock", "create", "--agent", &victim, "--reason", "to be released"])?;
            locks.insert(place.to_owned(), lock_of(&world, &victim)?);
        }
        let mut command = world.made.command(&["run", "--agent", "intruder", "--"]);
        command.args(["sh", "-c", "echo $HTTP_PROXY; exec sleep 900"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut other = command.spawn()?;
        let output = other.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut proxy = String::new();
        BufReader::new(output).read_line(&mut proxy)?;
        let run = world.made.path("run");
        let outside = Outside::start(base, canary, &run.join("a-file-of-avouch"))?;
        let mut facts = outside.facts.clone();
        let own = json!({
            "other_listener": address(proxy.trim().trim_start_matches("http://"))?,
            "issuer": address(world.made.listen())?,
            "tool": address(world.plain("").trim_start_matches("http://"))?,
            "run": other.id(),
            "helper": world.made.helper().map(|child| child.id()),
            "runtime": run,
            "admin_socket": run.join("admin.sock"),
            "helper_socket": run.join("helper.sock"),
            "session_socket": run.join("session.sock"),
            "helper_key": world.made.path("keys/helper.key"),
            "server_key": world.made.path("keys/server.key"),
            "database": world.made.path("server").join(avouch_config::DATABASE_FILE),
            "helper_state": world.made.path("helper"),
            "home": base.join("home"),
        });
        merge(&mut facts, own);
        Ok(Self { base: base.to_owned(), canary: canary.to_owned(), outside, facts, locks, world, other })
    }

    /// What this host could not have, and why.
    pub fn missing(&self) -> Value {
        self.outside.missing.clone()
    }

    /// Tries all of them in one place.
    pub fn try_all(&mut self, place: &str, cases: &[Case]) -> io::Result<Outcomes> {
        let mut facts = self.facts.clone();
        merge(&mut facts, self.outside.place(place)?);
        merge(&mut facts, json!({ "lock": self.locks.get(place) }));
        let mut outcomes = Outcomes::new();
        for on in [On::Pipes, On::Stdin, On::NoStdin, On::Race] {
            let here: Vec<&Case> = cases.iter().filter(|case| case.on == on).collect();
            if here.is_empty() {
                continue;
            }
            let said = match on {
                On::Race => self.race(place, &here, &facts)?,
                On::Pipes | On::Stdin | On::NoStdin => self.run(place, on, &here, &facts)?,
            };
            std::thread::sleep(SETTLE);
            for case in here {
                let came = self.judge(place, case, &facts, &said)?;
                outcomes.insert(case.name.clone(), came);
            }
        }
        Ok(outcomes)
    }

    /// Has the attacker try them; all that was said.
    fn run(&self, place: &str, on: On, cases: &[&Case], facts: &Value) -> io::Result<String> {
        let work = PathBuf::from(facts["work"].as_str().unwrap_or_default());
        let list: Vec<Value> = cases
            .iter()
            .map(|case| {
                json!({ "name": case.name, "attempt": case.attempt, "args": case.args, "alone": case.alone || on != On::Pipes,
                    "token": token(place, case) })
            })
            .collect();
        fs::write(work.join("plan.json"), json!({ "facts": facts, "cases": list }).to_string())?;
        let mut words = vec![PYTHON.to_owned()];
        match on {
            On::Pipes | On::Race => {}
            On::Stdin => words.extend([self.corpus("terminal.py"), "--stdin".to_owned(), PYTHON.to_owned()]),
            On::NoStdin => words.extend([self.corpus("terminal.py"), "--no-stdin".to_owned(), PYTHON.to_owned()]),
        }
        words.extend([self.corpus("attack.py"), "launch".to_owned(), facts.to_string(), "--".to_owned()]);
        if place != "outside" {
            let avouch = self.base.join("bin/avouch").to_string_lossy().into_owned();
            let runtime = self.world.made.path("run").to_string_lossy().into_owned();
            let contain = format!("--contain={place}");
            words.extend([avouch, "--runtime-dir".to_owned(), runtime]);
            words.extend(["run", "--agent", AGENT, &contain, "--"].map(str::to_owned));
        }
        words.extend([PYTHON, "attack.py", "plan.json"].map(str::to_owned));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&work).stdin(Stdio::null()).env("ESCAPE_API_KEY", &self.canary);
        for (name, fact) in
            [("SSH_AUTH_SOCK", "ssh_agent"), ("DOCKER_HOST", "docker"), ("DBUS_SESSION_BUS_ADDRESS", "dbus")]
        {
            command.env(name, format!("unix:{}", facts[fact].as_str().unwrap_or_default()));
        }
        let output = command.env("DISPLAY", ":0").output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !said.contains("{\"name\": ") {
            return Err(io::Error::other(format!("nothing was tried in {place}: {said}{errors}")));
        }
        Ok(said)
    }

    fn corpus(&self, name: &str) -> String {
        self.base.join("corpus").join(name).to_string_lossy().into_owned()
    }

    fn judge(&self, place: &str, case: &Case, facts: &Value, said: &str) -> io::Result<Came> {
        let answer = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.get(line.find("{\"name\"")?..)?).ok())
            .find(|one| one["name"] == case.name.as_str())
            .unwrap_or_else(|| json!({ "error": "it was never heard of again" }));
        let got = answer["got"].as_str().unwrap_or_default();
        let word = token(place, case);
        let at = |name: &str| PathBuf::from(facts[name].as_str().unwrap_or_default());
        let out = match &case.proof {
            Proof::Heard => self.outside.heard(&word),
            Proof::Read => got.contains(&self.canary),
            Proof::Same(name) => fs::read(at(name)).is_ok_and(|bytes| got == hex(digest(&SHA256, &bytes).as_ref())),
            Proof::Said(text) => !got.is_empty() && got.contains(text.as_str()),
            Proof::File(name) => fs::read_to_string(at(name)).is_ok_and(|text| text.contains(&word)),
            Proof::Ended(name) => !Path::new(&format!("/proc/{}", facts[name])).exists(),
            Proof::SetId(name) => set_id(&at("work").join(format!("{name}-{place}"))),
            Proof::Mounted => fs::read_to_string("/proc/self/mountinfo")?.contains(&word),
            Proof::Typed => said.lines().any(|line| line.starts_with("typed:") && line.contains(&word)),
            Proof::Grant => {
                self.world.made.run(&["grant", "list", "-o", "json"])?.stdout.contains(&format!("victim-{place}"))
            }
            Proof::Lock => {
                let list = self.world.made.run(&["lock", "list", "-o", "json"])?.stdout;
                !list.contains(self.locks.get(place).map_or("?", String::as_str))
            }
        };
        Ok(match answer["error"].as_str() {
            _ if out => Came::Out,
            Some(error) => Came::Failed(error.to_owned()),
            None => Came::Failed(String::new()),
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.other.kill().ok();
        self.other.wait().ok();
    }
}

/// What an attempt says where it gets: no other attempt says it.
fn token(place: &str, case: &Case) -> String {
    let name: String = case.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let short = hex(&digest(&SHA256, case.name.as_bytes()).as_ref()[..4]);
    format!("got-out-{place}-{}-{short}", &name[..name.len().min(24)])
}

fn set_id(path: &Path) -> bool {
    let capability = rustix::fs::lgetxattr(path, "security.capability", &mut [0_u8; 64][..]).is_ok_and(|size| size > 0);
    capability || fs::symlink_metadata(path).is_ok_and(|meta| meta.mode() & 0o6000 != 0)
}

fn lock_of(world: &World, agent: &str) -> io::Result<String> {
    let list: Value = serde_json::from_str(&world.made.run(&["lock", "list", "-o", "json"])?.stdout)?;
    let rows = list.as_array().into_iter().flatten();
    let id = rows.filter(|row| row.to_string().contains(agent)).find_map(|row| row["id"].as_str().map(str::to_owned));
    id.ok_or_else(|| io::Error::other(format!("{agent} is not locked: {list}")))
}

/// Host and port as Python takes them.
fn address(text: &str) -> io::Result<Value> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| io::Error::other(format!("{text} is no address")))?;
    Ok(json!([host, port.trim_end_matches('/').parse::<u16>().map_err(io::Error::other)?]))
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(all), Value::Object(more)) = (into, more) {
        all.extend(more);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
