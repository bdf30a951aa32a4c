//! The identity tokens of a session: for each vendor that an operator opened to its agent a file with the agent's own
//! JWT-SVID, as the vendor's SDK reads it. They lie in memory where the runtime directory does, are the session's user's
//! alone (0400), and are replaced whole when half of their life is over, so that nobody ever reads half of one.

use crate::identity::IdentityKey;
use crate::identity::jwt::{JwtSvids, Token};
use crate::state::NodeState;
use avouch_wire::local::EnvironmentVariable;
use avouch_words::target::Target;
use avouch_words::{Clock, Secret, Ulid};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A directory that is made before the session is open, as walls are built around it; it goes when dropped.
#[derive(Debug)]
pub(super) struct TokenDirectory(PathBuf);

/// The files of a session that is open.
pub(super) struct SessionTokens {
    /// What is asked for tokens.
    pub(super) jwt: Arc<JwtSvids>,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
    /// The state in force.
    pub(super) states: watch::Receiver<Option<Arc<NodeState>>>,
    /// Whose tokens.
    pub(super) whose: IdentityKey,
    /// Who may read them.
    pub(super) uid: u32,
    /// Where they are.
    pub(super) directory: TokenDirectory,
    /// What is there now, by vendor.
    pub(super) held: Vec<Held>,
}

/// One vendor's file.
pub(super) struct Held {
    target: Target,
    token: Option<Arc<Token>>,
}

impl TokenDirectory {
    /// Makes it below the directory of sessions' files. All may pass it; each file in it is one user's alone.
    pub(super) fn make(sessions: &Path, session: Ulid) -> io::Result<Self> {
        let path = sessions.join(format!("{session}-tokens"));
        DirBuilder::new().mode(0o755).create(&path)?;
        let made = Self(path);
        fs::set_permissions(&made.0, Permissions::from_mode(0o755))?;
        Ok(made)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Puts a file in the place of the one before, whole.
    fn put(&self, name: &str, content: &Secret, uid: u32) -> io::Result<()> {
        let beside = self.0.join(format!(".{name}.new"));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&beside)?;
        file.write_all(content.expose())?;
        if rustix::process::geteuid().as_raw() != uid {
            fchown(&file, Some(uid), None)?;
        }
        fs::rename(&beside, self.0.join(name))
    }

    fn remove(&self, name: &str) {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, name, "session.token.not_removed");
            }
            _ => {}
        }
    }
}

impl Drop for TokenDirectory {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "session.tokens.not_removed");
            }
            _ => {}
        }
    }
}

impl SessionTokens {
    /// Writes all files for the first time. `seen` is the directory as the session sees it.
    pub(super) async fn begin(&mut self, targets: Vec<Target>, seen: &str) -> Result<(), NoTokens> {
        self.held = targets.into_iter().map(|target| Held { target, token: None }).collect();
        for held in &self.held {
            if let Some((name, content)) = held.target.config(seen) {
                self.directory.put(name, &Secret::new(content.into_bytes()), self.uid)?;
            }
        }
        match tokio::time::timeout(PATIENCE, self.refresh()).await {
            Ok(refreshed) => refreshed,
            Err(_) => Err(NoTokens::Issuer),
        }
    }

    /// What the session's programs find in their environment.
    pub(super) fn environment(&self, seen: &str) -> Vec<EnvironmentVariable> {
        let all = self.held.iter().flat_map(|held| held.target.environment(seen));
        all.map(|(name, value)| EnvironmentVariable { name, value }).collect()
    }

    /// Replaces what half of its life is over of, and takes away what was closed, until the session ends.
    pub(super) async fn keep(mut self, ended: CancellationToken) {
        let mut failures = 0;
        loop {
            let pause = if failures == 0 { self.pause() } else { BACK_OFF * failures };
            tokio::select! {
                () = ended.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                changed = self.states.changed() => if changed.is_err() { return },
            }
            self.states.mark_unchanged();
            match self.refresh().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = (failures + 1).min(MOST_BACK_OFFS);
                    tracing::warn!(agent = %self.whose.agent, %error, "session.token.stale");
                }
            }
        }
    }

    /// A quarter of what is left of the shortest, so that the half is met well enough.
    fn pause(&self) -> Duration {
        let now = self.clock.now();
        let left = self.held.iter().filter_map(|held| held.token.as_ref()).map(|token| token.expires().since(now));
        (left.min().unwrap_or(LONGEST_PAUSE) / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    async fn refresh(&mut self) -> Result<(), NoTokens> {
        let Some(state) = self.states.borrow().clone() else { return Err(NoTokens::Issuer) };
        let mut ended = Ok(());
        for held in &mut self.held {
            let name = held.target.token_file();
            let open = state.is_entitled(&self.whose.agent)
                && state.targets_of(&self.whose.agent).any(|one| *one == held.target);
            let Some(id) = state.id_of(&self.whose).filter(|_| open) else {
                self.directory.remove(&name);
                held.token = None;
                continue;
            };
            let audience = [held.target.audience().to_owned()];
            let token = match self.jwt.fetch(&self.whose, &id, &audience, &state.bundle).await {
                Ok(token) => token,
                Err(error) => {
                    tracing::warn!(vendor = held.target.vendor().as_str(), %error, "session.token.refused");
                    ended = Err(NoTokens::Issuer);
                    continue;
                }
            };
            if held.token.as_ref().is_some_and(|now| Arc::ptr_eq(now, &token)) {
                continue;
            }
            self.directory.put(&name, token.compact(), self.uid)?;
            held.token = Some(token);
        }
        ended
    }
}

/// Why a session has no identity tokens.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoTokens {
    /// The files cannot be made, or not be given to the session's user.
    #[error("its files cannot be written for the session's user: {0}")]
    Files(#[from] io::Error),
    /// The issuer does not answer, or does not give them.
    #[error("the issuer gave none")]
    Issuer,
}

/// How long a session waits for its first tokens.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether a token has to be replaced.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long to wait after a failure, and how much longer after more.
const BACK_OFF: Duration = Duration::from_secs(1);
const MOST_BACK_OFFS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_is_one_users_alone_and_replaced_whole() {
        let parent = tempfile::tempdir().unwrap();
        let session = Ulid::parse("01HF7YAT00ZZZZZZZZZZZZZZZZ").unwrap();
        let directory = TokenDirectory::make(parent.path(), session).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        directory.put("aws.jwt", &Secret::new(b"first".to_vec()), uid).unwrap();
        let file = directory.path().join("aws.jwt");
        let mut open = fs::File::open(&file).unwrap();
        directory.put("aws.jwt", &Secret::new(b"second".to_vec()), uid).unwrap();
        let mut read = String::new();
        io::Read::read_to_string(&mut open, &mut read).unwrap();
        assert_eq!((read.as_str(), fs::read_to_string(&file).unwrap().as_str()), ("first", "second"));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o400);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        if uid == 0 {
            directory.put("aws.jwt", &Secret::new(b"third".to_vec()), 54_321).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().uid(), 54_321);
        }
        directory.remove("aws.jwt");
        directory.remove("aws.jwt");
        let path = directory.path().to_owned();
        drop(directory);
        assert!(!path.exists());
    }
}
