//! A work directory that is exchanged with a link to elsewhere while sessions are opened in it: each session has to have
//! the folder that its caller stood in, or none.

use crate::corpus::Case;
use crate::places::{AGENT, PYTHON, Stage};
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Sessions that have to find a moment between two exchanges; outside, as many reads as there is time for.
const SESSIONS: usize = 24;
const PATIENCE: Duration = Duration::from_secs(10);
/// Exchanges the two over and over: renameat2 with RENAME_EXCHANGE.
const EXCHANGE: &str = "import ctypes\nlibc = ctypes.CDLL(None)\nprint('begun', flush=True)\n\
    while True: libc.renameat2(-100, b'folder', -100, b'link', 2)\n";

impl Stage {
    /// What the sessions read, as one attempt's answer for each case.
    pub(super) fn race(&self, place: &str, cases: &[&Case], facts: &Value) -> io::Result<String> {
        // Where home can be read anyway, it has to be more than that.
        let hidden = facts[if place == "open" { "masked" } else { "home_secret" }].as_str().map(Path::new);
        let parts = hidden.and_then(|hidden| Some((hidden.parent()?, hidden.file_name()?.to_str()?)));
        let (elsewhere, name) = parts.ok_or_else(|| io::Error::other("nothing is hidden"))?;
        let work = Path::new(facts["work"].as_str().unwrap_or_default()).join("race");
        fs::create_dir(&work)?;
        fs::create_dir(work.join("folder"))?;
        std::os::unix::fs::symlink(elsewhere, work.join("link"))?;
        let mut other = match place {
            "outside" => Command::new(PYTHON),
            // Whoever opened the session may write in its work directory in two profiles of three.
            _ => self.session("work", &[PYTHON]),
        };
        let mut other =
            other.args(["-c", EXCHANGE]).current_dir(&work).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut begun = String::new();
        let output = other.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        BufReader::new(output).read_line(&mut begun)?;
        let mut got = Vec::new();
        let (begun, mut sessions) = (Instant::now(), 0);
        while begun.elapsed() < PATIENCE && sessions < SESSIONS && got.is_empty() {
            let folder = work.join("folder");
            if place == "outside" {
                got.extend(fs::read(folder.join(name)).unwrap_or_default());
                continue;
            }
            // The caller stands in the folder itself, whatever stands there when its path is looked up again.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(held) = openat(CWD, &folder, flags, Mode::empty()) else { continue };
            let mut session = self.session(place, &["cat", name]);
            session.current_dir(format!("/proc/self/fd/{}", held.as_raw_fd()));
            got.extend(session.stdin(Stdio::null()).stderr(Stdio::null()).output()?.stdout);
            sessions += 1;
        }
        other.kill()?;
        other.wait()?;
        let got = String::from_utf8_lossy(&got).into_owned();
        Ok(cases.iter().map(|case| format!("{{\"name\": {}, \"got\": {}}}\n", json!(case.name), json!(got))).collect())
    }

    /// A command in a contained session.
    fn session(&self, profile: &str, words: &[&str]) -> Command {
        let contain = format!("--contain={profile}");
        let mut command = Command::new(self.base.join("bin/avouch"));
        command.arg("--runtime-dir").arg(self.world.made.path("run"));
        command.args(["run", "--agent", AGENT, &contain, "--"]).args(words);
        command
    }
}
