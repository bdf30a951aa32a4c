//! What an agent tries that would rather not go by the broker: each way round it, and what came of it.

use super::order::{Report, Target};
use nix::sys::ptrace;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Tries each; a note says `worked`, or why it did not.
pub fn all(target: &Target) -> Report {
    let mut report = Report::default();
    let mut tried = |name: &str, came: io::Result<()>| {
        let note = came.map_or_else(|error| reason(&error), |()| WORKED.to_owned());
        report.notes.insert(name.to_owned(), note);
    };
    tried("the helper's seal key", std::fs::read(&target.key_file).map(drop));
    tried("the helper in /proc", seen(target));
    tried("ptrace of the helper", traced(target.helper));
    tried(
        "avouch grant create",
        verb(&target.issuer, &["grant", "create", "--agent", "intruder", "--credential", "tool-plain"]),
    );
    tried("avouch lock release", verb(&target.issuer, &["lock", "release", &target.lock]));
    tried("avouch run --agent intruder", verb(&target.sockets, &["run", "--agent", "intruder", "--", "true"]));
    tried("a way out of this host", route());
    tried("the tool on loopback, directly", direct(target.tool));
    tried("a name server", named());
    report
}

/// What a way is called that was open.
pub const WORKED: &str = "worked";
/// The ways, in the order in which they are told.
pub const WAYS: [&str; 9] = [
    "the helper's seal key",
    "the helper in /proc",
    "ptrace of the helper",
    "avouch grant create",
    "avouch lock release",
    "avouch run --agent intruder",
    "a way out of this host",
    "the tool on loopback, directly",
    "a name server",
];

/// Whether the process of that number is the helper, as its arguments tell.
fn seen(target: &Target) -> io::Result<()> {
    let arguments = std::fs::read(format!("/proc/{}/cmdline", target.helper))?;
    let place = target.key_file.ancestors().nth(2).unwrap_or(Path::new("/")).as_os_str().as_encoded_bytes();
    let found = !place.is_empty() && arguments.windows(place.len()).any(|window| window == place);
    if found { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotFound, "that number is another process")) }
}

/// Attaches to the helper as a debugger does, and lets it go at once.
fn traced(helper: i32) -> io::Result<()> {
    let helper = nix::unistd::Pid::from_raw(helper);
    // It is let go when the thread ends that has attached, and goes on all the while.
    let seized = std::thread::spawn(move || ptrace::seize(helper, ptrace::Options::empty())).join();
    Ok(seized.map_err(|_| io::Error::other("the thread was lost"))??)
}

/// A verb of avouch's own.
fn verb(sockets: &Path, words: &[&str]) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--runtime-dir").arg(sockets).args(words);
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("avouch: ")).unwrap_or("it ended without a word");
    let clause = line.split_once(": ").map_or(line, |(clause, _)| clause);
    Err(io::Error::other(clause.to_owned()))
}

/// Whether the kernel knows a way to a documentation address (RFC 5737); nothing is sent.
fn route() -> io::Result<()> {
    UdpSocket::bind(("0.0.0.0", 0))?.connect(("198.51.100.1", DISCARD))
}

/// Asks the tool past every proxy; any answer is one.
fn direct(tool: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&tool, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {tool}\r\nConnection: close\r\n\r\n").as_bytes())?;
    if stream.read(&mut [0])? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Asks the host's name servers for the root; any answer is one.
fn named() -> io::Result<()> {
    let settings = std::fs::read_to_string("/etc/resolv.conf")?;
    let servers = settings.lines().filter_map(|line| line.strip_prefix("nameserver")).map(str::trim);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "none is known");
    for server in servers.take(SERVERS_MAX) {
        match asked(server) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn asked(server: &str) -> io::Result<()> {
    let any = if server.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((server, DNS))?;
    // A query for the name servers of the root.
    socket.send(&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1])?;
    socket.recv(&mut [0; 512]).map(drop)
}

/// The kernel's own words, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    words.trim_end_matches('.').to_owned()
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// As many name servers as resolvers use.
const SERVERS_MAX: usize = 3;
const DNS: u16 = 53;
const DISCARD: u16 = 9;
