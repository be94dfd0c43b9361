"""An issuer of OpenID Connect that can misbehave: it says in its token what a test tells it to."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

_KEY = RSAKey.generate_key(2048, {"kid": "right", "use": "sig", "alg": "RS256"})
_OTHER = RSAKey.generate_key(2048, {"kid": "right"})
CLIENT = "delist"


class Issuer:
    """Its state, which a test may change between two sign-ons.

    Attributes:
        asked: how often for a token.
        looked_up: how often for what it says of itself, or for its keys.
        nonce: that the token carries; a test copies it from the address it was sent to.
        claims: of the person, over what is right.
        header: of the token, over what is right.
        forge: makes the token instead, from header and claims.
        challenge: of PKCE, as the address had it; a wrong verifier gets no token.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = self.looked_up = 0
        self.reset()

    def reset(self) -> None:
        self.nonce = self.challenge = ""
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.forge: Callable[[dict[str, Any], dict[str, Any]], str] = sign
        self.named_issuer = self.url
        self.down = False

    def token(self) -> str:
        now = int(time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "person-1",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "email": "ann@org.example",
            "groups": ["case-review"],
        }
        return self.forge({"alg": "RS256", "kid": "right"} | self.header, claims | self.claims)


def sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Sign as is right."""
    return jwt.encode(header, claims, _KEY)


def sign_with_another_key(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return jwt.encode(header, claims, _OTHER)


def sign_with_the_public_key_as_a_secret(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """The old confusion of algorithms: what everybody knows as a secret of both."""
    parts = _written(header | {"alg": "HS256"}, claims)
    signature = hmac.digest(_KEY.as_pem(private=False), parts.encode(), "sha256")
    return f"{parts}.{_encoded(signature)}"


def sign_nothing(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return _written(header | {"alg": "none"}, claims) + "."


def _written(*parts: dict[str, Any]) -> str:
    return ".".join(_encoded(json.dumps(part).encode()) for part in parts)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Serve it on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        server.RequestHandlerClass = _handler(issuer)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.looked_up += 1
            if issuer.down:
                self._say(503, {})
            elif self.path.endswith("openid-configuration"):
                places = ("authorization_endpoint", "token_endpoint", "jwks_uri")
                metadata = {name: f"{issuer.url}/{name}" for name in places}
                self._say(200, metadata | {"issuer": issuer.named_issuer})
            else:
                self._say(200, {"keys": [_KEY.as_dict(private=False)]})

        def do_POST(self) -> None:
            issuer.asked += 1
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            digest = sha256(body["code_verifier"][0].encode()).digest()
            if _encoded(digest) != issuer.challenge:
                self._say(400, {"error": "invalid_grant"})
                return
            self._say(
                200, {"access_token": "a", "token_type": "Bearer", "id_token": issuer.token()}
            )

        def _say(self, status: int, document: dict[str, Any]) -> None:
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
            del format, args

    return Handler
