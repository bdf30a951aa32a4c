use super::*;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

fn contain(profile: Profile, home: &Path) -> Contain {
    Contain {
        profile,
        workload_socket: "/run/avouch/workload.sock".into(),
        tokens_directory: None,
        work_dir: home.join("src"),
        home: Some(home.to_owned()),
        runtime_dir: Some("/run/user/7".into()),
        hide: vec![home.join("state")],
        uid: None,
    }
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("folder");
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
    for below in [".cargo/registry", ".rustup", ".ssh", "src", "state", ".cache/pip"] {
        std::fs::create_dir_all(home.path().join(below)).expect("folder");
    }
    home
}

fn lines(text: &str, how: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.get(WIDE..).is_some_and(|rest| rest.starts_with(how)));
    lines.map(|line| line[WIDE + how.len()..].trim().to_owned()).collect()
}

#[test]
fn what_is_reached_is_said_with_how_and_what_is_not_there_is_not() {
    let home = home();
    let scrubbed = Scrubbed {
        environment: vec![("PATH".into(), "/bin".into())],
        secrets: vec!["NPM_TOKEN".to_owned()],
        ways_out: vec!["SSH_AUTH_SOCK".to_owned()],
    };
    let text = explain(&contain(Profile::builtin("work").expect("work"), home.path()), &scrubbed);
    assert!(text.starts_with("Profile work: "));
    // A script is told the same, each thing by itself and with what it is about.
    let rows = reach(&contain(Profile::builtin("work").expect("work"), home.path()), &scrubbed);
    let is = |about: &str, how: &str, what: &str| {
        rows.iter().any(|row| (row.about.as_str(), row.how.as_str(), row.what.as_str()) == (about, how, what))
    };
    assert!(is("files", "copied", "~/.cargo/registry") && is("variables", "dropped", "NPM_TOKEN"), "{rows:?}");
    assert!(rows.iter().all(|row| !row.about.is_empty() && text.contains(&row.what)), "{rows:?}");
    assert_eq!(lines(&text, "written"), [home.path().join("src").display().to_string()]);
    assert_eq!(lines(&text, "copied"), ["~/.cargo/registry ~/.cache/pip"]);
    assert!(lines(&text, "read")[0].contains("~/.rustup") && lines(&text, "read")[1].contains("/usr"));
    assert!(!text.contains(".ssh") && !text.contains("~/.nvm") && !text.contains("HOLE"));
    assert!(lines(&text, "hidden")[0].contains("state"));
    assert_eq!(
        (lines(&text, "dropped"), lines(&text, "unset")),
        (vec!["NPM_TOKEN".into()], vec!["SSH_AUTH_SOCK".into()])
    );
    assert!(text.contains("--env NAME keeps one") && text.contains("4096 processes"));
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

#[test]
fn a_socket_that_a_profile_names_is_a_hole_and_a_written_entry_stands_out() {
    let home = home();
    let own = "from = \"strict\"\n[home]\nwrite = [\".ssh\"]\n[sockets]\nopen = [\"$XDG_RUNTIME_DIR/bus\", \"/run/docker.sock\"]";
    let text = explain(&contain(Profile::parse("mine", own).expect("profile"), home.path()), &Scrubbed::default());
    let holes = lines(&text, "HOLE");
    assert!(holes[0].starts_with("/run/user/7/bus") && holes[1].starts_with("/run/docker.sock"), "{text}");
    assert!(holes.iter().all(|hole| hole.contains("acts outside the wall")));
    assert_eq!(lines(&text, "WRITTEN"), ["~/.ssh"]);
    assert!(text.contains("ends after 8h") && text.contains("Landlock required"));
}

#[test]
fn all_of_home_is_said_to_be_and_no_name_writes_to_the_terminal() {
    let home = home();
    let mut contain = contain(Profile::builtin("open").expect("open"), home.path());
    contain.work_dir = PathBuf::from("/srv/a\u{1b}[2Jb");
    let text = explain(&contain, &Scrubbed::default());
    assert_eq!(lines(&text, "copied"), ["~"]);
    assert!(text.contains("/srv/a\\u{1b}[2Jb") && !text.contains('\u{1b}'));
}

#[test]
fn what_of_a_private_home_another_id_does_not_reach_is_not_said_to_be_there() {
    let home = home();
    let own = home.path().metadata().expect("home").uid();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).expect("mode");
    assert!(reaches(home.path(), Some(own)) && !reaches(home.path(), Some(own + 1)) && !reaches(home.path(), None));
    let text = explain(&contain(Profile::builtin("work").expect("work"), home.path()), &Scrubbed::default());
    assert_eq!(text.contains("~/.rustup"), behind(None) == Some(own), "{text}");
}
