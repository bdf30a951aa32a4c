//! From the text of a profile to the profile.

use super::{Access, Allowed, Files, Hole, HomeEntry, Kernel, Limits, Profile, ProfileError, Size, Want};
use serde::Deserialize;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// A profile that says everything itself, as the built-in ones do.
pub(super) fn complete(name: &str, text: &str) -> Result<Profile, ProfileError> {
    let reader = Reader { name };
    let written = reader.written(text)?;
    reader.profile(text, written, None)
}

/// A profile that adds to a built-in one.
pub(super) fn own(name: &str, text: &str) -> Result<Profile, ProfileError> {
    let reader = Reader { name };
    let written = reader.written(text)?;
    let from = written.from.as_deref();
    let base = from.and_then(Profile::builtin);
    if base.is_none() {
        return Err(
            reader.wrong("from", "must be \"open\", \"work\" or \"strict\": what the rest is added to".to_owned())
        );
    }
    reader.profile(text, written, base)
}

/// The keys of each table. A test reads the built-in profiles with it, and the types below refuse what it does not know.
const KEYS: [(&str, &[&str]); 6] = [
    ("", &["from", "about", "files", "home", "sockets", "kernel", "limits"]),
    ("files", &["read", "hide", "work"]),
    ("home", &["read", "copy", "write"]),
    ("sockets", &["open"]),
    ("kernel", &["landlock", "scopes", "keyring", "overlay", "cgroup", "namespaces", "trace"]),
    ("limits", &["memory", "scratch", "processes", "files", "file_size", "wall_time"]),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    from: Option<String>,
    about: Option<String>,
    #[serde(default)]
    files: WrittenFiles,
    #[serde(default)]
    home: WrittenHome,
    #[serde(default)]
    sockets: WrittenSockets,
    #[serde(default)]
    kernel: WrittenKernel,
    #[serde(default)]
    limits: WrittenLimits,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenFiles {
    read: Vec<String>,
    hide: Vec<String>,
    work: Option<Access>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenHome {
    read: Vec<String>,
    copy: Vec<String>,
    write: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenSockets {
    open: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenKernel {
    landlock: Option<Want>,
    scopes: Option<Want>,
    keyring: Option<Want>,
    overlay: Option<Want>,
    cgroup: Option<Want>,
    namespaces: Option<Allowed>,
    trace: Option<Allowed>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenLimits {
    memory: Option<String>,
    scratch: Option<String>,
    processes: Option<u64>,
    files: Option<u64>,
    file_size: Option<String>,
    wall_time: Option<String>,
}

struct Reader<'a> {
    name: &'a str,
}

impl Reader<'_> {
    fn written(&self, text: &str) -> Result<Written, ProfileError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| self.syntax(&error))?;
        self.know_keys("", &table)?;
        for (key, value) in &table {
            if let toml::Value::Table(below) = value {
                self.know_keys(key, below)?;
            }
        }
        // From the text again, as only then a fault has its line.
        toml::from_str(text).map_err(|error| self.syntax(&error))
    }

    fn know_keys(&self, table: &str, entries: &toml::Table) -> Result<(), ProfileError> {
        let known = KEYS.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, keys)| *keys);
        let full = |key: &str| if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        let Some(key) = entries.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let alike = |candidate: &&&str| strsim::jaro_winkler(key, candidate);
        let nearest = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b))).copied().unwrap_or_default();
        Err(ProfileError::UnknownKey { name: self.name.to_owned(), key: full(key), nearest: full(nearest) })
    }

    fn profile(&self, text: &str, written: Written, base: Option<Profile>) -> Result<Profile, ProfileError> {
        let Written { from: _, about, files, home, sockets, kernel, limits } = written;
        let base = base.as_ref();
        Ok(Profile {
            name: self.name.to_owned(),
            text: text.to_owned(),
            about: self.one(about, base.map(|base| base.about.clone()), "about")?,
            files: self.files(files, base.map(|base| &base.files))?,
            home: self.home(home, base.map(|base| &base.home))?,
            sockets: self.sockets(sockets, base.map(|base| &base.sockets))?,
            kernel: self.kernel(&kernel, base.map(|base| &base.kernel))?,
            limits: self.limits(&limits, base.map(|base| &base.limits))?,
        })
    }

    fn files(&self, written: WrittenFiles, base: Option<&Files>) -> Result<Files, ProfileError> {
        let mut files = Files {
            read: base.map(|base| base.read.clone()).unwrap_or_default(),
            hide: base.map(|base| base.hide.clone()).unwrap_or_default(),
            work: self.one(written.work, base.map(|base| base.work), "files.work")?,
        };
        for path in written.read {
            files.read.push(self.absolute("files.read", &path)?);
        }
        for path in written.hide {
            files.hide.push(self.absolute("files.hide", &path)?);
        }
        Ok(files)
    }

    fn home(&self, written: WrittenHome, base: Option<&Vec<HomeEntry>>) -> Result<Vec<HomeEntry>, ProfileError> {
        let WrittenHome { read, copy, write } = written;
        let mut own: Vec<HomeEntry> = Vec::new();
        for (key, access, paths) in
            [("home.read", Access::Read, read), ("home.copy", Access::Copy, copy), ("home.write", Access::Write, write)]
        {
            for written in paths {
                let path = self.relative(key, &written)?;
                if own.iter().any(|entry| entry.path == path) {
                    return Err(self.wrong(key, format!("names {written:?}, which is named already")));
                }
                own.push(HomeEntry { path, access });
            }
        }
        // What a profile of one's own says of an entry replaces what its base says.
        let kept = base.into_iter().flatten().filter(|entry| !own.iter().any(|other| other.path == entry.path));
        let mut all: Vec<HomeEntry> = kept.cloned().collect();
        all.extend(own);
        Ok(all)
    }

    fn sockets(&self, written: WrittenSockets, base: Option<&Vec<Hole>>) -> Result<Vec<Hole>, ProfileError> {
        let mut holes = base.cloned().unwrap_or_default();
        for socket in written.open {
            let hole = if let Some(path) = socket.strip_prefix("~/") {
                Hole::InHome(self.relative("sockets.open", path)?)
            } else if let Some(path) = socket.strip_prefix("$XDG_RUNTIME_DIR/") {
                Hole::InRuntimeDirectory(self.relative("sockets.open", path)?)
            } else {
                Hole::Absolute(self.absolute("sockets.open", &socket)?)
            };
            holes.push(hole);
        }
        Ok(holes)
    }

    fn kernel(&self, written: &WrittenKernel, base: Option<&Kernel>) -> Result<Kernel, ProfileError> {
        Ok(Kernel {
            landlock: self.one(written.landlock, base.map(|base| base.landlock), "kernel.landlock")?,
            scopes: self.one(written.scopes, base.map(|base| base.scopes), "kernel.scopes")?,
            keyring: self.one(written.keyring, base.map(|base| base.keyring), "kernel.keyring")?,
            overlay: self.one(written.overlay, base.map(|base| base.overlay), "kernel.overlay")?,
            cgroup: self.one(written.cgroup, base.map(|base| base.cgroup), "kernel.cgroup")?,
            namespaces: self.one(written.namespaces, base.map(|base| base.namespaces), "kernel.namespaces")?,
            trace: self.one(written.trace, base.map(|base| base.trace), "kernel.trace")?,
        })
    }

    fn limits(&self, written: &WrittenLimits, base: Option<&Limits>) -> Result<Limits, ProfileError> {
        let count = |value: Option<u64>, base, key| match self.one(value, base, key)? {
            0 => Err(self.wrong(key, "must be at least 1".to_owned())),
            count => Ok(count),
        };
        Ok(Limits {
            memory: self.size(written.memory.as_deref(), base.map(|base| base.memory), "limits.memory")?,
            scratch: self.size(written.scratch.as_deref(), base.map(|base| base.scratch), "limits.scratch")?,
            processes: count(written.processes, base.map(|base| base.processes), "limits.processes")?,
            files: count(written.files, base.map(|base| base.files), "limits.files")?,
            file_size: self.size(written.file_size.as_deref(), base.map(|base| base.file_size), "limits.file_size")?,
            wall_time: self.wall_time(written.wall_time.as_deref(), base.map(|base| base.wall_time))?,
        })
    }

    fn size(&self, written: Option<&str>, base: Option<Size>, key: &str) -> Result<Size, ProfileError> {
        let Some(text) = written else {
            return self.one(None, base, key);
        };
        Size::read(text)
            .ok_or_else(|| self.wrong(key, format!("must be a size as \"8GiB\" or a share as \"75%\", not {text:?}")))
    }

    fn wall_time(
        &self,
        written: Option<&str>,
        base: Option<Option<Duration>>,
    ) -> Result<Option<Duration>, ProfileError> {
        match written {
            None => self.one(None, base, "limits.wall_time"),
            Some("none") => Ok(None),
            Some(text) => match duration(text) {
                Some(duration) => Ok(Some(duration)),
                None => Err(self.wrong("limits.wall_time", format!("must be \"none\" or as \"8h\", not {text:?}"))),
            },
        }
    }

    fn one<T>(&self, written: Option<T>, base: Option<T>, key: &str) -> Result<T, ProfileError> {
        written.or(base).ok_or_else(|| self.wrong(key, "is missing".to_owned()))
    }

    fn absolute(&self, key: &str, text: &str) -> Result<PathBuf, ProfileError> {
        let plain = text.starts_with('/') && plain(Path::new(text));
        if plain {
            Ok(normal(text))
        } else {
            Err(self.wrong(key, format!("must be absolute without \"..\", not {text:?}")))
        }
    }

    fn relative(&self, key: &str, text: &str) -> Result<PathBuf, ProfileError> {
        let plain = !text.is_empty() && !text.starts_with(['/', '~', '$']) && plain(Path::new(text));
        if plain {
            Ok(normal(text))
        } else {
            Err(self.wrong(key, format!("must be below the directory without \"..\", not {text:?}")))
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> ProfileError {
        ProfileError::Syntax { name: self.name.to_owned(), sentence: error.to_string().trim_end().to_owned() }
    }

    fn wrong(&self, key: &str, sentence: String) -> ProfileError {
        ProfileError::Value { name: self.name.to_owned(), key: key.to_owned(), sentence }
    }
}

fn plain(path: &Path) -> bool {
    let odd = path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control);
    !odd && path.components().all(|part| !matches!(part, Component::ParentDir | Component::Prefix(_)))
}

/// One spelling for one path: neither `//` nor `/` at the end.
fn normal(text: &str) -> PathBuf {
    Path::new(text).components().collect()
}

fn duration(text: &str) -> Option<Duration> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 60 * 60,
        b'd' => 24 * 60 * 60,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}
