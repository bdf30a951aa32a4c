use super::*;
use crate::testing::{Nobody, name, wanted};
use crate::{Part, SourceFault};
use std::path::Path;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

/// A shell, as the program that the settings name.
fn shell(script: &str, deadline: Duration) -> CommandSource {
    let arguments = ["-c".to_owned(), script.to_owned()].to_vec();
    let environment = vec![("LISTED".to_owned(), "as listed".to_owned())];
    CommandSource::new(name("exec"), Command { program: "/bin/sh".into(), arguments, environment, deadline })
}

async fn run(script: &str) -> Result<Vec<u8>, SourceFault> {
    let lease = shell(script, DEADLINE).read(&wanted(""), &Nobody).await?;
    Ok(lease.part(Part::Value).unwrap().expose().to_vec())
}

/// Whether a process is there, and no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn written(path: &Path) -> String {
    for _ in 0..2000 {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim_end().to_owned(),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    panic!("nothing was written");
}

async fn gone(pid: &str) -> bool {
    for _ in 0..2000 {
        if !lives(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

#[tokio::test]
async fn a_command_gives_its_output_without_its_line_end() {
    assert_eq!(run("echo gho_0123456789").await.unwrap(), b"gho_0123456789");
    assert_eq!(run("printf gho_0123456789").await.unwrap(), b"gho_0123456789");
    assert_eq!(run("echo; echo gho_0123456789").await.unwrap_err(), SourceFault::Garbage);
    assert_eq!(run(":").await.unwrap_err(), SourceFault::Missing);
    assert_eq!(run("echo no").await.unwrap_err(), SourceFault::Garbage);
}

#[tokio::test]
async fn it_has_the_variables_that_are_listed_and_no_others() {
    // The tests' own environment is full; a shell adds PWD and the like of its own.
    let own: Vec<_> = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CARGO")).collect();
    assert!(!own.is_empty());
    let given = run("env | cut -d= -f1 | tr '\\n' ','").await.unwrap();
    let shells = ["LISTED", "PWD", "OLDPWD", "SHLVL", "_", ""];
    assert!(String::from_utf8(given).unwrap().split(',').all(|name| shells.contains(&name)));
    assert_eq!(run("printf '%s-%s' \"$LISTED\" \"$HOME\"").await.unwrap(), b"as listed-");
    assert_eq!(run("readlink /proc/self/fd/0").await.unwrap(), b"/dev/null");
    assert_eq!(run("echo \"it is in $(pwd)\"").await.unwrap(), b"it is in /");
}

#[tokio::test]
async fn a_failure_is_a_refusal_or_a_passing_one_by_its_code() {
    assert_eq!(run("echo gho_0123456789; exit 1").await.unwrap_err(), SourceFault::Denied);
    assert_eq!(run("exit 75").await.unwrap_err(), SourceFault::Unavailable);
    assert_eq!(run("kill -9 $$").await.unwrap_err(), SourceFault::Unavailable);
    let none = Command {
        program: "/nonexistent/program".into(),
        arguments: Vec::new(),
        environment: Vec::new(),
        deadline: DEADLINE,
    };
    let none = CommandSource::new(name("exec"), none);
    assert_eq!(none.read(&wanted(""), &Nobody).await.unwrap_err(), SourceFault::Unavailable);
    assert_eq!(none.read(&wanted("x"), &Nobody).await.unwrap_err(), SourceFault::Reference);
}

#[tokio::test]
async fn output_without_end_is_given_up_and_a_full_error_stream_stops_nothing() {
    assert_eq!(run("yes 0123456789 | tr -d '\\n'").await.unwrap_err(), SourceFault::Garbage);
    assert_eq!(run("head -c 300000 /dev/zero >&2; echo gho_0123456789").await.unwrap(), b"gho_0123456789");
}

#[tokio::test]
async fn at_its_deadline_it_and_what_it_started_are_killed() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let source = shell(&script, Duration::from_secs(1));
    assert_eq!(source.read(&wanted(""), &Nobody).await.unwrap_err(), SourceFault::Unavailable);
    let child = written(&file).await;
    assert!(gone(&child).await, "the grandchild lives on");
}

#[tokio::test]
async fn a_read_that_is_given_up_ends_it_too() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let reading = tokio::spawn(async move {
        let source = shell(&script, Duration::from_secs(1000));
        source.read(&wanted(""), &Nobody).await.map(drop)
    });
    let child = written(&file).await;
    assert!(lives(&child));
    reading.abort();
    assert!(gone(&child).await, "the grandchild lives on");
}

#[tokio::test]
async fn what_it_leaves_behind_neither_lives_on_nor_holds_the_answer_up() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pid");
    let value = run(&format!("sleep 1000 & echo $! > {}; echo gho_0123456789", file.display())).await.unwrap();
    assert_eq!(value, b"gho_0123456789");
    assert!(gone(&written(&file).await).await);
}

#[tokio::test]
async fn what_a_command_says_is_not_logged() {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || to.clone());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    run("echo gho_on_stdout; echo 'bad token gho_on_stderr' >&2; exit 1").await.unwrap_err();
    drop(guard);
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("wrote 24 bytes to its error stream"), "{said}");
    assert!(!said.contains("gho_"), "{said}");
}
