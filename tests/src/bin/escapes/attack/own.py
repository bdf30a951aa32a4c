"""avouch's own: its sockets, its keys, its verbs; and what a careless caller leaves open."""

import array
import os
import socket
import subprocess

from common import attempt, call, found, read

FOLDER, LISTENER, NAMESPACE, ADMIN, SECRET, BEFORE = 20, 21, 22, 23, 24, 25


def launch(facts, command):
    """Opens what a careless caller leaves open, and becomes the command."""
    def at(number, handle):
        os.dup2(handle, number, inheritable=True)
        os.close(handle)
    at(FOLDER, os.open(os.path.dirname(facts["home_secret"]), os.O_RDONLY))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    at(LISTENER, listener.detach())
    at(NAMESPACE, os.open("/proc/self/ns/net", os.O_RDONLY))
    for number, name in ((ADMIN, "admin_socket"), (BEFORE, "home_socket")):
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(facts[name])
        at(number, stream.detach())
    at(SECRET, os.open(facts["home_secret"], os.O_RDWR))
    os.execvp(command[0], command)


@attempt
def inherited(facts, token, what):
    """Uses a descriptor that was open when the session was made, if it is still there."""
    if what == "folder":
        return found(os.read(os.open(os.path.basename(facts["home_secret"]), os.O_RDONLY, dir_fd=FOLDER), 4096))
    if what == "secret":
        return found(os.pread(SECRET, 4096, 0))
    if what == "namespace":
        call("setns", NAMESPACE, 0)
        with socket.create_connection(tuple(facts["loop4"]), timeout=1) as stream:
            stream.sendall(token.encode() + b"\n")
        return "joined"
    if what == "listener":
        stream = socket.socket(fileno=os.dup(LISTENER))
        return f"listens at {stream.getsockname()}"
    if what == "connection":
        stream = socket.socket(fileno=os.dup(BEFORE))
        stream.sendall(token.encode() + b"\n")
        stream.shutdown(socket.SHUT_WR)
        return "said"
    stream = socket.socket(fileno=os.dup(ADMIN))
    stream.settimeout(2)
    stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    return "answered" if stream.recv(9) else ""


@attempt
def anything_inherited(facts, token):
    """Any descriptor beyond the first three."""
    opened = []
    for name in os.listdir("/proc/self/fd"):
        try:
            at = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if int(name) >= FOLDER and not at.startswith("pipe:"):
            opened.append(f"{name}={at}")
    return " ".join(opened)


@attempt
def standard_descriptors(facts, token):
    """The outside's folders by way of the three that every program has."""
    path = facts["home_secret"].lstrip("/")
    for number in (0, 1, 2):
        try:
            return found(os.read(os.open("../" * 40 + path, os.O_RDONLY, dir_fd=number), 4096))
        except NotADirectoryError:
            continue
    raise NotADirectoryError(20, "no folder among them")


@attempt
def socket_of_avouch(facts, token, name):
    """Connects to a socket of avouch's that is not for agents."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(2)
        stream.connect(facts[name])
    return "connected"


@attempt
def listener_by_socket(facts, token):
    """Passes a descriptor of its own to the helper by its session socket, as `run` does, and asks to be another."""
    with socket.socket(socket.AF_UNIX) as stream, socket.socket() as listener:
        stream.settimeout(3)
        stream.connect(facts["session_socket"])
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        body = b"\x0a\x08intruder"
        stream.sendmsg([len(body).to_bytes(4, "big") + body],
                       [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))])
        return "answered" if stream.recv(64) else ""


@attempt
def verb(facts, token, words):
    """A verb of avouch's, on the helper's own folder."""
    filled = [word.format(**facts) for word in words]
    done = subprocess.run([facts["avouch"], "--runtime-dir", facts["runtime"], *filled], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=10, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode:
        raise PermissionError(1, said[:300])
    return said[:4000]


@attempt
def environment(facts, token):
    """What the caller's environment held."""
    return found("\n".join(f"{name}={value}" for name, value in os.environ.items()).encode()) or found(read("/proc/self/environ"))


@attempt
def pointers(facts, token):
    """The variables that lead to the user's services."""
    names = ("DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "DOCKER_HOST", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY",
             "GPG_AGENT_INFO", "XAUTHORITY", "KRB5CCNAME")
    return " ".join(name for name in names if name in os.environ)
