//! A command for the suite of sources. It has one value, so it is told by a file what to do instead, once.

use super::*;
use crate::Entrant;
use crate::conformance::{Had, Step, Store, hold};
use crate::testing::{Nobody, name, wanted};
use avouch_words::Secret;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

struct Held {
    source: CommandSource,
    folder: PathBuf,
}

/// Does what lies in `once`, if anything does, and else prints the value; but first waits while there is a `stall`.
const SCRIPT: &str = "cd \"$FOLDER\"; while [ -e stall ]; do sleep 0.05; done
if mv once now 2>/dev/null; then . ./now; else cat value; fi";

impl Held {
    fn once(&self, what: &str) {
        fs::write(self.folder.join("once"), what).unwrap();
    }

    fn value(&self) -> Secret {
        Secret::new(fs::read(self.folder.join("value")).unwrap())
    }
}

impl Store for Held {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn held(&self) -> (Wanted, Secret) {
        (wanted(""), self.value())
    }

    fn missing(&self) -> Wanted {
        self.once("exit 0");
        wanted("")
    }

    fn unreadable(&self) -> Vec<Reference> {
        vec![Reference::parse("other").unwrap()]
    }

    fn node(&self) -> Arc<dyn Entrant> {
        Arc::new(Nobody)
    }

    fn denied(&self) -> Step<'_, Had<Wanted>> {
        self.once("echo 'not logged in' >&2; exit 4");
        Box::pin(async { Ok(Had::Done(wanted(""))) })
    }

    fn garbage(&self) -> Step<'_, Had<Vec<(&'static str, Wanted)>>> {
        self.once("cat value; echo; cat value");
        Box::pin(async { Ok(Had::Done(vec![("two lines", wanted(""))])) })
    }

    fn rotate(&self) -> Step<'_, Had<Secret>> {
        fs::write(self.folder.join("value"), "another-horse-staple").unwrap();
        let value = self.value();
        Box::pin(async { Ok(Had::Done(value)) })
    }

    fn stall(&self) -> Step<'_, Had<()>> {
        fs::write(self.folder.join("stall"), "").unwrap();
        Box::pin(async { Ok(Had::Done(())) })
    }

    fn go_on(&self) -> Step<'_, ()> {
        fs::remove_file(self.folder.join("stall")).unwrap();
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn a_command_holds_what_sources_must_hold() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("value"), "correct-horse-battery").unwrap();
    let folder = place.path().to_str().unwrap().to_owned();
    let path = ("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    let command = Command {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), SCRIPT.to_owned()],
        environment: vec![("FOLDER".to_owned(), folder), path],
        deadline: Duration::from_secs(20),
    };
    let source = CommandSource::new(name("exec"), command);
    let not = hold(&Held { source, folder: place.path().to_owned() }).await.unwrap();
    let words: Vec<&str> = not.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["other_binding", "sealed", "revoked"]);
}
