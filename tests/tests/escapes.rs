//! Nothing gets out of a contained session by any way that the corpus knows (`src/bin/escapes`), and programs that make
//! sandboxes of their own go on doing so.

use avouch_tests::{World, needs_root};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn corpus(caller: &str) {
    let tried = Command::new(env!("CARGO_BIN_EXE_avouch-escapes")).arg(caller).stdin(Stdio::null()).output();
    let tried = tried.expect("the corpus");
    println!("{}", String::from_utf8_lossy(&tried.stdout));
    assert!(
        tried.status.success(),
        "{}{}",
        String::from_utf8_lossy(&tried.stdout),
        String::from_utf8_lossy(&tried.stderr)
    );
}

#[test]
fn nothing_escapes_from_a_session_that_root_opened() {
    if needs_root() {
        corpus("root");
    }
}

#[test]
fn nothing_escapes_from_a_session_that_an_ordinary_user_opened() {
    corpus("user");
}

/// The path of one of these programs; none, said and counted, if this host has none.
fn tool(names: &[&str]) -> Option<String> {
    let folders = ["/usr/bin", "/usr/local/bin", "/opt/google/chrome"];
    let all = names.iter().flat_map(|name| folders.map(|folder| format!("{folder}/{name}")));
    let found = all.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        println!("not run: this host has no {}", names[0]);
    }
    found
}

/// A script in a contained session of the profile `open`, in a work directory of its own.
fn in_open(world: &World, script: &str) -> Output {
    let work = world.made.path("work");
    std::fs::create_dir_all(&work).expect("a work directory");
    let mut run = world.made.command(&["run", "--agent", "researcher", "--contain=open", "--", "bash", "-c", script]);
    run.current_dir(work).stdin(Stdio::null()).output().expect("run")
}

#[test]
fn bubblewrap_makes_its_own_sandbox_in_open() {
    let Some(bwrap) = tool(&["bwrap"]) else { return };
    let world = World::start().expect("a world");
    let script = format!(
        "echo seen > /tmp/mine; {bwrap} --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-all \
         sh -c 'test ! -e /tmp/mine && echo masked; echo $$; readlink /proc/self/ns/net'; readlink /proc/self/ns/net"
    );
    let output = in_open(&world, &script);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let [masked, pid, inner, outer] = lines[..] else { panic!("{output:?}") };
    assert!(masked == "masked" && pid.parse::<u32>().is_ok_and(|pid| pid <= 3) && inner != outer, "{said}");
}

#[test]
fn chromium_keeps_its_own_sandbox_in_open() {
    let Some(chromium) = tool(&["chromium", "google-chrome", "chrome"]) else { return };
    let world = World::start().expect("a world");
    // A renderer in Chromium's own sandbox is in a pid namespace below the session's, under one filter more.
    let script = format!(
        "{chromium} --headless --disable-gpu --user-data-dir=/tmp/profile --remote-debugging-port=0 \
         'data:text/html,<p>hello' 2>/tmp/said &
         filters() {{ grep Seccomp_filters $1/status | cut -f2; }}
         for i in $(seq 300); do
           for p in /proc/[0-9]*; do
             grep -qa -- --type=renderer $p/cmdline || continue
             if [ $(grep NSpid $p/status | wc -w) -ge 3 ] && [ $(filters $p) -gt $(filters /proc/self) ]; then
               echo sandboxed; kill %1; exit
             fi
           done 2>/dev/null
           sleep 0.1
         done; cat /tmp/said"
    );
    let output = in_open(&world, &script);
    assert!(String::from_utf8_lossy(&output.stdout).contains("sandboxed"), "{output:?}");
}
