"""Ways to somewhere else: addresses, names, listeners, other families of sockets."""

import os
import random
import socket
import struct
import time

from common import CLONE_NEWNET, attempt, found, new_user_namespace

PATIENCE = 0.7


@attempt
def tcp(facts, token, to):
    """A TCP connection that says a word."""
    with socket.create_connection(tuple(facts[to]), timeout=PATIENCE) as stream:
        stream.sendall(token.encode() + b"\n")
        stream.shutdown(socket.SHUT_WR)
        stream.recv(1)


@attempt
def udp(facts, token, to):
    """A datagram."""
    host, port = facts[to]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.settimeout(PATIENCE)
        sender.connect((host, port))
        sender.send(token.encode())
        # A refusal comes with the second.
        time.sleep(0.05)
        sender.send(token.encode())


def raw_datagram(to, token):
    """An IP packet made by hand."""
    host, port = to
    payload = token.encode()
    segment = struct.pack("!HHHH", 4321, port, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 7, 0, 64, socket.IPPROTO_UDP, 0,
                         socket.inet_aton(host), socket.inet_aton(host))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        sender.sendto(header + segment, (host, 0))


@attempt
def raw(facts, token, to):
    """A raw socket."""
    raw_datagram(facts[to], token)


@attempt
def raw_in_own_namespace(facts, token, to):
    """A raw socket in a network namespace of the attacker's own, where it is root; outside, no namespace is needed."""
    if not facts["outside"]:
        new_user_namespace(CLONE_NEWNET)
    raw_datagram(facts[to], token)


@attempt
def sniff(facts, token):
    """What passes on the wire: the outside sends a value to itself over and over."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as ear:
        ear.settimeout(0.3)
        until, got = time.monotonic() + 1.5, set()
        while time.monotonic() < until:
            got.add(found(ear.recv(65536)))
    return " ".join(got)


def question(name):
    """A DNS query for an address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", random.randrange(65536), 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


@attempt
def dns(facts, token):
    """Any answer at all from the name servers of the host."""
    last = OSError(2, "no name server is known")
    for server in facts["name_servers"]:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1.5)
            try:
                sender.connect((server, 53))
                sender.send(question("localhost.example.com"))
                return "answered" if sender.recv(512) else ""
            except OSError as error:
                last = error
    raise last


@attempt
def dns_to_loopback(facts, token):
    """A query that carries a word out to a resolver on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(PATIENCE)
        sender.connect(tuple(facts["loop_udp4"]))
        sender.send(question(f"{token}.example.com"))
        time.sleep(0.05)
        sender.send(question(f"{token}.example.com"))


@attempt
def resolve(facts, token):
    """The system's resolver: name servers, its daemons' sockets."""
    return repr(socket.getaddrinfo(facts["public_name"], 443)[0][4])


@attempt
def metadata(facts, token):
    """The cloud's metadata service, in both families."""
    last = None
    for host in ("169.254.169.254", "fd00:ec2::254"):
        try:
            with socket.create_connection((host, 80), timeout=PATIENCE) as stream:
                stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return f"answered {stream.recv(64)!r}"
        except OSError as error:
            last = error
    raise last


@attempt
def answer(facts, token, to, send):
    """A connection that is answered: somebody else's listener."""
    with socket.create_connection(tuple(facts[to]), timeout=PATIENCE) as stream:
        stream.settimeout(2)
        stream.sendall(bytes.fromhex(send) if send else b"GET http://nothing.test/ HTTP/1.1\r\nHost: nothing.test\r\n\r\n")
        return "answered" if stream.recv(64) else ""


@attempt
def unix(facts, token, to):
    """A Unix socket by its path."""
    say(facts[to], token)


@attempt
def abstract(facts, token, to):
    """A Unix socket by a name in no file system."""
    say("\0" + facts[to], token)


def say(address, token):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE)
        stream.connect(address)
        stream.sendall(token.encode() + b"\n")
        stream.shutdown(socket.SHUT_WR)
        stream.recv(1)


def dialogue(address, *words):
    """What a server on a Unix socket says to some words."""
    heard = b""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE)
        stream.connect(address)
        for word in words:
            stream.sendall(word)
            try:
                heard += stream.recv(65536)
            except TimeoutError:
                break
    return heard


@attempt
def dbus(facts, token, to):
    """A message bus: authenticates as whoever this is."""
    uid = str(os.getuid()).encode().hex().encode()
    heard = dialogue(facts[to], b"\0AUTH EXTERNAL " + uid + b"\r\n")
    return "let in" if heard.startswith(b"OK ") else heard.decode(errors="replace")


@attempt
def ssh_agent(facts, token):
    """The keys of an ssh-agent."""
    return found(dialogue(facts["ssh_agent"], b"\0\0\0\1\x0b"))


@attempt
def gpg_agent(facts, token):
    """A gpg-agent that answers."""
    heard = dialogue(facts["gpg_agent"], b"GETINFO version\n")
    return "answered" if heard.startswith(b"OK") else heard.decode(errors="replace")


@attempt
def vsock(facts, token):
    """The machine's own virtual sockets, which no network namespace divides."""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as stream:
        stream.settimeout(PATIENCE)
        stream.connect((1, facts["vsock_port"]))
        stream.sendall(token.encode() + b"\n")
        stream.shutdown(socket.SHUT_WR)
        stream.recv(1)


@attempt
def odd_family(facts, token, number):
    """A socket of a family that an agent has no use for."""
    socket.socket(number, socket.SOCK_SEQPACKET if number == 38 else socket.SOCK_STREAM).close()
    return "a socket"


@attempt
def through_proxy(facts, token, to, connect):
    """The session's own proxy as a way to what nothing binds. Outside it is what the proxy would have to dial."""
    host, port = facts[to]
    proxy = os.environ.get("HTTP_PROXY", "")
    if not proxy:
        return tcp(facts, token, to)
    via = proxy.removeprefix("http://").rstrip("/").rsplit(":", 1)
    with socket.create_connection((via[0], int(via[1])), timeout=2) as stream:
        stream.settimeout(3)
        if connect:
            stream.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        else:
            stream.sendall(f"GET http://{host}:{port}/{token} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        status = stream.recv(4096).split(b" ")[1:2]
        if connect and status == [b"200"]:
            stream.sendall(token.encode() + b"\n")
            stream.recv(1)
        raise PermissionError(13, f"the proxy said {status}")
