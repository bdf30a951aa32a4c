//! Sessions of real processes: this test program runs itself again in the place of `avouch run`, and in that of the
//! first process of a contained session.

mod nested;
mod walled;

use super::*;
use crate::attest::Attestor;
use crate::identity::IdentityKey;
use crate::identity::instance::Instances;
use crate::identity::jwt::JwtSvids;
use crate::limit::UidLimit;
use crate::state::NodeState;
use crate::testing::{Notes, TestAuthority, name};
use avouch_audit::record::HelperEvent;
use avouch_policy::Caller;
use avouch_wire::Message;
use avouch_wire::issuer as wire;
use avouch_wire::local::{Containment, OpenSession, SessionAnswer, SessionHello, session_answer::Kind};
use avouch_wire::unix;
use avouch_words::SystemClock;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// In the place of the proxy: keeps the listener open until the session ends.
#[derive(Default)]
struct Listening(Mutex<Vec<(Caller, CancellationToken)>>);

impl Serve for Listening {
    fn serve(
        &self,
        listener: TcpListener,
        caller: Caller,
        _: u32,
        ended: CancellationToken,
    ) -> std::io::Result<Served> {
        self.0.lock().unwrap().push((caller, ended.clone()));
        tokio::spawn(async move {
            ended.cancelled().await;
            drop(listener);
        });
        Ok(Served { anchor: "ANCHOR\n".to_owned(), system_roots: "SYSTEM\n".to_owned(), listener_alone: false })
    }
}

struct Rig {
    directory: tempfile::TempDir,
    sessions: Arc<Sessions>,
    proxy: Arc<Listening>,
    notes: Arc<Notes>,
    ended: mpsc::Receiver<IdentityKey>,
    stop: CancellationToken,
    _states: watch::Sender<Option<Arc<NodeState>>>,
}

fn rig() -> Rig {
    let clock: Arc<dyn avouch_words::Clock> = Arc::new(SystemClock);
    let directory = tempfile::tempdir().unwrap();
    let places = Places {
        workload_socket: directory.path().join("workload.sock"),
        roots: directory.path().join("roots"),
        sessions: directory.path().join("sessions"),
        hidden: Vec::new(),
    };
    unix::roots::create(&places.roots).unwrap();
    SessionFiles::prepare(&places.sessions).unwrap();
    let sessions = Arc::new(Sessions::default());
    let (notes, journal) = Notes::new();
    let (ended, receiver) = mpsc::channel(16);
    let proxy = Arc::new(Listening::default());
    let uid = rustix::process::geteuid().as_raw();
    let mut state = crate::state::tests::plain(1);
    state.agents[0].selectors = vec![format!("unix:uid:{uid}"), "session:agent:researcher".to_owned()];
    for (name, selectors) in [
        ("foreign", vec!["unix:uid:4294967294".to_owned()]),
        ("colleague", vec![format!("session:uid:{uid}")]),
        ("walled", vec![format!("session:uid:{uid}"), "session:contained:work".to_owned()]),
        ("strict", vec![format!("session:uid:{uid}"), "session:contained:strict".to_owned()]),
        ("inside", vec![format!("unix:uid:{}", walled::uid()), "session:contained:open".to_owned()]),
    ] {
        state.agents.push(wire::Agent { name: name.to_owned(), selectors, ..Default::default() });
    }
    state.agents.push(wire::Agent {
        name: "keyed".to_owned(),
        selectors: vec![format!("session:uid:{uid}")],
        ..Default::default()
    });
    for (at, (name, variable)) in [("github", "GITHUB_TOKEN"), ("one", "SHARED"), ("two", "SHARED")].iter().enumerate()
    {
        let binding = format!(
            r#"{{"to":"https://{name}.test","methods":["GET"],"paths":["/**"],"slot":"bearer","environment":{{"name":"{variable}"}}}}"#
        );
        state.credentials.push(wire::Credential {
            reference: String::new(),
            name: (*name).to_owned(),
            source: "sealed".to_owned(),
            binding: binding.into_bytes(),
        });
        state.grants.push(wire::Grant {
            id: format!("01K9ZQ3M6X5T8W4V2R7N1C0BD{at}"),
            agent: "keyed".to_owned(),
            credential: (*name).to_owned(),
        });
    }
    let authority = TestAuthority::new(clock.clone());
    let states = watch::Sender::new(Some(Arc::new(NodeState::read(state).unwrap())));
    let door = Door {
        sessions: sessions.clone(),
        attestor: Arc::new(Attestor::new(sessions.clone(), places.roots.clone())),
        states: states.subscribe(),
        jwt: Arc::new(JwtSvids::new(authority.clone(), clock.clone())),
        instances: Arc::new(Instances::default()),
        ended,
        limit: UidLimit::new(100, 100, clock.clone()),
        proxy: proxy.clone(),
        journal,
        clock,
        places,
        contain_required: false,
    };
    let listener = unix::listen(&directory.path().join("session.sock"), 0o666).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(Arc::new(door).run(listener, stop.clone()));
    Rig { directory, sessions, proxy, notes, ended: receiver, stop, _states: states }
}

impl Rig {
    /// Runs this program again in the place of `avouch run`, for each of these agents in turn.
    fn run(&self, agents: &str) -> Run {
        self.run_with(agents, None)
    }

    /// The same, with a script below it.
    fn run_with(&self, agents: &str, below: Option<&str>) -> Run {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "session::tests::in_the_place_of_run", "--nocapture", "--test-threads=1"])
            .env("TEST_SESSION_SOCKET", self.directory.path().join("session.sock"))
            .env("TEST_SESSION_AGENTS", agents)
            .envs(below.map(|script| ("TEST_SESSION_BELOW", script)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Run { child, said }
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        for _ in 0..400 {
            if what(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("did not happen within 4 s: {:?}", self.notes.codes());
    }

    fn files(&self, place: &str) -> usize {
        std::fs::read_dir(self.directory.path().join(place)).unwrap().count()
    }
}

struct Run {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

impl Run {
    /// The next line that begins with `said:`.
    async fn says(&mut self) -> String {
        tokio::task::block_in_place(|| {
            let mut line = String::new();
            while self.said.read_line(&mut line).unwrap() > 0 {
                if let Some((_, said)) = line.trim().split_once("said:") {
                    return said.to_owned();
                }
                line.clear();
            }
            panic!("it said nothing more");
        })
    }
}

/// Not a test of its own: what the others start.
#[test]
fn in_the_place_of_run() {
    let Ok(socket) = std::env::var("TEST_SESSION_SOCKET") else { return };
    let agents = std::env::var("TEST_SESSION_AGENTS").unwrap();
    // As `avouch run` is, so that orphans stay below it.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let mut open = Vec::new();
    let mut walls = Vec::new();
    for asked in agents.split(',') {
        let mut stream = UnixStream::connect(Path::new(&socket)).unwrap();
        let said = match asked.split_once('~') {
            None => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let said = ask(&mut stream, asked, None, &[listener.as_fd()]);
                open.push(listener);
                said
            }
            Some((agent, claim)) => walled::claim(&mut stream, agent, claim, &mut walls),
        };
        println!("said:{said}");
        // The session lives as long as this.
        std::mem::forget(stream);
    }
    let below = std::env::var("TEST_SESSION_BELOW").unwrap_or_else(|_| "exec sleep 97.0418".to_owned());
    let mut below = Command::new("sh").args(["-c", &below]).env_remove("TEST_SESSION_BELOW").spawn().unwrap();
    println!("said:below {}", below.id());
    let _ = std::io::stdin().read(&mut [0]);
    let _ = (below.kill(), below.wait());
    walls.iter_mut().for_each(|child| {
        let _ = (child.kill(), child.wait());
    });
}

/// Asks for a session as `avouch run` does; contained, as this profile.
fn ask(stream: &mut UnixStream, agent: &str, profile: Option<&str>, handed: &[BorrowedFd<'_>]) -> String {
    let hello = SessionHello { agent: agent.to_owned() };
    match exchange(stream, &hello.encode_to_vec(), &[]) {
        Kind::Terms(_) => {}
        Kind::Refused(refused) => return format!("refused {} {}", refused.code, refused.message),
        Kind::Opened(_) => panic!("opened without an opening"),
    }
    let contained = profile.map(|profile| Containment { profile: profile.to_owned() });
    let opening = OpenSession { agent: agent.to_owned(), contained };
    match exchange(stream, &opening.encode_to_vec(), handed) {
        Kind::Opened(opened) => {
            let contained = if opened.contained { " contained" } else { "" };
            let variables = opened.environment.iter().map(|variable| format!(" {}={}", variable.name, variable.value));
            let left_out = opened.ambiguous.iter().map(|variable| format!(" {}?", variable.name));
            format!("opened {}{contained}{}", opened.session, variables.chain(left_out).collect::<String>())
        }
        Kind::Refused(refused) => format!("refused {} {}", refused.code, refused.message),
        Kind::Terms(_) => panic!("terms twice"),
    }
}

fn exchange(stream: &mut UnixStream, body: &[u8], handed: &[BorrowedFd<'_>]) -> Kind {
    let frame = [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
    send(stream, &frame, handed);
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).unwrap();
    SessionAnswer::decode(&body[..]).unwrap().kind.unwrap()
}

fn send(stream: &UnixStream, bytes: &[u8], handed: &[BorrowedFd<'_>]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(handed.is_empty() || control.push(SendAncillaryMessage::ScmRights(handed)));
    sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_told_the_placeholders_of_its_own_agent() {
    let rig = rig();
    assert!(!rig.run("researcher").says().await.contains('='));
    let said = rig.run("keyed").says().await;
    assert!(said.starts_with("opened ") && said.ends_with(" GITHUB_TOKEN=avouch:github SHARED?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_loses_its_run_is_over_at_once_with_all_that_was_in_it() {
    let mut rig = rig();
    let mut run = rig.run("researcher");
    assert!(run.says().await.starts_with("opened "));
    let below: i32 = run.says().await.strip_prefix("below ").unwrap().parse().unwrap();
    let (caller, ended) = rig.proxy.0.lock().unwrap()[0].clone();
    assert_eq!(caller.agent, name("researcher"));
    assert_eq!((rig.sessions.len(), rig.files("sessions"), rig.files("roots")), (1, 1, 1));
    let roots = unix::roots::Roots::read(&rig.directory.path().join("roots"));
    assert!(roots.is_ok(), "the issuer can read the list");
    tokio::time::sleep(Duration::from_millis(700)).await;
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    tokio::time::timeout(Duration::from_secs(2), ended.cancelled()).await.expect("the listener ends");
    rig.until(|rig| rig.notes.codes() == ["session.opened", "session.closed"]).await;
    rig.until(|_| !is_running(below)).await;
    assert_eq!((rig.sessions.len(), rig.files("sessions"), rig.files("roots")), (0, 0, 0));
    assert_eq!(rig.ended.recv().await.unwrap().instance, caller.instance);
    let events = rig.notes.0.lock().unwrap();
    assert!(matches!(events[1], HelperEvent::SessionClosed { killed: 1, .. }), "{:?}", events[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_only_narrows_and_every_refusal_reads_the_same() {
    let rig = rig();
    let mut run = rig.run("foreign,nobody,Not A Name,researcher");
    let refused = run.says().await;
    assert!(refused.starts_with("refused denied "), "{refused}");
    assert_eq!(run.says().await, refused, "unknown and not allowed are one answer");
    assert_eq!(run.says().await, refused);
    assert!(run.says().await.starts_with("opened "), "what was refused left nothing behind");
    assert_eq!(rig.notes.codes(), ["session.refused", "session.refused", "session.refused", "session.opened"]);
    rig.stop.cancel();
    rig.until(|rig| rig.sessions.is_empty()).await;
    let _ = run.child.kill();
    run.child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_a_session_opens_no_other() {
    let rig = rig();
    let mut run = rig.run("researcher,researcher,foreign");
    assert!(run.says().await.starts_with("opened "));
    for _ in 0..2 {
        let said = run.says().await;
        assert!(said.starts_with("refused inside_session "), "{said}");
    }
    assert_eq!(rig.notes.codes(), ["session.opened", "session.refused", "session.refused"]);
    assert_eq!(rig.sessions.len(), 1);
    // An orderly end: it closes its connection, and there is nobody left to kill.
    run.says().await;
    run.child.stdin.take().unwrap().write_all(b"x").unwrap();
    run.child.wait().unwrap();
    rig.until(|rig| rig.notes.codes().last() == Some(&"session.closed")).await;
}
