//! systemd's units, and what the programs tell systemd and take from it.

use super::deploy;
use avouch_tests::Installation;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn systemd_reads_the_units_and_finds_them_hardened() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("not run: needs systemd-analyze");
        return;
    }
    for (part, exposure) in [("server", 20), ("helper", 30)] {
        let unit = deploy().join(format!("avouch-{part}.service"));
        let said = analyze(&["verify", "--man=no"], &unit);
        // The one thing that is amiss is that nothing is installed here.
        let amiss: Vec<&str> = said.lines().filter(|line| !line.contains("is not executable")).collect();
        assert!(amiss.is_empty(), "{said}");
        let tenths = format!("--threshold={exposure}");
        let mut security = Command::new("systemd-analyze");
        let output = security.args(["security", "--offline=true", "--no-pager", &tenths]).arg(&unit).output();
        let output = output.expect("systemd-analyze");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        // It finds what is wrong: an unknown key, and a unit that is not hardened.
        let folder = tempfile::tempdir().expect("a folder");
        let worse = folder.path().join(format!("avouch-{part}.service"));
        let text = fs::read_to_string(&unit).expect("the unit");
        fs::write(&worse, text.replace("ProtectSystem=strict", "ProtectSystems=strict")).expect("a unit");
        assert!(analyze(&["verify", "--man=no"], &worse).contains("ProtectSystems"), "{part}");
        let kept = |line: &&str| {
            !["Protect", "Restrict", "SystemCall", "Capability"].iter().any(|word| line.starts_with(word))
        };
        fs::write(&worse, text.lines().filter(kept).collect::<Vec<_>>().join("\n")).expect("a unit");
        let output = Command::new("systemd-analyze").args(["security", "--offline=true", &tenths]).arg(&worse).output();
        assert!(!output.expect("systemd-analyze").status.success(), "{part}");
    }
}

#[test]
fn systemd_is_told_that_a_part_serves_how_it_is_that_it_turns_and_that_it_ends() {
    let mut made = Installation::prepare().expect("settings");
    for part in ["server", "helper"] {
        let path = made.path(&format!("notify-{part}"));
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        let path = path.display().to_string();
        let environment = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "200000")];
        match part {
            "server" => made.start_server(&environment).and_then(|()| made.token("n1")),
            _ => made.start_helper(&environment),
        }
        .expect("started");
        let mut heard = String::new();
        let begun = Instant::now();
        while heard.matches("WATCHDOG=1").count() < 3 || !heard.contains("STATUS=ready") {
            assert!(begun.elapsed() < Duration::from_secs(20), "{part}: {heard}");
            heard += &hear(&socket);
        }
        assert!(heard.starts_with("READY=1"), "{part}: {heard}");
        let child = if part == "server" { made.server() } else { made.helper() };
        let child = child.expect("a part");
        let pid = rustix::process::Pid::from_child(child);
        if part == "helper" {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
            while !heard.contains("STOPPING=1") {
                heard += &hear(&socket);
            }
        } else {
            // A part that stands still is not taken for one that turns.
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("SIGSTOP");
            socket.set_read_timeout(Some(Duration::from_millis(600))).expect("a limit");
            while socket.recv(&mut [0; 512]).is_ok() {}
            assert!(socket.recv(&mut [0; 512]).is_err());
            rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("SIGCONT");
            socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
            assert!(hear(&socket).contains("WATCHDOG=1"));
        }
    }
}

#[test]
fn seal_keys_and_the_join_token_are_taken_from_what_systemd_gives() {
    let mut made = Installation::prepare().expect("settings");
    for (part, name) in [("server", "avouch.server-seal"), ("helper", "avouch.helper-seal")] {
        let settings = made.path(&format!("{part}.toml"));
        let text = fs::read_to_string(&settings).expect("settings");
        let left = |line: &&str| !line.starts_with("seal_key_file") && !line.starts_with("join_token_file");
        fs::write(&settings, text.lines().filter(left).collect::<Vec<_>>().join("\n")).expect("settings");
        let given = made.path(&format!("given-{part}"));
        fs::create_dir(&given).expect("a directory");
        let key: Vec<u8> = (0..32).map(|byte| byte ^ part.len() as u8).collect();
        put(&given.join(name), &key);
        let given = given.display().to_string();
        if part == "server" {
            made.start_server(&[("CREDENTIALS_DIRECTORY", &given)]).expect("an issuer");
            made.token("n1").expect("a token");
        } else {
            let token = fs::read(made.path("keys/token")).expect("a token");
            put(&Path::new(&given).join("avouch.join-token"), &token);
            made.start_helper(&[("CREDENTIALS_DIRECTORY", &given)]).expect("a helper");
        }
    }
    // Without the directory it is as if the key were lost, which no new one replaces.
    made.kill_server().expect("killed");
    let mut child = made.daemon("server", &[("HOME", "/nonexistent")]).expect("an issuer");
    assert!(!child.wait().expect("ended").success(), "{}", made.logs());
}

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o400)).expect("its mode");
}

fn hear(socket: &UnixDatagram) -> String {
    let mut message = [0; 512];
    let length = socket.recv(&mut message).expect("a message in time");
    String::from_utf8_lossy(&message[..length]).into_owned() + "\n"
}

fn analyze(words: &[&str], unit: &Path) -> String {
    let output = Command::new("systemd-analyze").args(words).arg(unit).output().expect("systemd-analyze");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
