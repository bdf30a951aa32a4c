//! Foreign clients of the Workload API that meet: each under an agent of its own, each holding mTLS with every one.
//! `tests/interop/README.md` says what they take and print.

use crate::Installation;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// What a client said, word by word; a word's last value counts.
pub type Said = BTreeMap<String, String>;

/// The issuer's settings under which all is rotated as often as may be.
pub const BRISK: &str = "[svid]\nx509_ttl = \"10s\"\njwt_ttl = \"10s\"\nnode_ttl = \"10s\"\n\
                         [authority]\nx509_ttl = \"1m\"\njwt_ttl = \"1m\"\n";

/// Every client of `tests/run`, by name; none if this machine lacks what it runs on.
pub fn clients(installed: &Path) -> Vec<(&'static str, Vec<String>)> {
    let at = |below: &str| installed.join(below).display().to_string();
    let here = |below: &str| format!("{}/{below}", env!("CARGO_MANIFEST_DIR"));
    let built = crate::installation::program().with_file_name("avouch-peer").display().to_string();
    let mut clients = vec![
        ("go", vec![at("go-client")]),
        ("node", vec!["node".to_owned(), at("node/client.js"), here("../proto/wire/proto/workload.proto")]),
        ("python", vec![at("venv/bin/python"), here("interop/python/client.py")]),
        ("rust", vec![built]),
    ];
    if installed.join("java/classes/Client.class").exists() {
        let class_path = format!("{}:{}", at("java/lib/*"), at("java/classes"));
        // One quick compiler and one small heap: it shares two cores with the others.
        let options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp"].map(str::to_owned);
        let mut java = vec!["java".to_owned()];
        java.extend(options);
        java.extend([class_path, "Client".to_owned()]);
        clients.push(("java", java));
    }
    clients
}

/// Where `tests/run` has installed them.
pub fn installed() -> PathBuf {
    PathBuf::from(std::env::var_os("AVOUCH_INTEROP").expect("AVOUCH_INTEROP: run this by tests/run"))
}

/// Lets the clients meet for so many seconds; what each said.
pub fn meet(
    made: &Installation,
    clients: &[(&'static str, Vec<String>)],
    seconds: u32,
) -> io::Result<BTreeMap<&'static str, Said>> {
    let folder = made.path("meeting");
    fs::create_dir(&folder)?;
    let selector = format!("session:uid:{}", rustix::process::geteuid().as_raw());
    let mut running = Vec::new();
    for (name, command) in clients {
        let agent =
            ["agent", "create", name, "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &selector];
        made.run(&agent)?;
        let mut line = made.command(&["run", "--agent", name, "--"]);
        line.args(command).arg(&folder).arg(name).arg(seconds.to_string()).arg(clients.len().to_string());
        let file = |ending| fs::File::create(made.path(&format!("{name}.{ending}")));
        line.stdin(Stdio::null()).stdout(file("said")?).stderr(file("complained")?);
        running.push((*name, Ending(line.spawn()?)));
    }
    let read =
        |name: &str, ending: &str| fs::read_to_string(made.path(&format!("{name}.{ending}"))).unwrap_or_default();
    let mut waiting = running.len();
    while waiting > 0 {
        waiting = 0;
        for (name, client) in &mut running {
            match client.0.try_wait()? {
                // The others would wait for it in vain.
                Some(status) if !status.success() => {
                    let (said, complained) = (read(name, "said"), read(name, "complained"));
                    return Err(io::Error::other(format!("{name}: {status}\n{said}{complained}{}", made.logs())));
                }
                Some(_) => {}
                None => waiting += 1,
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = |name: &str| {
        let complained = ("complained".to_owned(), read(name, "complained"));
        words(&read(name, "said")).chain([complained]).collect()
    };
    Ok(running.iter().map(|(name, _)| (*name, said(name))).collect())
}

fn words(said: &str) -> impl Iterator<Item = (String, String)> {
    said.lines().filter_map(|line| line.split_once(' ')).map(|(word, value)| (word.to_owned(), value.to_owned()))
}

/// A client that does not outlive its meeting.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
