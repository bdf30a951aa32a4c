"""py-spiffe against avouch's Workload API: fetches, watches through rotations of SVIDs and authorities, validates
JWT-SVIDs, and holds mTLS with other clients while opening new handshakes all the time.

What it takes and prints is described in ../README.md. The TLS is pyOpenSSL's with the material of py-spiffe's source, a
context for each connection: what `spiffetls` keeps is changed in several steps while handshakes take place.
"""

import socket
import sys
import threading
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL, crypto
from spiffe import JwtSource, WorkloadApiClient, X509Source
from spiffe.errors import PySpiffeError

AUDIENCE = "interop.example.test"
PAUSE = 0.2
DEADLINE = 20


def main() -> None:
    meeting, name, seconds, count = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    with X509Source(timeout_in_seconds=60) as source:
        own = str(source.get_x509_context().default_svid.spiffe_id)
        say("id", own)
        say("jwt", validated())
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=serve, args=(source, listener), daemon=True).start()
        announce(meeting / f"{name}.port", str(listener.getsockname()[1]))
        wait(meeting, ".port", count)
        seen = Seen(source)
        peers = sorted(meeting.glob("*.port"))
        until = time.monotonic() + seconds
        held = [Held(source, own, peer, until) for peer in peers]
        handshakes = failed = turn = 0
        while time.monotonic() < until:
            peer = peers[turn % len(peers)]
            turn += 1
            try:
                connection = dial(source, peer)
                ask(connection, own)
                connection.close()
                handshakes += 1
            except (OSError, SSL.Error, ValueError) as error:
                print(f"handshake with {peer.name}: {error!r}", file=sys.stderr, flush=True)
                failed += 1
            time.sleep(PAUSE)
        for one in held:
            one.thread.join()
        say("jwt-later", validated())
        seen.say()
        say("handshakes", handshakes)
        say("failed", failed)
        say("held", sum(one.answers for one in held))
        say("held-failed", sum(one.failed for one in held))
        announce(meeting / f"{name}.done", "")
        wait(meeting, ".done", count)


def validated() -> str:
    """Fetches a JWT-SVID and has it validated."""
    with JwtSource(timeout_in_seconds=60) as tokens:
        token = tokens.fetch_svid(audience={AUDIENCE}).token
    with WorkloadApiClient() as client:
        try:
            client.validate_jwt_svid(token=token, audience="other.example.test")
        except PySpiffeError:
            say("foreign-audience", "refused")
        return str(client.validate_jwt_svid(token=token, audience=AUDIENCE).spiffe_id)


class Seen:
    """What the source has had, one after another."""

    def __init__(self, source: X509Source) -> None:
        self.serials, self.authorities, self.signers = set(), set(), set()
        self.source = source
        self.look()
        source.subscribe_for_updates(self.look)

    def look(self) -> None:
        svid, authorities = material(self.source)
        self.serials.add(svid.leaf.serial_number)
        for authority in authorities:
            digest = authority.fingerprint(SHA256())
            self.authorities.add(digest)
            try:
                svid.leaf.verify_directly_issued_by(authority)
                self.signers.add(digest)
            except Exception:  # another authority's: each kind of key says so in its own way
                continue

    def say(self) -> None:
        say("serials", len(self.serials))
        say("authorities", len(self.authorities))
        say("signers", len(self.signers))


def material(source: X509Source) -> tuple:
    """The SVID and the authorities of one moment."""
    whole = source.get_x509_context()
    svid = whole.default_svid
    bundle = whole.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    return svid, bundle.x509_authorities


def context(source: X509Source) -> SSL.Context:
    """The source's material of this moment."""
    svid, authorities = material(source)
    made = SSL.Context(SSL.TLS_METHOD)
    made.use_certificate(svid.leaf)
    made.use_privatekey(svid.private_key)
    store = made.get_cert_store()
    for authority in authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda _c, _x, _e, _d, good: bool(good))
    return made


def serve(source: X509Source, listener: socket.socket) -> None:
    while True:
        accepted, _ = listener.accept()
        accepted.settimeout(None)
        threading.Thread(target=answer, args=(source, accepted), daemon=True).start()


def answer(source: X509Source, accepted: socket.socket) -> None:
    """Answers each line with the SPIFFE ID of whoever sent it."""
    connection = SSL.Connection(context(source), accepted)
    connection.set_accept_state()
    try:
        connection.do_handshake()
        peer = spiffe_id(connection)
        while connection.recv(1024):
            connection.sendall(f"{peer}\n".encode())
    except SSL.ZeroReturnError:
        connection.close()
    except SSL.SysCallError:
        accepted.close()  # gone without a word
    except SSL.Error as error:
        print(f"serving: {error!r}", file=sys.stderr, flush=True)
        accepted.close()


def dial(source: X509Source, peer: Path) -> SSL.Connection:
    plain = socket.create_connection(("127.0.0.1", int(peer.read_text())), DEADLINE)
    plain.settimeout(None)  # a timeout makes the socket non-blocking below pyOpenSSL
    connection = SSL.Connection(context(source), plain)
    connection.set_connect_state()
    connection.do_handshake()
    domain = source.get_x509_context().default_svid.spiffe_id.trust_domain
    if spiffe_id(connection) != f"spiffe://{domain}/agent/{peer.stem}":
        raise ValueError(f"{peer.stem} is {spiffe_id(connection)}")
    return connection


def ask(connection: SSL.Connection, own: str) -> None:
    connection.sendall(b"who am I?\n")
    said = connection.recv(1024).decode().strip()
    if said != own:
        raise ValueError(f"taken for {said!r}")


def spiffe_id(connection: SSL.Connection) -> str:
    leaf = connection.get_peer_certificate(as_cryptography=True)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uri


class Held:
    """One connection that is kept and used, whatever is rotated meanwhile."""

    def __init__(self, source: X509Source, own: str, peer: Path, until: float) -> None:
        self.answers = self.failed = 0
        self.thread = threading.Thread(target=self.run, args=(source, own, peer, until))
        self.thread.start()

    def run(self, source: X509Source, own: str, peer: Path, until: float) -> None:
        try:
            connection = dial(source, peer)
            while time.monotonic() < until:
                ask(connection, own)
                self.answers += 1
                time.sleep(1)
            connection.close()
        except (OSError, SSL.Error, ValueError) as error:
            print(f"held connection to {peer.name}: {error!r}", file=sys.stderr, flush=True)
            self.failed += 1


def announce(path: Path, text: str) -> None:
    """Writes a file in one step."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


def wait(meeting: Path, ending: str, count: int) -> None:
    begun = time.monotonic()
    while len(list(meeting.glob(f"*{ending}"))) < count:
        if time.monotonic() - begun > 120:
            sys.exit(f"not all of {count} have announced {ending}")
        time.sleep(0.05)


def say(word: str, value: object) -> None:
    print(word, value, flush=True)


main()
