//! Contained sessions over the real programs. What cannot get out of one is tried in the corpus of escapes.

use super::program;
use avouch_tests::{Installation, World, needs_root};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// An agent of whoever runs the tests, as which session it may be, with a work directory that holds the program.
struct Walled {
    world: World,
    work: PathBuf,
}

impl Walled {
    fn start(helper: &str) -> Self {
        let mut made = Installation::prepare_with("", helper).expect("settings");
        made.start_both().expect("started");
        let world = World::on(made).expect("a world");
        let opener = format!("session:uid:{}", rustix::process::geteuid().as_raw());
        let line = ["agent", "create", "walled", "--owner", "me@example.test", "--node", "node:name:n1"];
        world.made.run(&[&line[..], &["--selector", &opener]].concat()).expect("an agent");
        let work = world.made.path("work");
        std::fs::create_dir(&work).expect("a work directory");
        std::fs::copy(program(), work.join("avouch")).expect("the program");
        Self { world, work }
    }

    fn run(&self, flags: &[&str], script: &str) -> Output {
        let line = [&["run"], flags, &["--", "sh", "-c", script]].concat();
        let mut command = self.world.made.command(&line);
        command.current_dir(&self.work).stdin(Stdio::null()).output().expect("run")
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_contained_session_is_served_and_gets_what_is_for_contained_sessions_alone() {
    let walled = Walled::start("");
    let to = walled.world.plain("");
    let binding = ["--to", &to, "--plain", "loopback", "--method", "GET", "--path", "/repos/**", "--as", "bearer"];
    let demanding = [&binding[..], &["--require", "session:contained:work"]].concat();
    // In the place of the world's own credential for that origin.
    walled.world.made.put_secret("plain", avouch_tests::PLAIN, &demanding).expect("put");
    for agent in ["walled", "researcher"] {
        walled.world.made.run(&["grant", "create", "--agent", agent, "--credential", "plain"]).ok();
    }
    let url = walled.world.plain("/repos/x");
    let script = format!("./avouch svid show; curl -sS -m 10 -w '%{{http_code}}\\n' '{url}'");
    for (flags, answer) in [
        (&["--contain"][..], "200"),
        (&["--contain=strict"], "200"),
        (&["--contain=open"], "denied"),
        (&["--no-contain"], "denied"),
        (&[], "denied"),
    ] {
        let output = walled.run(&[&["--agent", "walled"], flags].concat(), &script);
        let said = said(&output);
        assert!(said.contains("/agent/walled"), "{flags:?}: {said}");
        assert!(said.contains(answer), "{flags:?}: {said}\n{}", walled.world.made.logs());
    }
    assert_eq!(walled.world.authorized(), 2);
    let events = walled.world.made.run(&["audit", "export", "--out", "-"]).expect("export").stdout;
    assert_eq!(events.matches("\"contained\":\"work\"").count(), 1);
    walled.world.made.run(&["audit", "verify"]).expect("the log verifies");
}

#[test]
fn what_nothing_binds_is_denied_to_a_contained_session_and_sockets_of_avouch_are_not_there() {
    let walled = Walled::start("[session]\ncontain = \"required\"\n");
    let run = walled.world.made.path("run").display().to_string();
    let script = format!(
        "curl -sS -m 10 http://unbound.example.test/; ./avouch --runtime-dir {run} agent list; \
         ./avouch --runtime-dir {run} run --agent walled -- true; ls /run/avouch {run}; true"
    );
    let output = walled.run(&["--agent", "walled"], &script);
    let told = said(&output);
    assert!(told.contains("\"unbound_host\""), "{told}");
    assert!(told.contains("no issuer runs here") && told.contains("no helper runs here"), "{told}");
    assert!(told.contains("workload.sock") && !told.contains("session.sock\n"), "{told}");
    let open = walled.run(&["--agent", "walled", "--no-contain"], &format!("ls {run}"));
    let told = said(&open);
    assert!(told.contains("not contained: the program can read") && told.contains("session.sock"), "{told}");
    // A variable that looks like a secret stays out, is named once, and can be kept.
    let run = |flags: &[&str]| {
        let line = [&["run", "--agent", "walled"], flags, &["--", "sh", "-c", "echo got $DEPLOY_TOKEN."]].concat();
        let mut command = walled.world.made.command(&line);
        command.env("DEPLOY_TOKEN", "e6c4b5f0a1d24e7f93b8c0aa51f2d7e4").current_dir(&walled.work);
        said(&command.stdin(Stdio::null()).output().expect("run"))
    };
    let told = run(&[]);
    assert!(told.contains("got .") && told.matches("DEPLOY_TOKEN").count() == 1, "{told}");
    let told = run(&["--env", "DEPLOY_TOKEN"]);
    assert!(told.contains("got e6c4b5f0a1d24e7f93b8c0aa51f2d7e4."), "{told}");
    assert!(!told.contains("look like secrets"), "{told}");
    let told = said(&walled.run(&["--agent", "walled", "--explain"], "echo it ran"));
    assert!(told.contains("Profile work") && !told.contains("it ran"), "{told}");
}

#[test]
fn a_session_that_has_to_be_contained_and_cannot_be_is_refused_and_nothing_falls_back() {
    let walled = Walled::start("[session]\ncontain = \"required\"\n");
    let line = |flags: &str| {
        let run = walled.world.made.path("run").display().to_string();
        // No namespace more in this one.
        let script = format!(
            "echo 0 >/proc/sys/user/max_user_namespaces; echo 0 >/proc/sys/user/max_net_namespaces; \
             exec ./avouch --runtime-dir {run} run --agent walled {flags} -- echo it ran"
        );
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &script]).current_dir(&walled.work);
        command.stdin(Stdio::null()).output().expect("unshare")
    };
    let output = line("");
    let told = said(&output);
    assert_ne!(output.status.code(), Some(0), "{told}");
    assert!(!told.contains("it ran") && told.contains("--no-contain"), "{told}");
    let told = said(&line("--no-contain"));
    assert!(told.contains("it ran"), "{told}");
}

#[test]
fn inside_a_session_its_own_agent_can_be_run_and_no_other() {
    let walled = Walled::start("");
    let run = walled.world.made.path("run").display().to_string();
    let nested = |agent: &str| {
        let inner = format!("./avouch --runtime-dir {run} run --agent {agent} -- ./avouch svid show");
        said(&walled.run(&["--agent", "walled"], &inner))
    };
    let told = nested("walled");
    assert!(told.contains("/agent/walled"), "{told}");
    let told = nested("intruder");
    assert!(told.contains("(inside_session)") && !told.contains("spiffe://"), "{told}");
}

/// A helper as it is started in a container of its own, beside the one that is there.
fn elsewhere(walled: &Walled, around: &[&str]) -> (Command, PathBuf) {
    let place = walled.world.made.path("elsewhere");
    std::fs::create_dir(&place).expect("a place");
    let settings = std::fs::read_to_string(walled.world.made.path("helper.toml")).expect("settings");
    let whole = walled.world.made.path("").display().to_string();
    let whole = whole.trim_end_matches('/');
    let settings = ["helper", "run"].iter().fold(settings, |text, part| {
        text.replace(&format!("{whole}/{part}\""), &format!("{}/{part}\"", place.display()))
    });
    let settings =
        settings.replace(&format!("{whole}/keys/helper.key"), &format!("{}/keys/helper.key", place.display()));
    std::fs::write(place.join("helper.toml"), settings).expect("settings");
    walled.world.made.token("n2").expect("a token");
    let mut command = Command::new(around[0]);
    command.args(&around[1..]).arg(walled.work.join("avouch")).args(["helper", "--config"]);
    let log = std::fs::File::create(place.join("log")).expect("a log");
    command.arg(place.join("helper.toml")).stdin(Stdio::null()).stderr(log);
    (command, place)
}

/// What `run` hears from it, started like this.
fn told_by(walled: &Walled, mut helper: Command, place: &std::path::Path, around: &[&str]) -> String {
    let mut helper = helper.spawn().expect("a helper");
    let socket = place.join("run/session.sock");
    let begun = Instant::now();
    while !socket.exists() {
        let log = std::fs::read_to_string(place.join("log")).unwrap_or_default();
        assert!(begun.elapsed() < Duration::from_secs(20), "the helper did not come up: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut command = Command::new(around[0]);
    command
        .args(&around[1..])
        .arg(walled.work.join("avouch"))
        .arg("--runtime-dir")
        .arg(place.join("run"))
        .args(["run", "--agent", "walled", "--", "echo", "it ran"]);
    let told = said(&command.current_dir(&walled.work).stdin(Stdio::null()).output().expect("run"));
    helper.kill().expect("killed");
    helper.wait().expect("ended");
    assert!(!told.contains("it ran"), "{told}");
    told
}

#[test]
fn a_helper_in_a_pid_namespace_beside_its_agents_says_so() {
    // A user namespace of one's own has no number for root, whose the directories above its sockets are.
    if !needs_root() {
        return;
    }
    let walled = Walled::start("");
    let (helper, place) = elsewhere(&walled, &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    let told = told_by(&walled, helper, &place, &["env"]);
    assert!(told.contains("(pid_namespace)") && told.contains("hostPID"), "{told}");
}

#[test]
fn a_user_that_the_helper_has_no_number_for_is_told_so_and_is_nobody() {
    if !needs_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let walled = Walled::start("");
    std::fs::set_permissions(walled.world.made.path(""), std::fs::Permissions::from_mode(0o755)).expect("open to all");
    let (helper, place) = elsewhere(&walled, &["unshare", "--map-root-user"]);
    let other = ["setpriv", "--reuid", "1001", "--regid", "1001", "--clear-groups"];
    let told = told_by(&walled, helper, &place, &other);
    assert!(told.contains("(user_unmapped)"), "{told}");
}
