//! A file for the suite of sources. It has one value, so what the suite wants of another credential is made of the
//! file, and undone when the suite asks for what is held.

use super::*;
use crate::Entrant;
use crate::conformance::{Had, Step, Store, hold};
use crate::testing::{Nobody, name, wanted};
use avouch_words::Secret;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

struct Held {
    source: FileSource,
    path: PathBuf,
    value: Mutex<&'static str>,
}

impl Held {
    fn write(&self, bytes: &[u8], mode: u32) {
        let next = self.path.with_extension("next");
        fs::write(&next, bytes).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(next, &self.path).unwrap();
    }
}

impl Store for Held {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn held(&self) -> (Wanted, Secret) {
        let value = *self.value.lock().unwrap();
        self.write(format!("{value}\n").as_bytes(), 0o600);
        (wanted(""), Secret::new(value.as_bytes().to_vec()))
    }

    fn missing(&self) -> Wanted {
        fs::remove_file(&self.path).unwrap();
        wanted("")
    }

    fn unreadable(&self) -> Vec<Reference> {
        vec![Reference::parse("other").unwrap()]
    }

    fn node(&self) -> Arc<dyn Entrant> {
        Arc::new(Nobody)
    }

    fn denied(&self) -> Step<'_, Had<Wanted>> {
        self.write(b"correct-horse-battery", 0o644);
        Box::pin(async { Ok(Had::Done(wanted(""))) })
    }

    fn garbage(&self) -> Step<'_, Had<Vec<(&'static str, Wanted)>>> {
        self.write(b"two lines\nof something", 0o600);
        Box::pin(async { Ok(Had::Done(vec![("two lines", wanted(""))])) })
    }

    fn rotate(&self) -> Step<'_, Had<Secret>> {
        *self.value.lock().unwrap() = "another-horse-staple";
        let (_, value) = self.held();
        Box::pin(async { Ok(Had::Done(value)) })
    }
}

#[tokio::test]
async fn a_file_holds_what_sources_must_hold() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("token");
    let source = FileSource::new(name("file"), path.to_str().unwrap(), None).unwrap();
    let not = hold(&Held { source, path, value: Mutex::new("correct-horse-battery") }).await.unwrap();
    let words: Vec<&str> = not.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["other_binding", "slow", "sealed", "revoked"]);
}
