//! The process that makes what the attempts aim at, and hears what reaches it.

use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long it may take to make one thing after another.
const PATIENCE: Duration = Duration::from_secs(30);

/// The outside.
pub struct Outside {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<Value>,
    heard: Arc<Mutex<String>>,
    /// What could not be made on this host, and why.
    pub missing: Value,
    /// What is where.
    pub facts: Value,
}

impl Outside {
    /// Starts it, and waits until all is there.
    pub fn start(base: &Path, canary: &str, masked: &Path) -> io::Result<Self> {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(base.join("corpus/outside.py")).arg(base).arg(canary).arg(masked);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (orders, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| io::Error::other("no output"))?;
        let heard = Arc::new(Mutex::new(String::new()));
        let (tell, answers) = channel();
        let ears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(word) = line.strip_prefix("heard ") {
                    if let Ok(mut all) = ears.lock() {
                        all.push_str(word);
                        all.push('\n');
                    }
                } else if let Ok(value) = serde_json::from_str(&line)
                    && tell.send(value).is_err()
                {
                    break;
                }
            }
        });
        let mut outside = Self { child, orders, answers, heard, missing: Value::Null, facts: Value::Null };
        outside.facts = outside.answer()?;
        Ok(outside)
    }

    /// Makes a work directory, and says what is where in it.
    pub fn place(&mut self, name: &str) -> io::Result<Value> {
        let orders = self.orders.as_mut().ok_or_else(|| io::Error::other("it has ended"))?;
        writeln!(orders, "place {name}")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Value> {
        let mut said = self.answers.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        self.missing = said["missing"].take();
        Ok(said["facts"].take())
    }

    /// Whether anything outside heard this.
    pub fn heard(&self, word: &str) -> bool {
        self.heard.lock().is_ok_and(|all| all.contains(word))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // The end of its orders has it take everything away.
        self.orders.take();
        self.child.wait().ok();
    }
}
