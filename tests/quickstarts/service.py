"""Stands for the service of a quickstart, over HTTPS on a port of its own: the services' own paths and shapes, as far
as the tools of the pages ask for them. Every path wants the real secret, in the one header that the service takes it
in, and whatever arrives is written to a log that the test reads. Uses the standard library alone.

    service.py FOLDER HOST HEADER

FOLDER has chain.pem, key.pem and `expected` (the header's whole value); `port` and `log` are made in it.
"""

import base64
import hashlib
import hmac
import http.server
import io
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tarfile
import urllib.parse
import zipfile

FOLDER, HOST, HEADER = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
EXPECTED = (FOLDER / "expected").read_bytes()
MODEL_SAYS = "Good morning from a model."


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        body = self.body()
        given = (self.headers.get(HEADER) or "").encode("latin-1")
        authorized = self.headers.get("Host", "").split(":")[0] == HOST and hmac.compare_digest(given, EXPECTED)
        line = {"method": self.command, "path": self.path, "authorized": authorized}
        with open(FOLDER / "log", "a", encoding="utf-8") as log:
            print(json.dumps(line), file=log, flush=True)
        if not authorized:
            self.reply(401, {"message": "Bad credentials"}, [("WWW-Authenticate", 'Basic realm="service"')])
            return
        for prefix, handler in ROUTES:
            if url.path.startswith(prefix):
                handler(self, url, body)
                return
        self.reply(404, {"message": "Not Found"})

    do_GET = do_POST = do_PUT = do_HEAD = answer

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status, content, headers=(), kind="application/json"):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(content))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def events(self, events):
        """Server-sent events, as both model vendors stream."""
        text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        self.reply(200, text.encode(), kind="text/event-stream")

    def log_message(self, *_):
        pass


# --- api.github.com


def user(service, _url, _body):
    service.reply(200, {"login": "octocat", "id": 1})


# --- github.com: git's own server side


def git(service, url, body):
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(FOLDER / "git"),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "REMOTE_USER": "octocat",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_METHOD": service.command,
        "PATH_INFO": url.path,
        "QUERY_STRING": url.query,
        "CONTENT_TYPE": service.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": service.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": service.headers.get("Git-Protocol", ""),
    }
    done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
    status = int(fields.pop("Status", "200").split()[0])
    kind = fields.pop("Content-Type", "text/plain")
    service.reply(status, content, list(fields.items()), kind)


# --- api.anthropic.com


def messages(service, url, body):
    if url.path.endswith("/count_tokens"):
        service.reply(200, {"input_tokens": 10})
        return
    asked = json.loads(body)
    usage = {"input_tokens": 10, "output_tokens": 6}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "usage": usage}
    if not asked.get("stream"):
        text = [{"type": "text", "text": MODEL_SAYS}]
        service.reply(200, message | {"content": text, "stop_reason": "end_turn", "stop_sequence": None})
        return
    begun = message | {"content": [], "stop_reason": None, "stop_sequence": None}
    service.events([
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": MODEL_SAYS}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ])


# --- api.openai.com


def responses(service, _url, body):
    asked = json.loads(body)
    text = {"type": "output_text", "text": MODEL_SAYS, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 16,
    }
    done = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": asked["model"],
        "output": [item],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }
    if not asked.get("stream"):
        service.reply(200, done)
        return
    service.events([
        {"type": "response.created", "response": done | {"status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ])


def models(service, _url, _body):
    service.reply(200, {"object": "list", "data": [], "models": []})


# --- a registry of crates, of npm packages and of Python packages


def crate_index(service, url, _body):
    if url.path.endswith("/config.json"):
        place = f"https://{HOST}"
        service.reply(200, {"dl": f"{place}/crates", "api": place, "auth-required": True})
        return
    checksum = hashlib.sha256(crate_file()).hexdigest()
    service.reply(200, {"name": "greeting", "vers": "0.1.0", "deps": [], "cksum": checksum, "features": {}})


def crate(service, _url, _body):
    service.reply(200, crate_file(), kind="application/gzip")


def crate_file():
    return tarball({
        "greeting-0.1.0/Cargo.toml": '[package]\nname = "greeting"\nversion = "0.1.0"\nedition = "2021"\n',
        "greeting-0.1.0/src/lib.rs": 'pub fn text() -> &\'static str { "Good morning from a crate." }\n',
    })


def npm(service, url, _body):
    if url.path.endswith(".tgz"):
        service.reply(200, npm_file(), kind="application/octet-stream")
        return
    digest = base64.b64encode(hashlib.sha512(npm_file()).digest()).decode()
    place = {"tarball": f"https://{HOST}/@acme/greeting/-/greeting-1.0.0.tgz", "integrity": f"sha512-{digest}"}
    version = {"name": "@acme/greeting", "version": "1.0.0", "dist": place}
    service.reply(200, {"name": "@acme/greeting", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}})


def npm_file():
    return tarball({
        "package/package.json": '{"name": "@acme/greeting", "version": "1.0.0", "main": "index.js"}\n',
        "package/index.js": 'module.exports = "Good morning from a package.";\n',
    })


def simple(service, _url, _body):
    name = "greeting-1.0-py3-none-any.whl"
    page = f'<a href="/files/{name}#sha256={hashlib.sha256(wheel()).hexdigest()}">{name}</a>'
    service.reply(200, page.encode(), kind="text/html")


def wheel_file(service, _url, _body):
    service.reply(200, wheel(), kind="application/zip")


def wheel():
    files = {
        "greeting.py": 'TEXT = "Good morning from a wheel."\n',
        "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "greeting-1.0.dist-info/RECORD": "",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def tarball(files):
    """The same bytes each time, as what is fetched is compared with its digest."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=0) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    content = bytearray(out.getvalue())
    content[4:8] = bytes(4)  # gzip's time of making
    return bytes(content)


ROUTES = {
    "api.github.com": [("/user", user)],
    "github.com": [("/", git)],
    "api.anthropic.com": [("/v1/messages", messages), ("/v1/models", models)],
    "api.openai.com": [("/v1/responses", responses), ("/v1/models", models)],
    "crates.example.com": [("/index/", crate_index), ("/crates/", crate)],
    "npm.example.com": [("/", npm)],
    "pypi.example.com": [("/simple/", simple), ("/files/", wheel_file)],
}[HOST]


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "chain.pem", FOLDER / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    port = FOLDER / "port.new"
    port.write_text(f"{server.server_address[1]}\n")
    port.rename(FOLDER / "port")
    server.serve_forever()


main()
