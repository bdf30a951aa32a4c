//! What of a session is contained, and what is said about it.

use crate::args;
use crate::failure::{Exit, Failure};
use crate::output;
use avouch_config::Paths;
use avouch_contain::{
    BUNDLE_FILE, Contain, ContainError, EXTRA_FILE, Profile, SessionEnvironment, SessionFiles, WORKLOAD_SOCKET,
};
use avouch_wire::local::{SessionOpened, SessionTerms};
use std::fs::DirBuilder;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The profile to contain it by; none if it is not to be contained.
pub fn profile(order: &args::Run, terms: &SessionTerms) -> Result<Option<Profile>, Failure> {
    let name = match (&order.contain, order.no_contain) {
        (_, true) => return Ok(None),
        (Some(name), false) => name.as_str(),
        (None, false) if terms.contain_required => USUAL,
        (None, false) => return Ok(None),
    };
    let places = Profile::directories(directory("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config"))));
    let found = Profile::find(name, &places).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    Ok(Some(found))
}

/// Where a session works: the directory it was started in, or, where that holds the whole home, an empty one that ends
/// with it.
pub struct Work {
    at: PathBuf,
    made: bool,
}

impl Work {
    /// Decides it. A home that would be given whole would be no home that is hidden.
    pub fn find() -> Result<Self, Failure> {
        let failed = |what: &str, error: io::Error| Failure::new(Exit::Failure, format!("cannot {what}: {error}"));
        let at = std::env::current_dir().map_err(|error| failed("tell the work directory", error))?;
        let holds_home = home().and_then(|home| home.canonicalize().ok()).is_some_and(|home| home.starts_with(&at));
        if !holds_home {
            return Ok(Self { at, made: false });
        }
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in 0..TRIES {
            let at = std::env::temp_dir().join(format!("avouch-{}-{number}", std::process::id()));
            // Only one that nobody has made before.
            match DirBuilder::new().mode(0o700).create(&at) {
                Ok(()) => return Ok(Self { at, made: true }),
                Err(error) => last = error,
            }
        }
        Err(failed("make a directory for the session", last))
    }

    /// Says so, if it is not the one it was started in.
    pub fn say(&self) {
        if self.made {
            output::talk(
                "avouch: the session starts in an empty directory that ends with it, as it may not see your whole home: \
                 start it in a directory of its own to give it that one",
            );
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_dir_all(&self.at);
        }
    }
}

/// Everything that the session is made from.
pub fn settle(profile: Profile, work: &Work, order: &args::Run, terms: &SessionTerms) -> Contain {
    let ours = [Some(Paths::system()), Paths::user()].into_iter().flatten();
    let hide = ours.flat_map(|paths| [paths.config, paths.state, paths.runtime]);
    let mut hide: Vec<_> = hide.chain(terms.hidden.iter().map(PathBuf::from)).collect();
    hide.sort();
    hide.dedup();
    Contain {
        profile,
        workload_socket: PathBuf::from(&terms.workload_socket),
        tokens_directory: Some(&terms.tokens_directory).filter(|place| !place.is_empty()).map(PathBuf::from),
        work_dir: work.at.clone(),
        home: home(),
        runtime_dir: directory("XDG_RUNTIME_DIR"),
        hide,
        uid: order.uid,
    }
}

/// Why there is no contained session, with the way to go without, which nobody but the caller goes.
pub fn none(error: &ContainError) -> Failure {
    let failure = |exit| Failure::new(exit, error.to_string());
    match error {
        ContainError::WorkDir(_) => failure(Exit::Usage),
        ContainError::NoId(_) | ContainError::IdMap(_) => {
            failure(Exit::Usage).then("Without walls it runs with --no-contain.")
        }
        _ => failure(Exit::Failure)
            .then("`avouch doctor` says what this host lacks; --no-contain runs it without walls."),
    }
}

/// What is to be known before it starts, once.
pub fn say(secrets: &[String], lacking: &[String]) {
    if !secrets.is_empty() {
        output::talk(format!(
            "avouch: not passed on, as they look like secrets: {} (--env NAME keeps one)",
            secrets.join(", ")
        ));
    }
    for what in lacking {
        output::talk(format!("avouch: {what}"));
    }
}

/// What a program reaches that is not contained, in one sentence.
pub fn not_contained() -> String {
    match rustix::process::geteuid().as_raw() {
        0 => "not contained: the program can read every file and process of this host, avouch's keys among them, and \
              reach any network"
            .to_owned(),
        uid => format!(
            "not contained: the program can read every file and process of uid {uid}, avouch's own among them if it runs \
             as that uid, and reach any network"
        ),
    }
}

/// The names of a contained session lead to places of its own.
pub fn environment(proxy: SocketAddr) -> SessionEnvironment {
    SessionEnvironment {
        workload_socket: PathBuf::from(WORKLOAD_SOCKET),
        proxy,
        bundle_file: PathBuf::from(BUNDLE_FILE),
        extra_file: PathBuf::from(EXTRA_FILE),
    }
}

/// The contents of what the helper wrote outside.
pub fn files(opened: &SessionOpened) -> Result<SessionFiles, Failure> {
    let read = |path: &str| {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(Path::new(path));
        let read = file.and_then(|file| file.take(LONGEST_BUNDLE).read_to_end(&mut bytes));
        read.map(|_| bytes)
            .map_err(|error| Failure::new(Exit::Failure, format!("cannot read the session's roots {path}: {error}")))
    };
    Ok(SessionFiles { bundle: read(&opened.bundle_file)?, extra: read(&opened.extra_file)? })
}

fn home() -> Option<PathBuf> {
    directory("HOME")
}

fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The profile of `--contain` alone.
const USUAL: &str = "work";
/// How often a directory of its own is tried for.
const TRIES: u32 = 16;
/// More than all public roots together.
const LONGEST_BUNDLE: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn order(flags: &[&str]) -> args::Run {
        let line = [&["avouch", "run", "--agent", "a"], flags, &["--", "true"]].concat();
        match Cli::try_parse_from(line).unwrap().command {
            Command::Run(order) => order,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_is_contained_where_the_terms_or_the_caller_say_so_and_never_against_the_caller() {
        let terms = |contain_required| SessionTerms { contain_required, ..SessionTerms::default() };
        let of = |flags: &[&str], required| {
            profile(&order(flags), &terms(required)).unwrap().map(|profile| profile.name().to_owned())
        };
        let name = |name: &str| Some(name.to_owned());
        assert_eq!((of(&[], false), of(&[], true)), (None, name("work")));
        assert_eq!((of(&["--no-contain"], false), of(&["--no-contain"], true)), (None, None));
        for required in [false, true] {
            assert_eq!(of(&["--contain"], required), name("work"));
            assert_eq!(of(&["--contain=strict"], required), name("strict"));
        }
        assert_eq!(profile(&order(&["--contain=none-such"]), &terms(false)).unwrap_err().code(), 2);
        assert!(Cli::try_parse_from(["avouch", "run", "--contain", "--no-contain", "--", "true"]).is_err());
    }

    #[test]
    fn a_missing_ability_is_named_with_the_way_to_go_without() {
        let failure = none(&ContainError::UserNamespaces("EPERM".to_owned())).to_string();
        assert!(failure.contains("EPERM") && failure.contains("--no-contain"), "{failure}");
        let failure = none(&ContainError::NoId("0 was asked for".to_owned())).to_string();
        assert!(failure.contains("--uid") && failure.contains("--no-contain"), "{failure}");
    }
}
