//! A place as a container gives it, made of plain namespaces: no network but a loopback interface, a process tree of its
//! own, the system's programs, and one directory of this machine beside them: that of the helper's sockets.

use crate::Installation;
use crate::installation::program;
use rustix::process::{getegid, geteuid};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

/// What of `/proc` the place has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proc {
    /// One of its own, whole.
    Whole,
    /// One of its own with parts of it covered, as container engines do: no other can be mounted in there.
    Covered,
}

/// Who somebody in a place is to the helper: not root, whoever runs the tests.
pub fn user() -> u32 {
    match geteuid() {
        root if root.is_root() => OTHER,
        own => own.as_raw(),
    }
}

/// A command in a place that sees the sockets of this installation, not yet started. `/avouch` is the program.
pub fn in_place(made: &Installation, proc: Proc, command: &[&str]) -> io::Result<Command> {
    let root = made.path("place");
    fs::create_dir_all(&root)?;
    fs::set_permissions(made.path("run"), fs::Permissions::from_mode(0o755))?;
    let (uid, gid) = (user(), if geteuid().is_root() { OTHER } else { getegid().as_raw() });
    let mut place = Command::new("unshare");
    // Root builds it as container engines do; others need a user namespace for that, and one more to be themselves in.
    let become_user = match geteuid().is_root() {
        true => format!("setpriv --reuid {uid} --regid {gid} --clear-groups"),
        false => {
            place.args(["--user", "--map-root-user"]);
            format!("unshare --user --map-user={uid} --map-group={gid}")
        }
    };
    place
        .args(["--net", "--mount", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["bash", "-euc", SET_UP, "place"])
        .arg(&root)
        .arg(made.path("run"))
        .arg(program())
        .arg(if proc == Proc::Covered { "/proc/acpi" } else { "" })
        .arg(become_user)
        .args(command)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/sbin:/usr/sbin")
        .env("HOME", "/home")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(place)
}

/// Builds the root of the place, and becomes the command in it. The loopback interface is set up with Python, as not
/// every machine has `ip`.
const SET_UP: &str = r#"
root=$1 sockets=$2 program=$3 covered=$4 become=$5
shift 5
mount -t tmpfs place "$root"
cd "$root"
mkdir -p proc dev old tmp home work ".$sockets"
chmod 1777 tmp home work
for part in /bin /sbin /lib /lib32 /lib64 /usr /etc; do
    if [ -L "$part" ]; then
        ln -s "$(readlink "$part")" ".$part"
    elif [ -d "$part" ]; then
        mkdir -p ".$part"
        mount --rbind "$part" ".$part"
    fi
done
for device in null zero full random urandom tty; do
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
cd /work
exec $become "$@"
"#;

/// A uid that is not root's.
const OTHER: u32 = 10_001;
