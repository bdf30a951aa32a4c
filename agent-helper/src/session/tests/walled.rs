//! Contained sessions, and what is only said to be one.

use super::*;
use avouch_words::Selector;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

/// The uid that the contained sessions of these tests run as.
pub fn uid() -> u32 {
    match rustix::process::geteuid().as_raw() {
        0 => 1001,
        own => own,
    }
}

/// Claims a contained session: `PROFILE`, or `PROFILE/LIE`.
pub fn claim(stream: &mut UnixStream, agent: &str, claim: &str, kept: &mut Vec<Child>) -> String {
    let (profile, lie) = claim.split_once('/').unwrap_or((claim, ""));
    let mut said =
        |listener: &TcpListener, init: OwnedFd| ask(stream, agent, Some(profile), &[listener.as_fd(), init.as_fd()]);
    let ours = || TcpListener::bind("127.0.0.1:0").unwrap();
    let pidfd = |pid: u32| pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty()).unwrap();
    match lie {
        "self" => said(&ours(), pidfd(std::process::id())),
        "parent" => said(&ours(), pidfd(rustix::process::getppid().unwrap().as_raw_nonzero().get() as u32)),
        "file" => said(&ours(), std::fs::File::open("/dev/null").unwrap().into()),
        "child" => {
            kept.push(Command::new("sleep").arg("97").spawn().unwrap());
            said(&ours(), pidfd(kept.last().unwrap().id()))
        }
        "ended" => {
            let mut child = Command::new("sleep").arg("97").spawn().unwrap();
            let late = pidfd(child.id());
            let _ = (child.kill(), child.wait());
            said(&ours(), late)
        }
        "listener" => {
            let First { child, init, .. } = first_process("");
            kept.push(child);
            said(&ours(), init)
        }
        "foreign" => {
            let (own, other) = (first_process(""), first_process(""));
            kept.extend([own.child, other.child]);
            said(&other.listener, own.init)
        }
        _ => {
            let First { mut child, listener, init, mut stream } = first_process(lie);
            let mut said = said(&listener, init);
            if lie == "asks" {
                child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
                said.push_str(" and inside ");
                stream.read_to_string(&mut said).unwrap();
            }
            kept.push(child);
            said
        }
    }
}

/// What is pid 1 of a session, or would be.
struct First {
    child: Child,
    listener: TcpListener,
    init: OwnedFd,
    stream: UnixStream,
}

/// Starts it, but for one thing that it lacks.
fn first_process(lacks: &str) -> First {
    let place = tempfile::tempdir().unwrap();
    // Where programs are built may be closed to others.
    let program = place.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for open in [place.path(), &program] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let socket = place.path().join("init.sock");
    let waiting = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut words: Vec<String> = Vec::new();
    if rustix::process::geteuid().is_root() && lacks != "uid" {
        let id = uid().to_string();
        words.extend(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"].map(str::to_owned));
    }
    words.extend(["unshare", "--kill-child", "--fork"].map(str::to_owned));
    let namespaces = ["user", "pid", "net", "ipc", "mount"].into_iter().filter(|kind| *kind != lacks);
    words.extend(namespaces.map(|kind| format!("--{kind}")));
    if lacks == "route" {
        // A way out that needs no network card: loopback under another name.
        let way =
            "ip link set lo name out && ip link set out up && ip route add 10.0.0.0/8 dev out; exec \"$0\" \"$@\"";
        words.extend(["--map-root-user", "sh", "-c", way].map(str::to_owned));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(&program);
    command.args(["--exact", "session::tests::walled::in_the_place_of_init", "--nocapture", "--test-threads=1"]);
    command.env("TEST_INIT_SOCKET", &socket).env("TEST_INIT_LACKS", lacks);
    // What it would be asked in the place of `avouch run`.
    let ask = std::env::var_os("TEST_SESSION_SOCKET").unwrap();
    command.env("TEST_INIT_ASKS", ask).env_remove("TEST_SESSION_SOCKET");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let (stream, _) = waiting.accept().unwrap();
    let pid = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).unwrap().pid();
    let init = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let mut byte = [0];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let listener = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    First { child, listener: listener.unwrap().into(), init, stream }
}

/// Not a test of its own: the first process of a session, which gives its listener away.
#[test]
fn in_the_place_of_init() {
    let Ok(socket) = std::env::var("TEST_INIT_SOCKET") else { return };
    let lacks = std::env::var("TEST_INIT_LACKS").unwrap();
    let listener = listener();
    if lacks != "no_new_privs" && lacks != "seccomp" {
        // A filter that lets everything pass is a filter, too. It brings no_new_privs along.
        let all = seccompiler::SeccompAction::Allow;
        let one = seccompiler::SeccompAction::Errno(1);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = seccompiler::SeccompFilter::new(BTreeMap::new(), all, one, arch).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter_all_threads(&program).unwrap();
    }
    if lacks == "seccomp" {
        nix::sys::prctl::set_no_new_privs().unwrap();
    }
    let stream = UnixStream::connect(socket).unwrap();
    send(&stream, b"x", &[listener.as_fd()]);
    drop(listener);
    let _ = std::io::stdin().read(&mut [0]);
    if lacks == "asks" {
        // From behind the walls, as if the socket had been left where it can be reached.
        let mut to = UnixStream::connect(std::env::var("TEST_INIT_ASKS").unwrap()).unwrap();
        let hello = SessionHello { agent: "colleague".to_owned() };
        let Kind::Terms(terms) = exchange(&mut to, &hello.encode_to_vec(), &[]) else { panic!("no terms") };
        write!(&stream, "required {}; ", terms.contain_required).unwrap();
        for agent in ["colleague", "walled"] {
            let mut to = UnixStream::connect(std::env::var("TEST_INIT_ASKS").unwrap()).unwrap();
            let said = ask(&mut to, agent, None, &[super::walled::listener().as_fd()]);
            write!(&stream, "{said}; ").unwrap();
        }
        drop(stream);
        let _ = std::io::stdin().read(&mut [0]);
    }
}

/// Loopback has no address before it is up, which is no matter here.
fn listener() -> TcpListener {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let made = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_ip_freebind(&made, true).unwrap();
    bind(&made, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&made, 16).unwrap();
    made.into()
}

fn facts(caller: &Caller) -> Vec<&str> {
    caller.facts.iter().map(Selector::as_str).filter(|fact| !fact.starts_with("session:id:")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contained_session_has_the_facts_of_its_walls_and_of_weaker_ones() {
    let rig = rig();
    let opener = rustix::process::geteuid().as_raw();
    let mut runs = Vec::new();
    for (agent, profile, walls) in [
        ("colleague", "open", &["open"][..]),
        ("walled", "work", &["open", "work"]),
        ("strict", "strict", &["open", "strict", "work"]),
        ("inside", "work", &["open", "work"]),
        ("colleague", "my-own", &["my-own"]),
    ] {
        let mut run = rig.run(&format!("{agent}~{profile}"));
        let said = run.says().await;
        assert!(said.ends_with(" contained"), "{agent}: {said}");
        let (caller, _) = rig.proxy.0.lock().unwrap().last().unwrap().clone();
        assert!(caller.contained);
        let facts = facts(&caller);
        let contained: Vec<_> = facts.iter().filter_map(|fact| fact.strip_prefix("session:contained:")).collect();
        assert_eq!(contained, walls);
        for fact in [format!("session:uid:{opener}"), format!("unix:uid:{}", uid()), format!("session:agent:{agent}")] {
            assert!(facts.contains(&fact.as_str()), "{fact}: {facts:?}");
        }
        runs.push(run);
    }
    let events = rig.notes.0.lock().unwrap();
    assert!(
        matches!(&events[1], HelperEvent::SessionOpened { contained: Some(name), within: None, .. } if name.as_str() == "work")
    );
    drop(runs);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncontained_session_has_no_fact_of_walls_and_a_weaker_profile_not_the_stronger_one() {
    let rig = rig();
    for asked in ["walled", "walled~open", "strict~work", "walled~my-own"] {
        let said = rig.run(asked).says().await;
        assert!(said.starts_with("refused denied "), "{asked}: {said}");
    }
    let mut run = rig.run("colleague");
    assert!(run.says().await.starts_with("opened "));
    let (caller, _) = rig.proxy.0.lock().unwrap().last().unwrap().clone();
    assert!(!caller.contained);
    assert!(!facts(&caller).iter().any(|fact| fact.starts_with("session:contained:")));
}

#[tokio::test(flavor = "multi_thread")]
async fn walls_that_are_only_said_to_be_there_are_refused_each_with_its_code() {
    let rig = rig();
    let root = rustix::process::geteuid().is_root();
    for (lie, code) in [
        ("self", "init_not_below"),
        ("parent", "init_not_below"),
        ("file", "init_gone"),
        ("ended", "init_gone"),
        ("child", "init_not_first"),
        ("pid", "init_not_first"),
        ("net", "namespace_shared"),
        ("ipc", "namespace_shared"),
        ("mount", "namespace_shared"),
        ("seccomp", "no_seccomp"),
        ("no_new_privs", "no_seccomp"),
        ("listener", "listener_outside"),
        ("foreign", "listener_outside"),
        ("route", "network_open"),
        ("uid", "uid_refused"),
    ] {
        if lie == "uid" && !root {
            println!("not run: needs root");
            continue;
        }
        if lie == "route" && !["/sbin/ip", "/usr/sbin/ip", "/bin/ip"].iter().any(|ip| Path::new(ip).exists()) {
            println!("no way out can be made here: there is no ip");
            continue;
        }
        let said = rig.run(&format!("walled~work/{lie}")).says().await;
        assert!(said.starts_with(&format!("refused {code} ")), "{lie}: {said}");
    }
    let said = rig.run("walled~NO NAME").says().await;
    assert!(said.starts_with("refused bad_profile "), "{said}");
    assert!(rig.proxy.0.lock().unwrap().is_empty(), "none was served");
    assert!(rig.sessions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_behind_walls_stays_behind_them() {
    let rig = rig();
    let opener = std::fs::metadata(rig.directory.path()).unwrap().permissions();
    std::fs::set_permissions(rig.directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut run = rig.run("colleague~work/asks");
    let said = run.says().await;
    let (outer, inner) = said.split_once(" and inside ").unwrap();
    assert!(outer.ends_with(" contained"), "{said}");
    let answers: Vec<&str> = inner.split("; ").collect();
    assert_eq!(answers[0], "required true");
    assert!(answers[1].starts_with("refused nested_uncontained "), "{said}");
    assert!(answers[2].starts_with("refused inside_session "), "{said}");
    assert_eq!(rig.sessions.len(), 1);
    std::fs::set_permissions(rig.directory.path(), opener).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_descends_from_the_first_process_is_behind_the_walls() {
    let rig = rig();
    let mut run = rig.run("colleague~work");
    assert!(run.says().await.ends_with(" contained"));
    let beside: u32 = run.says().await.strip_prefix("below ").unwrap().parse().unwrap();
    let init = rig.sessions.open.read().unwrap().values().next().unwrap().init().unwrap().0.pid;
    let walls = |pid: i32| -> Vec<String> {
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let peer = unix::Peer::behind(pidfd).unwrap();
        let member = rig.sessions.place(&peer).unwrap().expect("in the session").member();
        member.walls.iter().map(ToString::to_string).collect()
    };
    assert_eq!(walls(init), ["work", "open"]);
    assert!(walls(run.child.id() as i32).is_empty(), "run itself stands outside");
    assert!(walls(beside as i32).is_empty(), "and so does what it started beside");
}
