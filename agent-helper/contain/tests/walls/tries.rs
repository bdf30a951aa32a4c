//! What is tried. Each begins with the same command outside, where that shows that it could have worked.

use crate::names::{
    a_directory_of_anothers_is_shown_to_an_id_that_nobody_has,
    a_directory_with_a_program_that_raises_its_rights_is_not_shown_as_anothers,
    what_is_hidden_is_hidden_under_all_its_names,
};
use crate::place::{Caller, HIDE, ORDINARY, Place, REFUSED, UID, callers, is_root, said};
use crate::terminals::{
    a_terminal_only_to_write_to_gives_nothing_to_read, the_program_stops_and_goes_on_with_its_job,
    the_terminal_is_the_sessions_own,
};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Name and test.
pub const ALL: &[(&str, fn())] = &[
    ("the_program_has_its_own_number_and_no_right", the_program_has_its_own_number_and_no_right),
    ("no_process_of_roots_session_is_root", no_process_of_roots_session_is_root),
    ("no_other_process_of_its_user_enters_roots_session", no_other_process_of_its_user_enters_roots_session),
    ("the_work_directory_alone_is_given_to_another_id", the_work_directory_alone_is_given_to_another_id),
    ("a_directory_behind_a_closed_one_is_given_all_the_same", a_directory_behind_a_closed_one_is_given_all_the_same),
    (
        "a_directory_that_cannot_be_mapped_is_refused_with_uid_named",
        a_directory_that_cannot_be_mapped_is_refused_with_uid_named,
    ),
    ("only_loopback_is_inside_and_the_listener_is_on_it", only_loopback_is_inside_and_the_listener_is_on_it),
    ("home_is_hidden_and_caches_are_copies", home_is_hidden_and_caches_are_copies),
    ("run_tmp_shm_and_dev_are_the_sessions_own", run_tmp_shm_and_dev_are_the_sessions_own),
    ("what_is_hidden_stays_hidden_for_the_next_session_too", what_is_hidden_stays_hidden_for_the_next_session_too),
    ("a_work_directory_that_is_home_or_avouchs_is_refused", a_work_directory_that_is_home_or_avouchs_is_refused),
    (
        "a_directory_with_a_program_that_raises_its_rights_is_not_shown_as_anothers",
        a_directory_with_a_program_that_raises_its_rights_is_not_shown_as_anothers,
    ),
    (
        "a_directory_of_anothers_is_shown_to_an_id_that_nobody_has",
        a_directory_of_anothers_is_shown_to_an_id_that_nobody_has,
    ),
    ("what_is_hidden_is_hidden_under_all_its_names", what_is_hidden_is_hidden_under_all_its_names),
    ("sockets_of_the_host_are_covered_in_every_profile", sockets_of_the_host_are_covered_in_every_profile),
    ("a_socket_that_the_profile_names_is_there_and_no_other", a_socket_that_the_profile_names_is_there_and_no_other),
    ("no_mask_can_be_taken_away", no_mask_can_be_taken_away),
    ("a_sandbox_inside_mounts_its_own_proc_in_open", a_sandbox_inside_mounts_its_own_proc_in_open),
    ("the_first_process_cannot_be_looked_into", the_first_process_cannot_be_looked_into),
    ("no_descriptor_is_inherited", no_descriptor_is_inherited),
    ("a_directory_as_a_standard_stream_is_refused", a_directory_as_a_standard_stream_is_refused),
    ("the_terminal_is_the_sessions_own", the_terminal_is_the_sessions_own),
    ("the_program_stops_and_goes_on_with_its_job", the_program_stops_and_goes_on_with_its_job),
    ("a_terminal_only_to_write_to_gives_nothing_to_read", a_terminal_only_to_write_to_gives_nothing_to_read),
    ("codes_and_signals_pass", codes_and_signals_pass),
    ("everything_ends_with_run", everything_ends_with_run),
    ("a_covered_proc_outside_is_named", a_covered_proc_outside_is_named),
];

const PROFILES: [&str; 3] = ["open", "work", "strict"];

fn each(profiles: &[&str], of: impl Fn(&Place, &str, Caller)) {
    for caller in callers() {
        for profile in profiles {
            of(&Place::new(caller), profile, caller);
        }
    }
}

fn the_program_has_its_own_number_and_no_right() {
    each(&PROFILES, |place, profile, caller| {
        let text =
            "id -u; id -G; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | cut -f2 | sort -u | tr '\\n' ' '";
        let said = place.run(profile, text);
        let lines: Vec<_> = said.lines().collect();
        if caller == Caller::Ordinary {
            assert_eq!(lines[0], rustix_uid(), "{profile}");
        }
        assert_ne!(lines[0], "0");
        assert_eq!(lines[0], lines[1], "no group but its own: {said}");
        assert_eq!(lines[2], "0000000000000000 1 2", "{profile}: {said}");
    });
}

fn rustix_uid() -> String {
    if is_root() { ORDINARY.to_string() } else { rustix::process::getuid().as_raw().to_string() }
}

fn no_process_of_roots_session_is_root() {
    if !is_root() {
        return println!("not run: needs root");
    }
    for (asked, expected) in [(None, None), (Some("1900000000"), Some(1_900_000_000))] {
        let place = Place::new(Caller::Root);
        let mut command = place.command("work", "sleep 20 & echo started; wait");
        if let Some(asked) = asked {
            command.env(UID, asked);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        read_line(&mut child);
        let below = below(child.id());
        assert!(below.len() >= 3, "init, shell and sleep: {below:?}");
        for pid in &below {
            let about = fs::metadata(format!("/proc/{pid}")).unwrap();
            assert_eq!(about.uid(), about.gid());
            match expected {
                Some(uid) => assert_eq!(about.uid(), uid),
                None => assert!((1_879_048_192..=2_147_483_647).contains(&about.uid())),
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut command = Place::new(Caller::Root).command("work", "id -u");
    let output = command.env(UID, "0").output();
    assert!(output.is_err() || said(&output.unwrap()).contains("--uid"));
}

/// What it reached there it would use and write as the session does, without the list of system calls.
fn no_other_process_of_its_user_enters_roots_session() {
    if !is_root() {
        return println!("not run: needs root");
    }
    let outside = |pid: u32, names: &[&str]| {
        let paths: Vec<_> = names.iter().map(|name| format!("/proc/{pid}/{name}")).collect();
        let mut command = Command::new("stat");
        said(&command.args(["-L", "-c", "reached"]).args(paths).uid(ORDINARY).gid(ORDINARY).output().unwrap())
    };
    let ways = ["cwd", "root", "ns/user", "ns/mnt", "ns/net", "fd/0"];
    for profile in PROFILES {
        let place = Place::new(Caller::Root);
        chown(place.path("work"), Some(ORDINARY), Some(ORDINARY)).unwrap();
        let mut command = place.command(profile, "sleep 20 & echo started; wait");
        let mut child = command.env(UID, ORDINARY.to_string()).stdout(Stdio::piped()).spawn().unwrap();
        read_line(&mut child);
        let other = Command::new("sleep").arg("20").uid(ORDINARY).gid(ORDINARY).spawn().unwrap();
        assert_eq!(outside(other.id(), &ways), ["reached"; 6].join("\n"), "the control");
        for pid in below(child.id()) {
            let said = outside(pid, &ways);
            assert!(!said.contains("reached"), "{profile}, {pid}: {said}");
        }
        for mut each in [child, other] {
            each.kill().unwrap();
            each.wait().unwrap();
        }
    }
}

fn the_work_directory_alone_is_given_to_another_id() {
    if !is_root() {
        return println!("not run: needs root");
    }
    let place = Place::new(Caller::Root);
    let beside = place.path("beside");
    fs::create_dir(&beside).unwrap();
    let said = place.run(
        "work",
        &format!("cat notes; echo new > made; mkdir d; touch {}/x; stat -c %u notes made; id -u", beside.display()),
    );
    let numbers: Vec<_> = said.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert_eq!((numbers.len(), numbers[0], numbers[1]), (3, numbers[2], numbers[2]), "all is its own: {said}");
    assert!(said.starts_with("old"), "{said}");
    assert_eq!(fs::read_to_string(place.path("work/made")).unwrap(), "new\n");
    for made in ["work/made", "work/d"] {
        assert_eq!(fs::metadata(place.path(made)).unwrap().uid(), 0, "outside it belongs to the directory's owner");
    }
    assert!(fs::read_dir(beside).unwrap().next().is_none());
}

fn a_directory_behind_a_closed_one_is_given_all_the_same() {
    if !is_root() {
        return println!("not run: needs root");
    }
    let place = Place::new(Caller::Root);
    // Seen by the profile, and closed to everybody but root.
    let closed = tempfile::Builder::new().prefix("walls").tempdir_in("/opt").unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let work = closed.path().join("deep/work");
    fs::create_dir_all(&work).unwrap();
    fs::write(closed.path().join("other"), "private").unwrap();
    let text = format!("echo new > made && cat made; cat {}/other", closed.path().display());
    let said = said(&place.command("open", &text).current_dir(&work).output().unwrap());
    assert!(said.starts_with("new\n") && !said.contains("private"), "{said}");
    assert!(work.join("made").exists());
}

fn a_directory_that_cannot_be_mapped_is_refused_with_uid_named() {
    if !is_root() {
        return println!("not run: needs root");
    }
    let place = Place::new(Caller::Root);
    // A file system whose owners cannot be shown as others, in a mount namespace that ends with it.
    let command = place.command("work", "id -u");
    let shell = format!(
        "mount -t tmpfs t {0} && mkdir {0}/u {0}/w {0}/l {0}/m && \
         mount -t overlay o -o lowerdir={0}/l,upperdir={0}/u,workdir={0}/w {0}/m && cd {0}/m && exec \"$@\"",
        place.path("beside").display()
    );
    fs::create_dir(place.path("beside")).unwrap();
    let mut wrapped = std::process::Command::new("unshare");
    wrapped.args(["-m", "sh", "-c", &shell, "sh"]).arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
    let output = wrapped.output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(REFUSED)), "{}", said(&output));
    assert!(said(&output).contains("belongs to the id named with --uid"), "{}", said(&output));
}

fn only_loopback_is_inside_and_the_listener_is_on_it() {
    each(&PROFILES, |place, profile, _| {
        let text = "tail -n +3 /proc/net/dev | cut -d: -f1; cat /proc/net/route | tail -n +2; \
                    cat /proc/net/tcp | grep -c \" 0100007F:$(printf %04X $PROXY_PORT) .* 0A \"";
        assert_eq!(place.run(profile, text), "    lo\n1", "{profile}");
    });
}

fn home_is_hidden_and_caches_are_copies() {
    each(&["work"], |place, _, caller| {
        let text = "cat ~/.ssh/id; ls -A ~; cat ~/.cache/pip/wheel; echo poison > ~/.cache/pip/wheel; cat ~/.cache/pip/wheel; \
                    echo x > ~/.profile && cat ~/.profile";
        assert_eq!(place.outside("cat ~/.ssh/id"), "private", "the control");
        let said = place.run("work", text);
        assert!(!said.contains("private"), "{said}");
        assert!(said.contains("cached") && said.contains("x\n"), "{caller:?}: {said}");
        if caller == Caller::Ordinary {
            assert!(said.contains("poison"), "{said}");
        }
        assert_eq!(fs::read_to_string(place.path("home/.cache/pip/wheel")).unwrap(), "cached");
        assert!(!place.path("home/.profile").exists());
    });
    each(&["strict"], |place, _, _| {
        let said = place.run("strict", "echo x > made; echo x > ~/made; echo x > /tmp/made && cat /tmp/made notes");
        assert!(said.starts_with("x\nold"), "{said}");
        assert!(!place.path("work/made").exists());
    });
}

fn run_tmp_shm_and_dev_are_the_sessions_own() {
    each(&PROFILES, |place, profile, _| {
        let own = place.path("home");
        let said = place.run(
            profile,
            "find /run -type f -o -type s | sort | tr '\\n' ' '; cat /run/avouch/bundle.pem /run/avouch/extra.pem; \
             ls /dev | sort | tr '\\n' ' '; ls -A /dev/shm /var/tmp; touch /run/x /dev/x /run/avouch/extra.pem 2>&1 | grep -c .; ls /sys; \
             ls /proc/keys /sys/kernel/debug /sys/fs/cgroup /dev/kmsg /dev/vda 2>/dev/null; cat /proc/keys /proc/kcore | wc -c; \
             echo 9 > /proc/sys/net/ipv4/ip_default_ttl; echo x > /dev/shm/x && cat /dev/shm/x",
        );
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[0], "/run/avouch/bundle.pem /run/avouch/extra.pem /run/avouch/workload.sock bundle", "{said}");
        assert_eq!(lines[1], "extra");
        let devices = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ";
        assert!(said.contains(devices) && said.contains("\n3\ndevices\nkernel\n/proc/keys\n0\n"), "{profile}: {said}");
        assert!(said.contains("ip_default_ttl: Read-only") && !fs::exists("/dev/shm/x").unwrap(), "{said}");
        assert!(own.exists());
    });
}

fn what_is_hidden_stays_hidden_for_the_next_session_too() {
    each(&["open", "work"], |place, profile, _| {
        fs::create_dir_all(place.path("work/deep/er/state")).unwrap();
        fs::write(place.path("work/deep/er/state/key"), "sealed").unwrap();
        place.own();
        let run = |text: &str| {
            let mut command = place.command(profile, text);
            // Once it was moved, its old path leads nowhere.
            said(&command.env(HIDE, place.path("work/deep/er/state")).output().unwrap())
        };
        assert_eq!(place.outside("cat deep/er/state/key"), "sealed", "the control");
        let said = run(
            "cat deep/er/state/key; mv deep/er/state there; mv deep/er there; mv deep there; rm -rf deep; umount deep/er/state; echo x > deep/y",
        );
        assert!(!said.contains("sealed"), "{said}");
        assert!(!run("cat */state/key */*/state/key */*/*/state/key").contains("sealed"));
        assert_eq!(place.outside("cat deep/er/state/key"), "sealed", "it is where it was");
    });
}

fn a_work_directory_that_is_home_or_avouchs_is_refused() {
    each(&["open"], |place, profile, caller| {
        fs::create_dir_all(place.path("work/state/below")).unwrap();
        place.own();
        let (home, beside) = (place.path("home"), place.path("work"));
        let mut places = vec![
            (home.clone(), &home, "holds your whole home"),
            (place.path(""), &home, "holds your whole home"),
            (place.path("work/state/below"), &home, "belongs to avouch"),
        ];
        let own = fs::read_to_string("/etc/passwd").unwrap().lines().any(|line| line.contains(":0:0:root:/root:"));
        if caller == Caller::Root && own {
            places.push(("/root".into(), &beside, "holds your whole home"));
        }
        for (at, home, why) in places {
            let mut command = place.command(profile, "echo started");
            let output =
                command.current_dir(&at).env("HOME", home).env(HIDE, place.path("work/state")).output().unwrap();
            assert!(said(&output).contains(why), "{}: {}", at.display(), said(&output));
            assert_eq!(output.status.code(), Some(i32::from(REFUSED)));
        }
    });
}

fn sockets_of_the_host_are_covered_in_every_profile() {
    each(&PROFILES, |place, profile, _| {
        let _listening = ["work/db.sock", "home/agent.sock"].map(|path| UnixListener::bind(place.path(path)).unwrap());
        place.own();
        let find = "find . ~ -name '*.sock' -type s | wc -l";
        assert_eq!(place.outside(find), "2", "the control");
        // What an overlay shows of a socket leads nowhere; it must not be the host's own file.
        let device = |at: &str| format!("{}", fs::metadata(place.path(at)).unwrap().ino());
        let said = place.run(profile, "test -S db.sock && echo there; stat -c %i db.sock ~/agent.sock 2>/dev/null");
        assert!(!said.contains("there") && !said.contains(&device("home/agent.sock")), "{profile}: {said}");
    });
}

fn a_socket_that_the_profile_names_is_there_and_no_other() {
    each(&["mine"], |place, profile, _| {
        let paths = ["home/named.sock", "home/other.sock", "beside/named.sock"].map(|path| place.path(path));
        fs::create_dir(place.path("beside")).unwrap();
        let _listening = paths.each_ref().map(|path| UnixListener::bind(path).unwrap());
        fs::create_dir(place.path("profiles")).unwrap();
        let [home, _, beside] = paths.each_ref().map(|path| path.display().to_string());
        let text = format!("from = \"work\"\n[sockets]\nopen = [\"~/named.sock\", \"{beside}\"]\n");
        fs::write(place.path("profiles/mine.toml"), text).unwrap();
        place.own();
        let inode = |path: &str| fs::metadata(path).unwrap().ino();
        let said = place.run(profile, &format!("ls ~; stat -c %i {home} {beside}"));
        assert_eq!(said, format!("named.sock\n{}\n{}", inode(&home), inode(&beside)));
    });
}

fn no_mask_can_be_taken_away() {
    each(&PROFILES, |place, profile, _| {
        let places = "/proc/sys /proc/keys /run /tmp /dev /home /sys/devices/system/cpu /usr";
        let count = "grep -c . /proc/self/mountinfo";
        // What is bound over is in the way of nothing that follows.
        let text = format!(
            "for p in {places}; do umount $p && echo gone $p; umount -l $p && echo gone $p; \
             mount -o remount,bind,rw $p && echo written $p; mount --bind $p $p && echo bound $p; done 2>/dev/null; {count}"
        );
        let (before, after) = (place.run(profile, count), place.run(profile, &text));
        assert_eq!(after, before, "{profile}");
    });
    each(&["open"], |place, _, _| {
        let text = "unshare -Urm sh -c 'for p in /proc/sys /run /etc; do umount $p && echo gone; mount -o remount,bind,rw $p && echo written; done; \
                    mount --bind / /tmp && echo bound; mount --rbind / /tmp && umount /tmp/run && echo gone'";
        let said = place.run("open", text);
        assert!(!said.lines().any(|line| ["gone", "written", "bound"].contains(&line)), "{said}");
    });
}

fn a_sandbox_inside_mounts_its_own_proc_in_open() {
    each(&["open"], |place, _, _| {
        let text = "unshare -Urmpf --mount-proc sh -c 'echo $$; echo x > /proc/sys/kernel/core_pattern; echo x > /proc/sys/vm/drop_caches'";
        let said = place.run("open", text);
        assert!(said.starts_with("1\n") && said.matches("ermission denied").count() == 2, "{said}");
        if fs::exists("/usr/bin/bwrap").unwrap() {
            let text =
                "bwrap --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp --unshare-all sh -c 'echo $$ in a sandbox'";
            assert!(place.run("open", text).ends_with("in a sandbox"));
        } else {
            println!("  (no bubblewrap here)");
        }
    });
    each(&["work", "strict"], |place, profile, _| {
        let said = place.run(profile, "unshare -Ur echo made");
        assert!(!said.contains("made"), "{said}");
    });
}

fn the_first_process_cannot_be_looked_into() {
    each(&PROFILES, |place, profile, _| {
        let text = "cat /proc/1/environ; readlink /proc/1/root /proc/1/ns/mnt /proc/1/exe; ls /proc/1/map_files; \
                    for f in /proc/1/fd/*; do readlink $f; done; kill -9 1; kill -STOP 1; echo alive; ls /proc | grep -c '^[0-9]'";
        let said = place.run(profile, text);
        let allowed = |line: &str| {
            line.contains("ermission denied") || line == "alive" || line.parse::<u32>().is_ok_and(|n| n <= 5)
        };
        assert!(said.lines().all(allowed) && said.contains("alive"), "{profile}: {said}");
    });
}

fn no_descriptor_is_inherited() {
    each(&["work"], |place, _, _| {
        let shell = "exec 3< /etc 7< /etc/passwd; exec \"$@\"";
        let command = place.command("work", "echo /proc/self/fd/*; ls -l /proc/self/fd/3 /proc/self/fd/7");
        let mut wrapped = std::process::Command::new("sh");
        wrapped.args(["-c", shell, "sh"]).arg(command.get_program()).args(command.get_args());
        wrapped
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(place.path("work"));
        wrapped.stdin(Stdio::null());
        let said = said(&wrapped.output().unwrap());
        assert!(!said.contains("/etc"), "{said}");
    });
}

fn a_directory_as_a_standard_stream_is_refused() {
    each(&["open"], |place, profile, _| {
        let mut command = place.command(profile, "ls /proc/self/fd/0/home/.ssh");
        let output = command.stdin(fs::File::open(place.path("")).unwrap()).output().unwrap();
        assert!(said(&output).contains("stdin is a directory"), "{}", said(&output));
        let mut command = place.command(profile, "ls /proc/self/fd/1/home/.ssh");
        let output = command.stdout(fs::File::open(place.path("")).unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(REFUSED)));
    });
}

fn codes_and_signals_pass() {
    each(&["work"], |place, _, _| {
        for (text, code) in [("exit 7", 7), ("kill -9 $$", 137), ("exec /nosuch", 127)] {
            assert_eq!(place.command("work", text).output().unwrap().status.code(), Some(code), "{text}");
        }
        let text = "trap 'echo asked; exit 3' TERM; echo started; sleep 20 & wait";
        let mut child = place.command("work", text).stdout(Stdio::piped()).spawn().unwrap();
        read_line(&mut child);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
    });
}

fn everything_ends_with_run() {
    each(&["work"], |place, _, _| {
        let text = "setsid sh -c 'trap \"\" TERM HUP; sleep 20; echo x > survived' & echo started; wait";
        let mut child = place.command("work", text).stdout(Stdio::piped()).spawn().unwrap();
        read_line(&mut child);
        let all = below(child.id());
        assert!(all.len() >= 3, "{all:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        let mut waits = 0;
        while all.iter().any(|pid| fs::exists(format!("/proc/{pid}")).unwrap()) {
            waits += 1;
            assert!(waits < 500, "still there: {all:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

fn a_covered_proc_outside_is_named() {
    if !is_root() {
        return println!("not run: needs root");
    }
    let place = Place::new(Caller::Ordinary);
    let command = place.command("work", "id -u");
    let number = ORDINARY.to_string();
    let shell = "mount --bind /dev/null /proc/interrupts && exec setpriv --reuid $0 --regid $0 --clear-groups \"$@\"";
    let mut wrapped = std::process::Command::new("unshare");
    wrapped.args(["-m", "sh", "-c", shell, &number]).arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(place.path("work"));
    let output = wrapped.output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(REFUSED)));
    assert!(said(&output).contains("a fresh /proc is forbidden here"), "{}", said(&output));
}

fn read_line(child: &mut std::process::Child) {
    use std::io::BufRead as _;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "nothing was said");
}

/// Every process below one.
fn below(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let path = format!("/proc/{0}/task/{0}/children", found[next]);
        let children = fs::read_to_string(path).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        next += 1;
    }
    found.remove(0);
    found
}
