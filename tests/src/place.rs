//! A place as a container gives it, made of plain namespaces: no network but a loopback interface, a process tree of its
//! own, the system's programs, and one directory of this machine beside them: that of the helper's sockets.

use crate::Installation;
use crate::installation::program;
use std::io;
use std::process::{Command, Stdio};

/// What of `/proc` the place has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proc {
    /// One of its own, whole.
    Whole,
    /// One of its own with parts of it covered, as container engines do: no other can be mounted in there.
    Covered,
}

/// A command in a place that sees the sockets of this installation, not yet started. `avouch` is on its path.
pub fn in_place(made: &Installation, proc: Proc, command: &[&str]) -> io::Result<Command> {
    let root = made.path("place");
    std::fs::create_dir_all(&root)?;
    let mut place = Command::new("unshare");
    place
        .args(["--user", "--map-root-user", "--net", "--mount", "--ipc", "--uts", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "bash", "-euc", SET_UP, "place"])
        .arg(&root)
        .arg(made.path("run"))
        .arg(program())
        .arg(if proc == Proc::Covered { "/proc/sys" } else { "" })
        .args(command)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/sbin:/usr/sbin")
        .env("HOME", "/tmp")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(place)
}

/// Builds the root of the place, and becomes the command in it. The loopback interface is set up with Python, as not
/// every machine has `ip`.
const SET_UP: &str = r#"
root=$1 sockets=$2 program=$3 covered=$4
shift 4
mount -t tmpfs place "$root"
cd "$root"
mkdir -p proc dev tmp old usr/bin ".$sockets"
for part in /bin /sbin /lib /lib32 /lib64 /usr /etc; do
    if [ -L "$part" ]; then
        cp -a "$part" ".$part"
    elif [ -d "$part" ]; then
        mkdir -p ".$part"
        mount --rbind "$part" ".$part"
    fi
done
for device in null zero urandom; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
: >avouch
mount --bind "$program" avouch
mount --bind "$sockets" ".$sockets"
mount -t proc proc proc
pivot_root . old
umount -l /old
PATH=/usr/sbin:/sbin:$PATH
if [ -n "$covered" ]; then
    mount -t tmpfs none "$covered"
fi
python3 -c '
import fcntl, socket, struct
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
'
exec "$@"
"#;
