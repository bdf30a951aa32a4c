//! `dev`, and in another terminal the lines that it prints.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A user's home with a `dev` in it.
pub struct Home(TempDir);

/// A `dev` that runs, and what it said.
pub struct Dev {
    child: Child,
    said: Vec<String>,
}

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn avouch(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_avouch"));
        for (name, dir) in
            [("HOME", ""), ("XDG_RUNTIME_DIR", "run"), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config")]
        {
            command.env(name, self.path().join(dir));
        }
        // A session sees nothing of avouch but what is in its own directory.
        let work = self.path().join("work");
        std::fs::create_dir_all(&work).unwrap();
        if !work.join("avouch").exists() {
            std::fs::copy(env!("CARGO_BIN_EXE_avouch"), work.join("avouch")).unwrap();
        }
        command.current_dir(work).stdin(Stdio::null());
        command
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn dev(&self) -> Dev {
        self.dev_logging(Stdio::inherit())
    }

    /// A `dev` whose log goes to a file.
    pub fn dev_with_log(&self, log: &Path) -> Dev {
        self.dev_logging(std::fs::File::create(log).unwrap().into())
    }

    fn dev_logging(&self, log: Stdio) -> Dev {
        std::fs::create_dir_all(self.path().join("run")).unwrap();
        let mut child = self.avouch().arg("dev").stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        for line in lines {
            let line = line.unwrap();
            let last = line.starts_with("Ctrl-C");
            said.push(line);
            if last {
                return Dev { child, said };
            }
        }
        panic!("dev ended: {said:?}, {:?}", child.wait());
    }

    /// Runs a line as a shell in this home would.
    pub fn shell(&self, line: &str) -> Output {
        let path = std::env::join_paths([self.path().join("work"), "/usr/bin".into(), "/bin".into()]).unwrap();
        let avouch = self.avouch();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(line).current_dir(self.path().join("work")).stdin(Stdio::null());
        for (name, value) in avouch.get_envs() {
            shell.env(name, value.unwrap());
        }
        shell.env("PATH", path).output().unwrap()
    }

    pub fn works(&self, line: &str) -> String {
        let output = self.shell(line);
        let said = [&output.stdout[..], &output.stderr].concat();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&said));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Dev {
    /// The lines it prints to be run in another terminal.
    pub fn commands(&self) -> Vec<&String> {
        self.said.iter().filter(|line| line.starts_with("  avouch ")).collect()
    }

    pub fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last printed line calls the tool with curl, which a machine may not have.
fn call(commands: &[&String]) -> String {
    let url = commands[3].rsplit(' ').next().unwrap();
    format!(
        "avouch run --agent researcher -- python3 -c 'import urllib.request as u; print(u.urlopen(\"{url}\").read())'"
    )
}

#[test]
fn the_lines_that_dev_prints_work_and_a_second_run_goes_on() {
    let home = Home::new();
    let dev = home.dev();
    let commands = dev.commands();
    assert_eq!(commands.len(), 4, "{:?}", dev.said);
    for line in &commands[..3] {
        home.works(line);
    }
    let call = call(&commands);
    assert!(home.works(&call).contains("the tool has done it"));
    assert!(
        home.works("avouch run --agent researcher -- avouch svid show").contains("spiffe://dev.test/agent/researcher")
    );
    assert!(home.works("avouch audit verify").contains("entries are whole"));
    // A process of a session administers nothing, and becomes nobody else: no socket for it is there, or it is refused.
    let put = format!("{} < /dev/null", commands[0].trim());
    for (inside, none) in [
        ("avouch agent list", 7),
        ("avouch status", 7),
        // Not even the file with the value is there.
        (&put, 2),
        ("avouch run --agent intruder -- true", 7),
    ] {
        for (walls, code) in [("", none), ("--no-contain", 4)] {
            let refused = home.shell(&format!("avouch run --agent researcher {walls} -- {inside}"));
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(code), "{walls} {inside}: {said}");
        }
    }
    home.works("avouch run --agent researcher --no-contain -- avouch run --agent researcher -- true");
    // A home is never given whole: started there, a session has a directory that is empty and ends with it.
    let own = home.works("cd && avouch run --agent researcher -- sh -c 'ls -A; : >left; pwd'");
    assert_eq!(own.lines().count(), 1, "{own}");
    assert!(!Path::new(own.trim()).exists() && !home.path().join("left").exists(), "{own}");
    home.works("avouch lock create --agent researcher --reason test");
    assert!(!home.shell(&call).status.success(), "the lock is felt");
    let locks: serde_json::Value = serde_json::from_str(&home.works("avouch lock list -o json")).unwrap();
    home.works(&format!("avouch lock release {}", locks[0]["id"].as_str().unwrap()));
    assert!(home.works(&call).contains("the tool has done it"));
    dev.stop();
    let again = home.dev();
    assert!(home.works(&call).contains("the tool has done it"), "everything is as it was");
    assert!(home.works("avouch node list -o json").matches("join_token/dev").count() == 1);
    again.stop();
}

#[test]
fn when_run_is_killed_its_listener_and_all_below_it_end() {
    let home = Home::new();
    let dev = home.dev();
    for line in &dev.commands()[..3] {
        home.works(line);
    }
    // One that has left the program's group and session, and whose parent is gone.
    let script = "setsid sh -c 'echo $$; echo $HTTP_PROXY; sleep 0.5; exec sleep 300' & sleep 300";
    let mut run = home.avouch();
    // Its listener has to be reached from here.
    run.args(["run", "--agent", "researcher", "--no-contain", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = run.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines.next().unwrap().unwrap();
    let proxy = lines.next().unwrap().unwrap().replace("http://", "");
    let open = std::net::TcpStream::connect(&proxy).unwrap();
    // The helper looks twice a second at who is below `run`.
    std::thread::sleep(Duration::from_millis(1_200));
    child.kill().unwrap();
    child.wait().unwrap();
    let alive = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..300 {
        if !alive() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!alive(), "{pid} outlived its session");
    assert!(std::net::TcpStream::connect(&proxy).is_err(), "the listener outlived its session");
    open.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let ended = std::io::Read::read(&mut &open, &mut [0]);
    assert!(matches!(ended, Ok(0)) || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    dev.stop();
}

#[test]
fn a_second_dev_is_told_who_holds_the_state() {
    let home = Home::new();
    let first = home.dev();
    let second = home.avouch().arg("dev").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("pid {}", first.child.id())), "{said}");
    first.stop();
}
