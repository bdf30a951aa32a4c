"""The outside: everything that an attempt aims at, made by the caller himself and watched.

    outside.py BASE CANARY MASKED    prints what is where as one JSON line, then each word that something heard

A line `place NAME` on stdin makes a work directory with all that lies in it, and is answered by its own facts. The end
of stdin takes everything away. Whatever this host cannot have is left out, and is then no control.
"""

import ctypes
import json
import os
import pty
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

from common import LIBC, call

BASE, CANARY, MASKED = sys.argv[1:4]
HOME = os.path.join(BASE, "home")
UNIQUE = os.path.basename(BASE)
XDG = os.environ.get("XDG_RUNTIME_DIR", "")
SAYING = threading.Lock()
CHILDREN, REMOVED, UNDONE = [], [], []


def say(word):
    with SAYING:
        sys.stdout.write(word + "\n")
        sys.stdout.flush()


def hear(text):
    say("heard " + text.decode(errors="replace").replace("\n", " "))


def serve(listener):
    """Hears the first word of each connection and hangs up."""
    def one(stream):
        with stream:
            stream.settimeout(60)
            try:
                hear(stream.recv(4096))
            except OSError:
                pass

    def accept():
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=one, args=(stream,), daemon=True).start()
    listener.listen(64)
    threading.Thread(target=accept, daemon=True).start()


def datagrams(listener):
    def receive():
        while True:
            hear(listener.recv(4096))
    threading.Thread(target=receive, daemon=True).start()


def tcp(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.bind((host, 0))
    serve(listener)
    return list(listener.getsockname()[:2])


def udp(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_DGRAM)
    listener.bind((host, 0))
    datagrams(listener)
    return list(listener.getsockname()[:2])


def unix(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    REMOVED.append(path)
    serve(listener)
    return path


def x11_folder():
    """Where X servers listen, as they make it themselves."""
    path = "/tmp/.X11-unix"
    if not os.path.isdir(path):
        os.mkdir(path)
        os.chmod(path, 0o1777)
        UNDONE.append(lambda: os.rmdir(path))
    return path


def abstract(name):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + name)
    serve(listener)
    return name


def own_address(family, beyond):
    """This host's address towards somewhere else; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((beyond, 9))
        return probe.getsockname()[0]


def beacon():
    """Says the value on loopback over and over, for whoever listens on the wire."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.bind(("127.0.0.1", 0))

    def send():
        while True:
            sender.sendto(CANARY.encode(), target.getsockname())
            target.recv(64)
            time.sleep(0.05)
    threading.Thread(target=send, daemon=True).start()


def file(path, text, mode=0o600):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)
    os.chmod(path, mode)
    REMOVED.append(path)
    return path


def start(command, **options):
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             start_new_session=True, **options)
    CHILDREN.append(child)
    return child.pid


def decoy(folder):
    """A process of the caller's with the value in its environment, which leaves a core file in its folder."""
    script = "import resource,time\nresource.setrlimit(resource.RLIMIT_CORE,(-1,-1))\ntime.sleep(900)"
    environment = {**os.environ, "ESCAPE_API_KEY": CANARY}
    return start(["/usr/bin/python3", "-c", script], env=environment, cwd=folder)


def sleeper():
    return start(["sleep", "900"])


def key():
    """A key in the user's keyring that whoever has the uid may read by its number."""
    name = f"avouch-{UNIQUE}"
    value = CANARY.encode()
    serial = call("add_key", ctypes.c_char_p(b"user"), ctypes.c_char_p(name.encode()), ctypes.c_char_p(value), len(value), -4)
    call("keyctl", 5, serial, 0x3F3F0000)
    UNDONE.append(lambda: call("keyctl", 9, serial, -4))
    return serial, name


def segment():
    number = LIBC.shmget(0, 4096, 0o1600)
    LIBC.shmat.restype = ctypes.c_void_p
    at = LIBC.shmat(number, None, 0)
    ctypes.memmove(at, CANARY.encode(), len(CANARY))
    UNDONE.append(lambda: LIBC.shmctl(number, 0, None))
    return number


def queue():
    name = UNIQUE
    handle = call("mq_open", ctypes.c_char_p(name.encode()), os.O_CREAT | os.O_RDWR, 0o600, None)
    os.close(handle)
    UNDONE.append(lambda: LIBC.mq_unlink(("/" + name).encode()))
    return name


def handle_of(path):
    buffer = ctypes.create_string_buffer((128).to_bytes(4, "little") + bytes(132))
    mount = ctypes.c_int()
    call("name_to_handle_at", -100, ctypes.c_char_p(path.encode()), buffer, ctypes.byref(mount), 0)
    size = int.from_bytes(buffer.raw[:4], "little")
    return int.from_bytes(buffer.raw[4:8], "little", signed=True), buffer.raw[8:8 + size].hex()


def disk():
    number = os.stat(BASE).st_dev
    name = os.path.basename(os.readlink(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"))
    return [os.major(number), os.minor(number)], f"/dev/{name}"


def ssh_agent():
    path = f"{HOME}/.ssh/agent.sock"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    start(["ssh-agent", "-D", "-a", path])
    wait_for(path)
    # The value is the key's comment, which the agent tells to whoever asks.
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", CANARY, "-f", f"{HOME}/.ssh/id"], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["ssh-add", "-q", f"{HOME}/.ssh/id"], env={**os.environ, "SSH_AUTH_SOCK": path}, check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def gpg_agent():
    folder = f"{HOME}/.gnupg"
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o700)
    environment = {**os.environ, "GNUPGHOME": folder}
    subprocess.run(["gpg-agent", "--homedir", folder, "--daemon"], env=environment, check=True, timeout=10,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    UNDONE.append(lambda: subprocess.run(["gpgconf", "--homedir", folder, "--kill", "gpg-agent"], check=False,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    said = subprocess.run(["gpgconf", "--homedir", folder, "--list-dirs", "agent-socket"], check=True,
                          capture_output=True, timeout=10)
    path = said.stdout.decode().strip()
    wait_for(path)
    return path


def dbus(address, path):
    start(["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}"])
    if path:
        wait_for(path)
    return path


def wait_for(path):
    for _ in range(250):
        if os.path.exists(path):
            return
        time.sleep(0.02)
    raise FileNotFoundError(2, path)


def vsock():
    listener = socket.socket(socket.AF_VSOCK)
    listener.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
    port = listener.getsockname()[1]
    serve(listener)
    with socket.socket(socket.AF_VSOCK) as probe:
        probe.settimeout(0.5)
        probe.connect((1, port))
    return port


def terminal():
    """A terminal at which nobody sits; what is typed on it is heard."""
    master, slave = pty.openpty()

    def listen():
        while True:
            hear(os.read(slave, 4096))
    threading.Thread(target=listen, daemon=True).start()
    CHILDREN.append(master)
    return os.ttyname(slave)


def compiled(source, target, *flags):
    subprocess.run(["cc", "-O1", *flags, "-o", target, source], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return target


def name_servers():
    with open("/etc/resolv.conf", encoding="utf-8") as settings:
        return [line.split()[1] for line in settings if line.startswith("nameserver") and "%" not in line]


FACTS, MISSING = {}, {}


def fact(name, make, *arguments):
    try:
        FACTS[name] = make(*arguments)
    except (OSError, subprocess.SubprocessError, AttributeError, ValueError) as error:
        MISSING[name] = str(error)[:120]


def facts():
    fact("masked", file, MASKED, CANARY + "\n")
    fact("home_secret", file, f"{HOME}/.secrets/token", CANARY + "\n")
    fact("home_socket", unix, f"{HOME}/.local/s.sock")
    for name, host in (("loop4", "127.0.0.1"), ("loop4b", "127.0.0.2"), ("loop6", "::1")):
        fact(name, tcp, host)
    fact("loop_mapped", lambda: ["::ffff:127.0.0.1", FACTS["loop4"][1]])
    fact("loop_any", lambda: ["0.0.0.0", FACTS["loop4"][1]])
    fact("loop_udp4", udp, "127.0.0.1")
    fact("loop_udp6", udp, "::1")
    fact("host4", lambda: own_address(socket.AF_INET, "198.51.100.1"))
    fact("host6", lambda: own_address(socket.AF_INET6, "2001:db8::1"))
    for name, make, host in (("tcp4", tcp, "host4"), ("udp4", udp, "host4"), ("tcp6", tcp, "host6"), ("udp6", udp, "host6")):
        if host in FACTS:
            fact(name, make, FACTS[host])
    fact("abstract", abstract, f"avouch-{UNIQUE}")
    display = 100 + os.getpid() % 800
    fact("x11_folder", x11_folder)
    fact("x11", unix, f"/tmp/.X11-unix/X{display}")
    fact("x11_abstract", abstract, f"/tmp/.X11-unix/X{display}")
    fact("tmp_socket", unix, f"/tmp/{UNIQUE}.sock")
    fact("run_socket", unix, f"/run/{UNIQUE}.sock")
    fact("shm_socket", unix, f"/dev/shm/{UNIQUE}.sock")
    if XDG:
        fact("docker", unix, f"{XDG}/{UNIQUE}-docker.sock")
        fact("xdg_secret", file, f"{XDG}/{UNIQUE}-secret", CANARY)
        fact("dbus", lambda: dbus(f"unix:path={XDG}/{UNIQUE}-bus", f"{XDG}/{UNIQUE}-bus"))
    fact("dbus_abstract", lambda: dbus(f"unix:abstract=/tmp/dbus-{UNIQUE}", "") or f"\0/tmp/dbus-{UNIQUE}")
    fact("system_bus", lambda: os.stat("/run/dbus/system_bus_socket") and "/run/dbus/system_bus_socket")
    fact("ssh_agent", ssh_agent)
    fact("gpg_agent", gpg_agent)
    fact("vsock_port", vsock)
    fact("name_servers", name_servers)
    FACTS["public_name"] = "static.rust-lang.org"
    fact("tmp_secret", file, f"/tmp/{UNIQUE}-secret", CANARY)
    fact("var_tmp_secret", file, f"/var/tmp/{UNIQUE}-secret", CANARY)
    fact("shm_secret", file, f"/dev/shm/{UNIQUE}-secret", CANARY)
    fact("run_secret", file, f"/run/{UNIQUE}-secret", CANARY)
    fact("decoy", decoy, HOME)
    fact("apart", lambda: start(["unshare", "--user", "sleep", "900"]))
    for name in ("kill", "group", "pidfd", "owner", "everything"):
        fact(f"for_{name}", sleeper)
    fact("pair", key)
    FACTS["key"], FACTS["key_name"] = FACTS.pop("pair", (0, "")) 
    fact("segment", segment)
    fact("queue", queue)
    fact("handle", handle_of, MASKED)
    fact("pair", disk)
    FACTS["disk"], FACTS["disk_path"] = FACTS.pop("pair", (None, "/dev/sda"))
    fact("terminal", terminal)
    fact("xdg", lambda: XDG)
    # Where attempts leave something: files that start-up, tools or root read later.
    for name, path in LEFT.items():
        FACTS[name] = path
        REMOVED.append(path)
    file(f"{HOME}/.bashrc", "# a shell's start\n")
    file(f"{HOME}/other/.git/hooks/pre-commit", "#!/bin/sh\n", 0o755)
    beacon()


LEFT = {
    "bashrc": f"{HOME}/.bashrc",
    "profile": f"{HOME}/.profile",
    "authorized_keys": f"{HOME}/.ssh/authorized_keys",
    "gitconfig": f"{HOME}/.gitconfig",
    "autostart": f"{HOME}/.config/autostart/x.desktop",
    "user_unit": f"{HOME}/.config/systemd/user/x.service",
    "local_bin": f"{HOME}/.local/bin/ls",
    "npmrc": f"{HOME}/.npmrc",
    "hook": f"{HOME}/other/.git/hooks/pre-commit",
    "left_behind": f"{HOME}/left-behind",
    "crontab": f"/var/spool/cron/crontabs/{UNIQUE}",
    "etc": f"/etc/{UNIQUE}",
    "profile_d": f"/etc/profile.d/{UNIQUE}.sh",
    "usr_bin": f"/usr/local/bin/{UNIQUE}",
    "new_shm": f"/dev/shm/{UNIQUE}-left",
    "new_tmp": f"/tmp/{UNIQUE}-left",
    "new_var_tmp": f"/var/tmp/{UNIQUE}-left",
    "new_run": f"/run/{UNIQUE}-left",
    "new_xdg": f"{XDG}/{UNIQUE}-left",
    "parent": f"{HOME}/left-beside",
    "linked_dir": f"{HOME}/other/left-by-link",
}


def place(name):
    """A work directory: the attacker's program and libraries, and what was made before."""
    work = f"{HOME}/work-{name}"
    os.makedirs(work, exist_ok=True)
    source = os.path.dirname(os.path.abspath(__file__))
    for part in os.listdir(source):
        if part.endswith(".py"):
            shutil.copy(os.path.join(source, part), work)
    mine = {"place": name, "work": work, "outside": name == "outside"}
    for fact_name, make in (
        ("compat", lambda: compiled(f"{source}/compat.c", f"{work}/compat")),
        ("preload", lambda: compiled(f"{source}/preload.c", f"{work}/preload.so", "-shared", "-fPIC")),
        ("crasher", lambda: decoy(work)),
        ("work_socket", lambda: unix(f"{work}/s.sock")),
    ):
        try:
            mine[fact_name] = make()
        except (OSError, subprocess.SubprocessError) as error:
            MISSING[fact_name] = str(error)[:120]
    for kind in ("kill", "group", "pidfd", "owner", "everything"):
        mine[f"for_{kind}"] = sleeper()
    os.link(f"{BASE}/bin/avouch", f"{work}/avouch")
    mine["avouch"] = f"{work}/avouch"
    os.symlink(FACTS["home_secret"], f"{work}/link-before")
    os.symlink(f"{HOME}/other", f"{work}/folder-before")
    os.symlink(MASKED, f"{work}/masked-before")
    mine["masked_before"] = f"{work}/masked-before"
    mine["link_before"], mine["folder_before"] = f"{work}/link-before", f"{work}/folder-before/left-by-link"
    try:
        os.mknod(f"{work}/kmsg-made-before", stat.S_IFCHR | 0o666, os.makedev(1, 11))
        os.chmod(f"{work}/kmsg-made-before", 0o666)
    except OSError:
        pass
    return mine


def clear():
    for child in CHILDREN:
        if isinstance(child, subprocess.Popen):
            try:
                os.kill(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
    for path in REMOVED:
        try:
            os.unlink(path)
        except OSError:
            pass
    for undo in UNDONE:
        try:
            undo()
        except OSError:
            pass


def reap():
    """A decoy that has ended is gone, not a zombie that still answers to its number."""
    while True:
        for child in list(CHILDREN):
            if isinstance(child, subprocess.Popen):
                child.poll()
        time.sleep(0.05)


def main():
    try:
        facts()
        threading.Thread(target=reap, daemon=True).start()
        say(json.dumps({"facts": FACTS, "missing": MISSING}))
        for line in sys.stdin:
            say(json.dumps({"facts": place(line.split()[1]), "missing": MISSING}))
    finally:
        clear()


if __name__ == "__main__":
    main()
