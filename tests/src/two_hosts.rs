//! Two hosts, made of network namespaces: each has a loopback interface and one address, and between them lies a wire
//! that loses, delays and cuts as told (`tests/two-hosts/link.py`), as not every kernel has netem. Nothing outside sees
//! any of it.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Where the issuer is reached.
pub const ISSUER: &str = "10.77.0.1";

/// Two namespaces and the wire; all go when it is dropped.
pub struct TwoHosts {
    prefix: String,
    link: Option<Child>,
    said: Option<BufReader<ChildStdout>>,
}

/// What the wire does.
#[derive(Debug, Clone, Copy)]
pub enum Wire {
    /// It passes all.
    Whole,
    /// It passes nothing.
    Cut,
    /// It loses this share of the frames, in either direction.
    Lossy(f64),
    /// It passes so many bytes a second, so many seconds late.
    Slow(f64, f64),
}

impl TwoHosts {
    /// Whether this machine lets them be made; says so if it does not.
    pub fn can() -> bool {
        let can = Command::new("ip").arg("-V").output().is_ok_and(|output| output.status.success());
        if !can {
            println!("not run: needs ip");
        }
        crate::needs_root() && can
    }

    /// Makes them.
    pub fn make() -> io::Result<Self> {
        // One process makes several; interfaces have short names, but each is in a namespace of its own.
        static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut made = Self { prefix: format!("avouch-{}-{number}", std::process::id()), link: None, said: None };
        for host in HOSTS {
            run("ip", &["netns", "add", &made.name(host)])?;
        }
        for (host, address) in [("issuer", ISSUER), ("helper", "10.77.0.2")] {
            let (own, wire) = (made.name(host), made.name("wire"));
            run("ip", &["link", "add", "eth0", "netns", &own, "type", "veth", "peer", "name", host, "netns", &wire])?;
            run("ip", &["-n", &own, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
            for (namespace, interface) in [(&own, "lo"), (&own, "eth0"), (&wire, host)] {
                run("ip", &["-n", namespace, "link", "set", interface, "up"])?;
            }
            run("ip", &["netns", "exec", &own, "python3", "-c", WHOLE_FRAMES, "eth0"])?;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/two-hosts/link.py");
        let mut link = Command::new("ip")
            .args(["netns", "exec", &made.name("wire"), "python3", script, "issuer", "helper"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        made.said = link.stdout.take().map(BufReader::new);
        made.link = Some(link);
        made.hear()?;
        Ok(made)
    }

    /// Changes the wire; done when it is so.
    pub fn wire(&mut self, wire: Wire) -> io::Result<()> {
        let line = match wire {
            Wire::Whole => "whole\n".to_owned(),
            Wire::Cut => "cut\n".to_owned(),
            Wire::Lossy(share) => format!("loss {share}\n"),
            Wire::Slow(rate, delay) => format!("slow {rate} {delay}\n"),
        };
        let stdin = self.link.as_mut().and_then(|link| link.stdin.as_mut());
        stdin.ok_or_else(|| io::Error::other("no wire"))?.write_all(line.as_bytes())?;
        self.hear()
    }

    fn hear(&mut self) -> io::Result<()> {
        let mut line = String::new();
        let said = self.said.as_mut().ok_or_else(|| io::Error::other("no wire"))?;
        if said.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the wire has ended"));
        }
        println!("wire: {}", line.trim_end());
        Ok(())
    }

    /// The file of a host's network namespace.
    pub fn namespace(&self, host: &str) -> PathBuf {
        PathBuf::from("/run/netns").join(self.name(host))
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }
}

impl Drop for TwoHosts {
    fn drop(&mut self) {
        if let Some(mut link) = self.link.take() {
            link.kill().ok();
            link.wait().ok();
        }
        for host in HOSTS {
            if fs::exists(self.namespace(host)).unwrap_or_default() {
                run("ip", &["netns", "delete", &self.name(host)]).ok();
            }
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("{program} {}: {said}", arguments.join(" "))));
    }
    Ok(())
}

const HOSTS: [&str; 3] = ["issuer", "helper", "wire"];

/// Switches off what an interface leaves to a card: checksums (ETHTOOL_STXCSUM), and cutting into frames (STSO, SGSO).
/// There is no card here, and the wire is no kernel's.
const WHOLE_FRAMES: &str = r#"
import array, fcntl, socket, struct, sys
with socket.socket() as any:
    for command in (0x17, 0x1F, 0x24):
        value = array.array("B", struct.pack("II", command, 0))
        request = struct.pack("16sP16x", sys.argv[1].encode(), value.buffer_info()[0])
        fcntl.ioctl(any, 0x8946, request)  # SIOCETHTOOL
"#;
