"""A service in Python 3 that uses Keyward: a token for each tenant, verified; a
rotation and a revocation; a webhook; a change that is repeated.

    pip install 'pyjwt[crypto]'
    KEYWARD_URL=https://keys.example.com KEYWARD_API_KEY=kw_… python3 program.py
"""

import base64
import datetime
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
from jwt import algorithms

URL, API_KEY = os.environ["KEYWARD_URL"].rstrip("/"), os.environ["KEYWARD_API_KEY"]
AUDIENCE = "https://orders.example.com"


class Problem(Exception):
    """An error answer of the API (RFC 9457)."""

    def __init__(self, status, problem):
        super().__init__(f"{problem.get('detail')} ({problem.get('code')}, {status})")
        self.status, self.code = status, problem.get("code")


def call(method, path, body=None, once=None, tries=4):
    """Call the API. A change is repeated with the same Idempotency-Key, so it is made once."""
    headers = {"Authorization": f"Bearer {API_KEY}", "Accept": "application/json"}
    data = None
    if body is not None:
        headers["Content-Type"], data = "application/json", json.dumps(body).encode()
    if method != "GET":
        headers["Idempotency-Key"] = once or str(uuid.uuid4())
    for attempt in range(tries):
        wait = random.uniform(0.5, 1) * 0.25 * 2**attempt
        try:
            request = urllib.request.Request(URL + path, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.loads(response.read() or "null")
        except urllib.error.HTTPError as error:
            text = error.read()
            problem = json.loads(text) if "json" in error.headers.get("Content-Type", "") else {}
            if attempt + 1 == tries or (error.code not in (429, 502, 503, 504) and "outcome" not in problem):
                raise Problem(error.code, problem) from None
            wait = max(wait, float(error.headers.get("Retry-After") or 0))
        except OSError:  # no answer: the change may have been made, and the key finds out
            if attempt + 1 == tries:
                raise
        time.sleep(wait)


class Keys:
    """The JWK Set of one issuer: replaced whole, and asked for an unknown kid at most every 5 seconds."""

    def __init__(self, url):
        self.url, self.keys, self.expires, self.asked = url, {}, 0.0, float("-inf")
        self.not_before, self.revoked, self.lock = 0, set(), threading.Lock()

    def fetch(self):
        request = urllib.request.Request(self.url, headers={"Cache-Control": "no-cache"})
        with urllib.request.urlopen(request, timeout=5) as response:
            found = {}
            for jwk in json.load(response)["keys"]:
                try:
                    found[jwk["kid"]] = (jwk["alg"], jwt.PyJWK(jwk, algorithm=jwk["alg"]).key)
                except jwt.PyJWTError:
                    pass  # of an algorithm that this library does not have
            directives = response.headers.get("Cache-Control", "").replace(" ", "").split(",")
            ages = [int(d[8:]) for d in directives if d.startswith("max-age=")]
            self.not_before = float(response.headers.get("Keyward-Not-Before") or 0)
        self.keys, self.expires = found, time.monotonic() + min(max((ages or [30])[0], 1), 600)

    def get(self, kid):
        with self.lock:
            if time.monotonic() >= self.expires:
                self.fetch()
            elif kid not in self.keys and time.monotonic() - self.asked >= 5:
                self.asked = time.monotonic()
                self.fetch()
            if kid in self.revoked or kid not in self.keys:
                raise jwt.InvalidTokenError("unknown or revoked key")
            return self.keys[kid]


class Verifier:
    """Checks the tokens of one tenant, and hears of revocations from its key events."""

    def __init__(self, tenant):
        self.issuer = f"{URL}/t/{tenant}"
        self.keys = Keys(self.issuer + "/.well-known/jwks.json")
        made = call("POST", f"/v1/tenants/{tenant}/api-keys", {"role": "tenant_verifier"})
        self.api_key, self.open = made["key"], threading.Event()
        self.events = f"{URL}/v1/tenants/{tenant}/key-events"
        threading.Thread(target=self.follow, daemon=True).start()

    def verify(self, token):
        alg, key = self.keys.get(jwt.get_unverified_header(token).get("kid"))  # a key verifies its own algorithm alone
        claims = jwt.decode(token, key, algorithms=[alg], issuer=self.issuer, audience=AUDIENCE, options={"require": ["exp", "iat"]})
        if claims["iat"] < self.keys.not_before:
            raise jwt.InvalidTokenError("issued before not_before")
        return claims

    def follow(self):
        """Read the stream, and open it again where it ended. Keyward sends a line every 15 seconds."""
        last, failures = "", 0
        while True:
            headers = {"Authorization": f"Bearer {self.api_key}", "Accept": "text/event-stream"}
            if last:
                headers["Last-Event-ID"] = last
            try:
                with urllib.request.urlopen(urllib.request.Request(self.events, headers=headers), timeout=45) as stream:
                    self.open.set()
                    event = {}
                    for line in stream:
                        name, _, value = line.decode().rstrip("\r\n").partition(": ")
                        if name:
                            event[name] = value
                            continue
                        self.handle(event)
                        last, event, failures = event.get("id", last), {}, 0
            except (OSError, ValueError):
                failures += 1
            time.sleep(min(2 * 2**failures, 30) * random.uniform(0.5, 1))

    def handle(self, event):
        if event.get("event") == "key.revoked":
            self.keys.revoked.add(json.loads(event["data"])["kid"])
        if event.get("event", "").startswith(("key.", "tenant.")):
            self.keys.expires = 0.0  # the next token has the set fetched


def verify_webhook(body, signature, webhook_id, platform):
    """Check who sent a body (a detached JWS, RFC 7515 appendix F), that it is for this webhook, and recent."""
    protected, _, signature = signature.split(".")
    header = json.loads(base64.urlsafe_b64decode(protected + "=="))
    if header["typ"] != "keyward-webhook+jws" or header["alg"] not in ("ES256", "EdDSA"):
        raise ValueError("signed for something else")
    payload = base64.urlsafe_b64encode(body).rstrip(b"=").decode()
    alg, key = platform.get(header["kid"])
    if alg != header["alg"] or not algorithms.get_default_algorithms()[alg].verify(f"{protected}.{payload}".encode(), key, base64.urlsafe_b64decode(signature + "==")):
        raise ValueError("the signature is not valid")
    delivery = json.loads(body)
    sent = datetime.datetime.fromisoformat(delivery["sent_at"][:19] + "+00:00")
    if delivery["webhook_id"] != webhook_id or abs(time.time() - sent.timestamp()) > 300:
        raise ValueError("for another webhook, or of another time")
    return delivery  # remember delivery["id"]: it can arrive more than once


def main():
    # Create the tenants. A key that your job has stored makes each change happen once.
    acme, globex = f"acme-{uuid.uuid4()}", f"globex-{uuid.uuid4()}"
    for slug in (acme, globex):
        first = call("POST", "/v1/tenants", {"slug": slug}, once=f"create-{slug}")
        again = call("POST", "/v1/tenants", {"slug": slug}, once=f"create-{slug}")
        assert first["id"] == again["id"]
    verifiers = {slug: Verifier(slug) for slug in (acme, globex)}
    for verifier in verifiers.values():
        assert verifier.open.wait(60)

    def issue(slug):
        return call("POST", f"/v1/tenants/{slug}/tokens", {"claims": {"sub": "alice", "aud": AUDIENCE}})

    # A token of one tenant is nothing to another.
    old = issue(acme)
    assert verifiers[acme].verify(old["token"])["sub"] == "alice"
    assert refuses(verifiers[globex], old["token"])
    print("issued and verified")

    # After a rotation old and new tokens verify.
    call("POST", f"/v1/tenants/{acme}/keys/rotate", {})
    new = issue(acme)
    assert new["kid"] != old["kid"]
    verifiers[acme].verify(new["token"])
    verifiers[acme].verify(old["token"])
    print("followed a rotation")

    # A leaked key: nothing that it signed verifies from the moment the event arrives.
    call("POST", f"/v1/tenants/{acme}/keys/{new['kid']}/revoke", {"reason": "compromised", "comment": "in a log"})
    while not refuses(verifiers[acme], new["token"]):
        time.sleep(0.001)
    print("heard of a revocation")

    # A webhook.
    platform, arrived, hook = Keys(URL + "/.well-known/jwks.json"), [], {}

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                arrived.append(verify_webhook(body, self.headers["Keyward-Signature"], hook.get("id"), platform))
                self.send_response(204)
            except (ValueError, KeyError, jwt.PyJWTError):
                self.send_response(401)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.timeout = 60
    hook.update(call("POST", f"/v1/tenants/{acme}/webhooks", {"url": f"http://127.0.0.1:{server.server_port}/"}))
    while not arrived:
        server.handle_request()
    print(f"verified a webhook: {arrived[0]['event']['action']}")


def refuses(verifier, token):
    try:
        verifier.verify(token)
    except jwt.InvalidTokenError:
        return True
    return False


if __name__ == "__main__":
    main()
