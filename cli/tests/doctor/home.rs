//! A user's home, with a `dev` in it or none.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// The directories of one user.
pub struct Home(TempDir);

/// A `dev` that runs.
pub struct Dev(Child);

impl Home {
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(home.path().join("run")).unwrap();
        home
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What the user's variables are.
    pub fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        [("HOME", ""), ("XDG_RUNTIME_DIR", "run"), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config")]
            .map(|(name, dir)| (name, self.path().join(dir)))
            .into()
    }

    /// A command of this user, in a PATH without a Node of the machine's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for name in ["SSL_CERT_FILE", "NO_PROXY", "no_proxy", "SPIFFE_ENDPOINT_SOCKET", "AVOUCH_OUTPUT", "NODE_OPTIONS"]
        {
            command.env_remove(name);
        }
        command.envs(self.variables()).env("PATH", self.path().join("bin")).stdin(Stdio::null());
        command
    }

    pub fn avouch(&self, line: &[&str]) -> Command {
        let mut command = self.command(AVOUCH);
        command.args(line);
        command
    }

    pub fn dev(&self) -> Dev {
        self.dev_by(self.avouch(&["dev"]))
    }

    /// A `dev` that this command starts.
    pub fn dev_by(&self, mut command: Command) -> Dev {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines {
            if line.unwrap().starts_with("Ctrl-C") {
                return Dev(child);
            }
        }
        panic!("dev ended: {:?}", child.wait());
    }

    pub fn works(&self, line: &[&str]) {
        let output = self.avouch(line).output().unwrap();
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a doctor says: whether nothing is wrong, its first line, and the rest.
    pub fn doctor(&self) -> Said {
        Said::of(&self.avouch(&["doctor"]).output().unwrap())
    }

    /// Makes a program of this name in the PATH.
    pub fn program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = self.path().join("bin");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(name), script).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

impl Dev {
    /// Ends it at once, with no time to clean up.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A home is thrown away as it is: nothing in it has to be put in order.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a doctor said.
#[derive(Debug)]
pub struct Said {
    pub well: bool,
    pub first: String,
    pub all: String,
}

impl Said {
    pub fn of(output: &Output) -> Self {
        let all = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(all.contains("\nCHECK "), "{all}{}", String::from_utf8_lossy(&output.stderr));
        let first = all.lines().next().unwrap().to_owned();
        Self { well: output.status.success(), first, all }
    }

    /// That something is wrong, and the first line says this and this.
    pub fn names(&self, cause: &str, fix: &str) {
        assert!(!self.well, "{}", self.all);
        assert!(self.first.contains(cause), "{cause:?} is not in the first line:\n{}", self.all);
        assert!(self.first.contains(fix), "{fix:?} is not in the first line:\n{}", self.all);
    }
}

pub const AVOUCH: &str = env!("CARGO_BIN_EXE_avouch");
