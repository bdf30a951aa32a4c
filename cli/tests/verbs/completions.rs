//! Completions as a shell asks for them: the script is loaded, and comes back for words and names.

use crate::fake::Daemons;
use std::path::Path;
use std::process::{Command, Stdio};

/// What bash offers for the last of these words.
fn bash(dir: &Path, line: &[&str]) -> Vec<String> {
    let words = ["avouch", "--runtime-dir", dir.to_str().unwrap()].into_iter().chain(line.iter().copied());
    let words: Vec<_> = words.map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(avouch completions bash)\nCOMP_WORDS=({})\nCOMP_CWORD={}\nCOMP_TYPE=9\n\
         $(complete -p avouch | sed 's/.*-F \\([^ ]*\\) .*/\\1/') avouch \"${{COMP_WORDS[COMP_CWORD]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len() - 1
    );
    // Whoever presses a key waits for it.
    run("timeout", &["4", "bash", "--norc", "--noprofile", "-c", &script])
}

fn run(shell: &str, arguments: &[&str]) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_avouch")).parent().unwrap();
    let path = std::env::join_paths([program, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let mut command = Command::new(shell);
    command.args(arguments).env("PATH", path).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.lines().filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect()
}

#[test]
fn bash_completes_verbs_and_flags_and_names_as_they_are_now() {
    let daemons = Daemons::start();
    for (line, offered) in [
        (&["lock", "create", "--agent", ""][..], "researcher"),
        (&["run", "--agent", "res"], "researcher"),
        (&["grant", "create", "--credential", ""], "github"),
        (&["grant", "delete", ""], "01K9ZQ3M6X5T8W4V2R7N1C0BDE"),
        (&["lock", "release", "01K"], "01K9ZQ3M6X5T8W4V2R7N1C0BDE"),
        (&["lease", "revoke", ""], "3f7a1c09be52d841"),
        (&["secret", "put", "x", "--preset", "git"], "gitlab"),
        (&["run", "--contain=s"], "--contain=strict"),
        (&["source", "test", ""], "vault"),
        (&["credential", "create", "c", "--source", ""], "vault"),
        (&["lock", "rel"], "release"),
        (&["lock", "create", "--rea"], "--reason"),
    ] {
        let all = bash(daemons.dir(), line);
        assert!(all.iter().any(|one| one == offered), "{line:?}: {all:?}");
    }
    assert!(bash(daemons.dir(), &["lock", "create", "--agent", "nobody"]).is_empty());
}

/// How each of the three scripts comes back, without the shell: the engine answers in that shell's form.
#[test]
fn each_shell_gets_its_own_script_and_answers() {
    let daemons = Daemons::start();
    let dir = daemons.dir().to_str().unwrap();
    for (shell, index) in [("bash", Some("6")), ("zsh", Some("6")), ("fish", None)] {
        let script = daemons.run(&format!("completions {shell}"));
        let script = String::from_utf8(script.stdout).unwrap().replace('"', "");
        assert!(script.contains(&format!("AVOUCH_COMPLETE={shell}")), "{script}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_avouch"));
        command.env("AVOUCH_COMPLETE", shell).env("_CLAP_IFS", "\n").stdin(Stdio::null());
        if let Some(index) = index {
            command.env("_CLAP_COMPLETE_INDEX", index);
        }
        command.args(["--", "avouch", "--runtime-dir", dir, "lock", "create", "--agent", ""]);
        let output = command.output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(answer.lines().any(|line| line.starts_with("researcher")), "{shell}: {answer:?}");
        assert!(output.stderr.is_empty(), "nothing disturbs the line that is being typed");
    }
    let output = daemons.run("completions tcsh");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn without_an_issuer_or_with_a_silent_one_nothing_is_offered_and_soon() {
    let dir = tempfile::tempdir().unwrap();
    assert!(bash(dir.path(), &["lock", "create", "--agent", ""]).is_empty());
    let _silent = std::os::unix::net::UnixListener::bind(dir.path().join("admin.sock")).unwrap();
    assert!(bash(dir.path(), &["lock", "create", "--agent", ""]).is_empty());
}
