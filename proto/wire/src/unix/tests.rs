use super::{Peer, Taken, Unattested, listen, roots};
use avouch_words::{Millis, Ulid};
use roots::{Roots, Unreadable};
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_stream::{Stream, StreamExt};

fn private() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// This test program again, as another process that runs [`as_a_child`].
fn child(role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "unix::tests::as_a_child", "--nocapture"]);
    command.env("WIRE_TEST_ROLE", role).env("WIRE_TEST_PATH", path).stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

/// Not a test of its own: what the other processes do.
#[test]
fn as_a_child() {
    let (Ok(role), Ok(path)) = (std::env::var("WIRE_TEST_ROLE"), std::env::var("WIRE_TEST_PATH")) else {
        return;
    };
    match role.as_str() {
        "connect" => {
            let _stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        "drop" => {
            let _stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            std::io::stdin().read_line(&mut String::new()).unwrap();
            nix::unistd::setuid(NOBODY.into()).unwrap();
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        "flood" => flood(Path::new(&path)),
        "namespace" => serve_in_a_namespace(Path::new(&path)),
        _ => unreachable!(),
    }
}

const NOBODY: u32 = 65534;

/// Another user, or another namespace, needs root.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not run: needs root");
    }
    root
}

async fn accept(incoming: &mut (impl Stream<Item = std::io::Result<super::Attested>> + Unpin)) -> super::Attested {
    tokio::time::timeout(Duration::from_secs(10), incoming.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn the_peer_is_the_process_that_connected_and_its_bytes_arrive() {
    let place = private();
    let path = place.path().join("a.sock");
    let mut incoming = std::pin::pin!(listen(&path, 0o600).unwrap().incoming());
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut served = accept(&mut incoming).await;
    let peer = served.peer().clone();
    assert_eq!(peer.pid(), std::process::id() as i32);
    assert_eq!(peer.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid(), rustix::process::getegid().as_raw());
    peer.recheck().unwrap();
    let mut read = [0; 5];
    served.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    served.write_all(b"back").await.unwrap();
    let mut read = [0; 4];
    client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"back");
    drop(client);
    assert_eq!(served.read(&mut [0; 1]).await.unwrap(), 0);
}

async fn connected_child(path: &Path) -> (Child, Peer) {
    let listener = listen(path, 0o600).unwrap();
    let child = child("connect", path).spawn().unwrap();
    let accepted = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await.unwrap();
    (child, accepted.peer)
}

#[tokio::test]
async fn the_end_of_the_peer_is_seen() {
    let place = private();
    let (mut child, peer) = connected_child(&place.path().join("a.sock")).await;
    assert_eq!(peer.pid(), child.id() as i32);
    peer.recheck().unwrap();
    let second = peer.clone();
    let watched = tokio::spawn(async move { tokio::join!(second.exited(), second.exited()) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!watched.is_finished());
    child.kill().unwrap();
    tokio::time::timeout(Duration::from_secs(5), watched).await.unwrap().unwrap();
    assert!(matches!(peer.recheck(), Err(Unattested::Exited)), "a zombie is not the peer");
    child.wait().unwrap();
    assert!(matches!(peer.recheck(), Err(Unattested::Exited)));
}

/// U05: the peer connected as root and then became somebody else.
#[tokio::test]
async fn a_peer_that_changed_its_user_is_refused() {
    if !is_root() {
        return;
    }
    let place = private();
    let path = place.path().join("a.sock");
    let listener = listen(&path, 0o600).unwrap();
    let mut child = child("drop", &path).spawn().unwrap();
    let peer = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await.unwrap().peer;
    assert_eq!(peer.uid(), 0);
    peer.recheck().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let changed = async {
        while peer.recheck().is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
    let refused = peer.recheck();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(refused, Err(Unattested::UidChanged)), "{refused:?}");
}

/// U07: whoever the server's PID namespace cannot see is nobody.
#[tokio::test]
async fn a_peer_outside_the_pid_namespace_is_refused() {
    if !is_root() {
        return;
    }
    let place = private();
    let inner = child("namespace", place.path());
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::piped());
    let mut server = command.stdout(Stdio::null()).spawn().unwrap();
    let path = place.path().join("a.sock");
    let connected = async {
        loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let mut outside = tokio::time::timeout(Duration::from_secs(10), connected).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(10), outside.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "closed without a word");
    std::fs::write(place.path().join("go"), "").unwrap();
    assert!(server.wait().unwrap().success(), "the server took its own neighbour, and nobody else");
}

/// Accepts nobody until it connects to itself.
fn serve_in_a_namespace(place: &Path) {
    let path = place.join("a.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = listen(&path, 0o600).unwrap();
        let go = async {
            while !place.join("go").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = go => {}
            _ = listener.accept() => panic!("an unseen process was accepted"),
        }
        let _neighbour = UnixStream::connect(&path).await.unwrap();
        let seen = tokio::time::timeout(Duration::from_secs(5), listener.accept()).await.unwrap();
        assert_eq!(seen.peer.pid(), std::process::id() as i32);
    });
}

/// U03, U04: another process got the descriptor and speaks in the connector's name.
#[tokio::test]
async fn bytes_of_another_process_end_the_connection() {
    let place = private();
    let path = place.path().join("a.sock");
    let mut incoming = std::pin::pin!(listen(&path, 0o600).unwrap().incoming());
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.write_all(b"ours").unwrap();
    let mut served = accept(&mut incoming).await;
    let mut read = [0; 64];
    assert_eq!(served.read(&mut read).await.unwrap(), 4);
    client.write_all(b"more").unwrap();
    let inherited = OwnedFd::from(client.try_clone().unwrap());
    let status = Command::new("sh").args(["-c", "printf theirs >&0"]).stdin(inherited).status().unwrap();
    assert!(status.success());
    assert_eq!(served.read(&mut read).await.unwrap(), 4, "what the peer wrote is not joined with what follows");
    let error = served.read(&mut read).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}

/// U16.
#[tokio::test]
async fn a_silent_connection_is_closed() {
    let place = private();
    let path = place.path().join("a.sock");
    let mut incoming = std::pin::pin!(listen(&path, 0o600).unwrap().incoming_within(Duration::from_millis(100)));
    let (_silent, mut speaking) =
        (UnixStream::connect(&path).await.unwrap(), UnixStream::connect(&path).await.unwrap());
    let (mut first, mut second) = (accept(&mut incoming).await, accept(&mut incoming).await);
    speaking.write_all(b"x").await.unwrap();
    assert_eq!(second.read(&mut [0; 8]).await.unwrap(), 1);
    let error = first.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let later = tokio::time::timeout(Duration::from_millis(200), second.read(&mut [0; 8])).await;
    assert!(later.is_err(), "who has spoken may be silent");
}

/// U13.
#[tokio::test]
async fn a_directory_that_others_can_write_to_is_refused() {
    let place = private();
    let inner = place.path().join("run");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("a.sock");
    for (mode, safe) in [(0o755, true), (0o700, true), (0o775, false), (0o757, false), (0o777, false), (0o1777, false)]
    {
        fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(listen(&path, 0o600).is_ok(), safe, "{mode:o}");
        let _ = fs::remove_file(&path);
    }
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
    for (mode, safe) in [(0o777, false), (0o1777, true)] {
        fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
        let bound = listen(&path, 0o600);
        assert_eq!(bound.is_ok(), safe, "above it {mode:o}");
    }
}

#[tokio::test]
async fn a_taken_path_is_refused_and_a_dead_socket_replaced() {
    let place = private();
    let path = place.path().join("a.sock");
    let first = listen(&path, 0o660).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    match listen(&path, 0o600) {
        Err(error @ Taken::Live { .. }) => {
            let us = format!("in use by process {}", std::process::id());
            assert!(error.to_string().contains(&us), "{error}");
        }
        _ => panic!("a live socket was replaced"),
    }
    drop(first);
    assert!(path.exists());
    drop(listen(&path, 0o666).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    let file = place.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert!(matches!(listen(&file, 0o600), Err(Taken::NotASocket(_))));
    let link = place.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(listen(&link, 0o600), Err(Taken::NotASocket(_))));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(matches!(listen(&place.path().join("x".repeat(200)), 0o600), Err(Taken::Io { .. })));
}

/// N07.
#[test]
fn the_accept_loop_survives_a_full_descriptor_table() {
    let place = private();
    let status = child("flood", place.path()).status().unwrap();
    assert!(status.success());
}

fn flood(place: &Path) {
    use nix::sys::resource::{Resource, setrlimit};
    let path = place.join("a.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = listen(&path, 0o600).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
        let mut clients = Vec::new();
        while let Ok(client) = std::os::unix::net::UnixStream::connect(&path) {
            clients.push(client);
        }
        assert!(clients.len() > 10);
        let starved = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
        assert!(starved.is_err(), "there is no descriptor to accept with");
        drop(clients);
        let _client = UnixStream::connect(&path).await.unwrap();
        let served = tokio::time::timeout(Duration::from_secs(2), listener.accept()).await.unwrap();
        assert_eq!(served.peer.pid(), std::process::id() as i32);
    });
}

fn session() -> Ulid {
    Ulid::new(Millis(1), [1; 10])
}

fn ourselves() -> Peer {
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    Peer::of(&one).unwrap()
}

/// U21.
#[tokio::test]
async fn a_session_holds_its_root_and_all_below() {
    let place = private();
    let list = place.path().join("roots");
    roots::create(&list).unwrap();
    roots::create(&list).unwrap();
    let us = ourselves();
    let (mut child, below) = connected_child(&place.path().join("a.sock")).await;
    assert!(!Roots::read(&list).unwrap().holds(&us).unwrap(), "no session, nobody in one");
    roots::write(&list, session(), &us).unwrap();
    let file = list.join(session().to_string());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let held = Roots::read(&list).unwrap();
    assert!(held.holds(&us).unwrap() && held.holds(&below).unwrap());
    roots::remove(&list, session()).unwrap();
    roots::remove(&list, session()).unwrap();
    roots::write(&list, session(), &below).unwrap();
    let held = Roots::read(&list).unwrap();
    assert!(held.holds(&below).unwrap());
    assert!(!held.holds(&us).unwrap(), "who is above is outside");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(held.holds(&below), Err(Unreadable::Ancestry(_))), "an ended peer cannot be placed");
    let after = fs::read_to_string(&file).unwrap();
    assert!(!Roots::read(&list).unwrap().holds(&us).unwrap(), "{after}");
    assert!(file.exists());
    roots::prune(&list).unwrap();
    assert!(!file.exists(), "what has ended goes");
    roots::write(&list, session(), &us).unwrap();
    roots::prune(&list).unwrap();
    assert!(Roots::read(&list).unwrap().holds(&us).unwrap(), "who is alive stays a root after a helper's restart");
}

fn dead(cgroup: &str) -> String {
    let namespace = super::proc::own_pid_namespace().unwrap();
    format!("{{{cgroup}\"pid\":1,\"pid_namespace\":{namespace},\"start\":1}}")
}

/// What cannot be looked at may be alive, as when descriptors have run out.
#[test]
fn a_root_of_which_nothing_can_be_told_is_not_taken_away() {
    let place = private();
    let file = place.path().join(session().to_string());
    fs::write(&file, dead(&format!("\"cgroup\":\"/{}\",", "x".repeat(300)))).unwrap();
    assert!(roots::prune(place.path()).is_err());
    assert!(file.exists());
    fs::write(&file, dead("\"cgroup\":\"/nowhere\",")).unwrap();
    roots::prune(place.path()).unwrap();
    assert!(!file.exists());
}

#[test]
fn a_list_without_end_is_not_read_to_its_end() {
    let place = private();
    for nth in 0..=4096_u64 {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&nth.to_be_bytes());
        fs::write(place.path().join(Ulid::new(Millis(1), random).to_string()), dead("")).unwrap();
    }
    assert!(matches!(Roots::read(place.path()), Err(Unreadable::Malformed(_))));
    roots::prune(place.path()).unwrap();
    assert!(Roots::read(place.path()).is_ok());
}

#[test]
fn a_root_of_another_start_time_is_another_process() {
    let place = private();
    let us = ourselves();
    roots::write(place.path(), session(), &us).unwrap();
    assert!(Roots::read(place.path()).unwrap().holds(&us).unwrap());
    let file = place.path().join(session().to_string());
    let text = fs::read_to_string(&file).unwrap();
    let start = format!("\"start\":{}", us.start_time());
    assert!(text.contains(&start));
    fs::write(&file, text.replace(&start, "\"start\":1")).unwrap();
    assert!(!Roots::read(place.path()).unwrap().holds(&us).unwrap());
}

#[test]
fn a_cgroup_of_the_sessions_own_holds_orphans() {
    let place = private();
    let us = ourselves();
    let Some(own) = super::proc::cgroup(us.pid()).unwrap() else {
        return;
    };
    let namespace = super::proc::own_pid_namespace().unwrap();
    let with = |group: &str| {
        let dead = format!("{{\"cgroup\":\"{group}\",\"pid\":1,\"pid_namespace\":{namespace},\"start\":1}}");
        fs::write(place.path().join(session().to_string()), dead).unwrap();
        Roots::read(place.path()).unwrap().holds(&us).unwrap()
    };
    assert!(with(&own));
    assert!(!with(&format!("{own}x")), "a name that only begins the same");
    assert!(!with(&format!("{own}/below")));
}

#[test]
fn a_list_that_cannot_be_trusted_refuses() {
    let place = private();
    let list = place.path().join("roots");
    assert!(matches!(Roots::read(&list), Err(Unreadable::Io { .. })), "none is not an empty one");
    roots::create(&list).unwrap();
    assert!(Roots::read(&list).is_ok());
    let file = list.join(session().to_string());
    let cases = [
        "",
        "{",
        "[]",
        "{}",
        "{\"pid\":1,\"start\":1}",
        "{\"pid\":0,\"pid_namespace\":1,\"start\":1}",
        "{\"pid\":1,\"pid_namespace\":1,\"start\":1,\"more\":1}",
        "{\"pid\":\"1\",\"pid_namespace\":1,\"start\":1}",
    ];
    for text in cases {
        fs::write(&file, text).unwrap();
        assert!(matches!(Roots::read(&list), Err(Unreadable::Malformed(_))), "{text}");
    }
    fs::write(&file, "{\"pid\":1,\"pid_namespace\":1,\"start\":1}").unwrap();
    assert!(matches!(Roots::read(&list), Err(Unreadable::OtherNamespace(_))));
    fs::remove_file(&file).unwrap();
    symlink("/nowhere", &file).unwrap();
    assert!(matches!(Roots::read(&list), Err(Unreadable::Malformed(_))), "a link leads anywhere");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(Roots::read(&list), Err(Unreadable::Malformed(_))), "nobody is waited for");
    roots::prune(&list).unwrap();
    assert!(!file.exists());
    fs::create_dir(&file).unwrap();
    assert!(matches!(Roots::read(&list), Err(Unreadable::Malformed(_))));
    fs::remove_dir(&file).unwrap();
    fs::write(list.join("not-a-session"), "").unwrap();
    assert!(matches!(Roots::read(&list), Err(Unreadable::Malformed(_))));
    fs::remove_file(list.join("not-a-session")).unwrap();
    fs::set_permissions(&list, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Roots::read(&list), Err(Unreadable::Unsafe(_))));
}
