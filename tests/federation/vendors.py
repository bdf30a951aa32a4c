"""Clouds and model vendors that speak as the real ones do, for tests: one server over TLS, that trusts one issuer.

They know of the issuer what a vendor knows: its URL, from which they fetch discovery and keys themselves (or the keys
that were uploaded), and whom they let in: one subject and one audience for each vendor. Tokens are verified by PyJWT,
which is not ours, and every field that the vendor documents is looked at. What is wrong gets the vendor's own error.

    vendors.py FOLDER: reads FOLDER/trust.json, writes FOLDER/port, and a line for each exchange to FOLDER/log
"""

import datetime
import http.server
import json
import pathlib
import socket
import ssl
import sys
import threading
import urllib.parse
import urllib.request

import jwt

FOLDER = pathlib.Path(sys.argv[1])
TRUST = json.loads((FOLDER / "trust.json").read_text())
LOCK = threading.Lock()
JTI = set()


class Refused(Exception):
    """The vendor says no, and why."""


def resolve_to(port):
    """The issuer's public name leads here: nothing of this machine's resolver is changed."""
    real = socket.getaddrinfo
    name = urllib.parse.urlsplit(TRUST["issuer"]).hostname

    def look_up(host, wanted, *rest, **named):
        return real("127.0.0.1", port, *rest, **named) if host == name else real(host, wanted, *rest, **named)

    socket.getaddrinfo = look_up


def fetch(url):
    context = ssl.create_default_context(cafile=str(FOLDER / "issuer-ca.pem"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(url, timeout=10) as answer:
        if not answer.headers["content-type"].startswith("application/json"):
            raise Refused("discovery is not JSON")
        return json.load(answer)


def keys():
    """The issuer's keys, as uploaded or fetched: discovery has to say that it is this issuer's, below its URL."""
    if "jwks" in TRUST:
        return TRUST["jwks"]["keys"]
    issuer = TRUST["issuer"]
    found = fetch(issuer + "/.well-known/openid-configuration")
    if found["issuer"] != issuer or not found["jwks_uri"].startswith(issuer + "/"):
        raise Refused("discovery names another issuer")
    demanded = ["response_types_supported", "subject_types_supported", "claims_supported"]
    if any(not found.get(name) for name in demanded):
        raise Refused("discovery is not whole")
    algorithms = found["id_token_signing_alg_values_supported"]
    all_keys = fetch(found["jwks_uri"])["keys"]
    if any(key["alg"] not in algorithms or key["use"] != "sig" for key in all_keys):
        raise Refused("a key has no use or an algorithm that discovery does not name")
    return all_keys


def verify(token, vendor, algorithms, longest=255):
    """The claims of a token that this vendor believes."""
    trusted = TRUST["vendors"][vendor]
    if not token or len(token) > 16384 or token != token.strip():
        raise Refused("no token")
    head = jwt.get_unverified_header(token)
    if set(head) != {"alg", "kid", "typ"} or head["alg"] not in algorithms:
        raise Refused(f"the algorithm {head.get('alg')} is not supported")
    key = next((key for key in keys() if key["kid"] == head["kid"]), None)
    if key is None or key["alg"] != head["alg"]:
        raise Refused("no key verifies the token")
    claims = jwt.decode(
        token,
        jwt.PyJWK(key).key,
        algorithms=[head["alg"]],
        audience=trusted["audience"],
        issuer=TRUST["issuer"],
        options={"require": ["iss", "sub", "aud", "exp", "iat", "jti"]},
    )
    aud = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if aud != [trusted["audience"]]:
        raise Refused("the token is for others too")
    if claims["sub"] != trusted["subject"]:
        raise Refused("the subject does not match")
    if len(claims["sub"]) > longest:
        raise Refused("the subject is too long")
    if claims["exp"] - claims["iat"] > 3600:
        raise Refused("the token lives too long")
    return claims


def need(fields, wanted):
    """Every field as the vendor documents it, and no other."""
    for name, value in wanted.items():
        found = fields.get(name)
        if found is None or (value is not None and found != value):
            raise Refused(f"{name} is {found!r}")


def only(fields, names):
    unknown = set(fields) - set(names)
    if unknown:
        raise Refused(f"unknown fields {sorted(unknown)}")


def anthropic(handler, body):
    if handler.headers["content-type"] != "application/json":
        raise Refused("not JSON")
    if "oidc-federation-2026-04-01" not in (handler.headers["anthropic-beta"] or ""):
        raise Refused("the beta header is missing")
    fields = json.loads(body)
    names = ["grant_type", "assertion", "federation_rule_id", "organization_id", "service_account_id", "workspace_id"]
    only(fields, names)
    settings = TRUST["vendors"]["anthropic"]["settings"]
    need(fields, {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "federation_rule_id": settings["rule"],
        "organization_id": settings["organization"],
        "service_account_id": settings["service_account"],
    })
    claims = verify(fields["assertion"], "anthropic", ["RS256", "ES256"])
    return claims, {"access_token": "sk-ant-oat01-real", "token_type": "Bearer", "expires_in": 600, "scope": "workspace:inference"}


def openai(handler, body):
    fields = json.loads(body)
    only(fields, ["grant_type", "subject_token", "subject_token_type", "identity_provider_id", "service_account_id"])
    settings = TRUST["vendors"]["openai"]["settings"]
    need(fields, {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "identity_provider_id": settings["identity_provider"],
        "service_account_id": settings["service_account"],
    })
    claims = verify(fields["subject_token"], "openai", ["RS256", "ES256"])
    return claims, {"access_token": "openai-real", "token_type": "Bearer", "expires_in": 3600, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}


def form(handler, body):
    kind = handler.headers["content-type"].split(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(f"the body is {kind}")
    return dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))


def gcp(handler, body):
    fields = form(handler, body)
    only(fields, ["grant_type", "audience", "scope", "requested_token_type", "subject_token_type", "subject_token", "options"])
    provider = TRUST["vendors"]["gcp"]["settings"]["provider"]
    need(fields, {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": "//iam.googleapis.com/" + provider,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    })
    claims = verify(fields["subject_token"], "gcp", ["RS256", "ES256"], 127)
    return claims, {"access_token": "ya29.real", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3599}


def azure(handler, body):
    fields = form(handler, body)
    settings = TRUST["vendors"]["azure"]["settings"]
    need(fields, {
        "client_id": settings["client"],
        "grant_type": "client_credentials",
        "scope": "https://management.azure.com/.default",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    })
    claims = verify(fields["client_assertion"], "azure", ["RS256"])
    return claims, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "eyJ.azure.real"}


def aws(handler, body):
    fields = form(handler, body)
    only(fields, ["Action", "Version", "RoleArn", "RoleSessionName", "WebIdentityToken", "DurationSeconds"])
    role = TRUST["vendors"]["aws"]["settings"]["role_arn"]
    need(fields, {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": None,
    })
    claims = verify(fields["WebIdentityToken"], "aws", ["RS256", "ES256"])
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=TRUST.get("aws_seconds", 3600))
    name = fields["RoleSessionName"]
    return claims, f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult>
<SubjectFromWebIdentityToken>{claims["sub"]}</SubjectFromWebIdentityToken>
<Audience>{TRUST["vendors"]["aws"]["audience"]}</Audience>
<AssumedRoleUser><Arn>{role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")}/{name}</Arn><AssumedRoleId>AROA:{name}</AssumedRoleId></AssumedRoleUser>
<Credentials><SessionToken>session-real</SessionToken><SecretAccessKey>secret-real</SecretAccessKey><Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration><AccessKeyId>ASIAREAL0000000000{len(JTI):02}</AccessKeyId></Credentials>
<Provider>{TRUST["issuer"]}</Provider>
</AssumeRoleWithWebIdentityResult>
<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>"""


def refusal(vendor, why):
    """In the vendor's own shape."""
    if vendor == "aws":
        return 400, f"<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>{why}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
    if vendor == "azure":
        return 401, {"error": "invalid_client", "error_description": f"AADSTS700211: {why}", "error_codes": [700211]}
    if vendor == "gcp":
        return 400, {"error": "invalid_grant", "error_description": why}
    if vendor == "openai":
        return 401, {"error": {"type": "invalid_request_error", "code": "invalid_subject_token", "message": why}}
    return 401, {"error": "invalid_grant", "error_description": why}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def vendor(self):
        tenant = TRUST["vendors"].get("azure", {}).get("settings", {}).get("tenant")
        return {
            "/v1/oauth/token": anthropic,
            "/oauth/token": openai,
            "/v1/token": gcp,
            f"/{tenant}/oauth2/v2.0/token": azure,
            "/": aws,
        }.get(self.path)

    def do_GET(self):
        """What azure-identity asks of an authority before it believes it."""
        host = self.headers["host"]
        tenant = self.path.split("/")[1]
        if self.path.split("?")[0].endswith("/v2.0/.well-known/openid-configuration"):
            return self.answer(200, {
                "issuer": f"https://{host}/{tenant}/v2.0",
                "authorization_endpoint": f"https://{host}/{tenant}/oauth2/v2.0/authorize",
                "token_endpoint": f"https://{host}/{tenant}/oauth2/v2.0/token",
            })
        if self.path == "/v1/models":
            return self.answer(200, {"data": [], "has_more": False, "first_id": None, "last_id": None, "object": "list"})
        return self.answer(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        vendor = self.vendor()
        if vendor is None:
            return self.answer(404, {})
        entry = {"vendor": vendor.__name__, "agent": self.headers["user-agent"]}
        try:
            claims, answer = vendor(self, body)
            entry |= {"ok": True, "jti": claims["jti"], "sub": claims["sub"], "instance": claims["avouch_instance"]}
            status = 200
        except Exception as why:  # whatever a vendor trips over is a refusal
            entry |= {"ok": False, "why": f"{type(why).__name__}: {why}"}
            status, answer = refusal(vendor.__name__, str(why))
        with LOCK, (FOLDER / "log").open("a") as log:
            JTI.add(entry.get("jti"))
            log.write(json.dumps(entry) + "\n")
        self.answer(status, answer)

    def answer(self, status, answer):
        text = isinstance(answer, str)
        body = (answer if text else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("content-type", "text/xml" if text else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    resolve_to(TRUST["port"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "vendor.pem", FOLDER / "vendor.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    (FOLDER / "port.new").write_text(str(server.server_address[1]))
    (FOLDER / "port.new").rename(FOLDER / "port")
    server.serve_forever()


main()
