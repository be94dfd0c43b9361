"""The organisation's sign-on: OpenID Connect, authorization code with PKCE.

1. What we send somebody there with (state, nonce, code verifier) stays in their browser, in a
   cookie that only we can read, for ten minutes: nothing of strangers is stored.
2. The answer must bring back the state, and the issuer where it names one (RFC 9207).
3. The identity token must be signed by a key of the issuer, in an asymmetric way, for us, now,
   with our nonce; the issuer must be the one configured.
4. Groups decide the role; who has none does not get in.

Tokens of the provider are not kept.
"""

import hmac
import json
import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from time import monotonic
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from cryptography.fernet import Fernet, InvalidToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from delist.errors import ProviderError
from delist.people import Role
from delist.people.signing_on import Named
from delist.settings import OidcSettings, is_private_enough

_DISCOVERY = "/.well-known/openid-configuration"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
_TIMEOUT_S = 5.0
_FRESH_S = 3600.0
_PENDING_S = 600
_LEEWAY_S = 60
_MOST_ASKING = 8
"""Each holds a thread of those that answer result pages, and anybody can begin a sign-on."""
_NOT_AGAIN_S = 5.0


class NoRoleError(ProviderError):
    """The person is known there, but not for this."""

    def __init__(self, code: str = "no_role") -> None:
        super().__init__(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A sign-on under way.

    Attributes:
        then: where to go afterwards.
        unsent: whether a form was lost on the way.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    then: str
    unsent: bool


class Provider:
    """One issuer. Thread-safe.

    Args:
        settings: with an issuer.
        key: seals what is pending.

    Raises:
        SettingsError: the client's secret cannot be read.
    """

    def __init__(self, settings: OidcSettings, *, key: bytes) -> None:
        self._settings = settings
        self._secret = settings.load_secret()
        sealing = hmac.digest(key, b"pending sign-on", "sha256")
        self._fernet = Fernet(urlsafe_b64encode(sealing))
        self._known: tuple[float, Mapping[str, Any]] | None = None
        self._keys: KeySet | None = None
        self._failed_at: float | None = None
        self._asking = threading.BoundedSemaphore(_MOST_ASKING)

    def begin(self, *, back: str, then: str, unsent: bool) -> tuple[str, str]:
        """Return where to send somebody, and what their browser keeps until they are back.

        Args:
            back: our address that they come back to.
            then: where they go afterwards.
            unsent: whether a form was lost.

        Raises:
            ProviderError: it does not answer.
        """
        metadata = self._metadata()
        pending = Pending(
            state=generate_token(32),
            nonce=generate_token(32),
            verifier=generate_token(64),
            then=then,
            unsent=unsent,
        )
        with self._client(back) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
            )
        return url, self._fernet.encrypt(json.dumps(asdict(pending)).encode()).decode()

    def pending(self, sealed: str, *, state: str) -> Pending:
        """Open what a browser kept; the answer must belong to it.

        Raises:
            ProviderError: it does not, or took too long.
        """
        try:
            opened = self._fernet.decrypt(sealed.encode(errors="replace"), ttl=_PENDING_S)
        except InvalidToken:
            raise ProviderError("too_late") from None
        pending = Pending(**json.loads(opened))
        if not hmac.compare_digest(pending.state.encode(), state.encode(errors="replace")):
            raise ProviderError("state")
        return pending

    def finish(self, pending: Pending, *, code: str, issuer: str, back: str) -> Named:
        """Say who it is.

        Args:
            pending: of this browser.
            code: that the provider has sent.
            issuer: that the answer names, or "".
            back: as it was given to ``begin``.

        Raises:
            ProviderError: it does not answer, or says what does not hold.
            NoRoleError: no group of the person has a role here.
        """
        if issuer and issuer != self._settings.issuer:  # (2)
            raise ProviderError("issuer")
        metadata = self._metadata()
        try:
            with self._place(), self._client(back) as client:
                token = client.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=pending.verifier
                )
                claims = self._claims(token, pending.nonce)
                claims = self._with_user_info(client, metadata, claims)
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            raise ProviderError("unreachable") from None
        except AuthlibBaseError:
            raise ProviderError("refused") from None
        except JoseError:
            raise ProviderError("token") from None
        return self._named(claims)

    def _metadata(self) -> Mapping[str, Any]:
        if self._known is not None and monotonic() - self._known[0] < _FRESH_S:
            return self._known[1]
        if self._failed_at is not None and monotonic() - self._failed_at < _NOT_AGAIN_S:
            raise ProviderError("unreachable")
        with self._place():
            try:
                found = self._get(self._settings.issuer.rstrip("/") + _DISCOVERY)
            except ProviderError:
                self._failed_at = monotonic()
                raise
        if found.get("issuer") != self._settings.issuer:
            raise ProviderError("issuer")
        if not all(is_private_enough(str(found.get(name, ""))) for name in _ENDPOINTS):
            raise ProviderError("endpoints")
        self._known, self._failed_at = (monotonic(), found), None
        return found

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Be one of the few that ask the issuer; nobody waits for a place."""
        if not self._asking.acquire(blocking=False):
            raise ProviderError("unreachable")
        try:
            yield
        finally:
            self._asking.release()

    def _claims(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:  # (3)
        text = str(token["id_token"])
        try:
            decoded = jwt.decode(text, self._key_set(), algorithms=_ALGORITHMS)
        except (InvalidKeyIdError, ValueError):  # the issuer has a new key
            decoded = jwt.decode(text, self._key_set(anew=True), algorithms=_ALGORITHMS)
        options = {
            "iss": {"essential": True, "value": self._settings.issuer},
            "aud": {"essential": True, "value": self._settings.client_id},
        }
        params = {
            "nonce": nonce,
            "client_id": self._settings.client_id,
            "access_token": token.get("access_token"),
        }
        claims = CodeIDToken(decoded.claims, decoded.header, options, params)
        claims.validate(leeway=_LEEWAY_S)
        return dict(claims)

    def _with_user_info(
        self,
        client: Any,  # noqa: ANN401 - Authlib has no types
        metadata: Mapping[str, Any],
        claims: dict[str, Any],
    ) -> dict[str, Any]:
        """Ask for what the token does not say."""
        wanted = {self._settings.role_claim, self._settings.name_claim}
        place = str(metadata.get("userinfo_endpoint", ""))
        if wanted <= set(claims) or not is_private_enough(place):
            return claims
        answer = client.get(place)
        answer.raise_for_status()
        told = answer.json()
        if told.get("sub") != claims["sub"]:
            raise ProviderError("subject")
        return {**told, **claims}

    def _key_set(self, *, anew: bool = False) -> KeySet:
        if self._keys is None or anew:
            self._keys = KeySet.import_key_set(self._get(self._metadata()["jwks_uri"]))  # type: ignore[arg-type] # JSON
        return self._keys

    def _named(self, claims: Mapping[str, Any]) -> Named:
        settings = self._settings
        email = str(claims.get("email", ""))
        domain = email.rpartition("@")[2].casefold()
        allowed = {name.casefold() for name in settings.domains}
        if allowed and (domain not in allowed or claims.get("email_verified") is False):
            raise NoRoleError("domain")
        held = claims.get(settings.role_claim, [])
        groups = {held} if isinstance(held, str) else {str(group) for group in held or ()}
        roles = (
            (Role.LEAD, settings.leads),
            (Role.REVIEWER, settings.reviewers),
            (Role.AUDITOR, settings.auditors),
            (Role.ADMIN, settings.admins),
        )
        role = next((role for role, names in roles if groups & set(names)), None)  # (4)
        if role is None:
            raise NoRoleError
        name = claims.get(settings.name_claim)
        if not isinstance(name, str) or not name.strip():
            raise ProviderError("name")
        return Named(issuer=settings.issuer, subject=str(claims["sub"]), name=name, role=role)

    def _get(self, url: str) -> dict[str, Any]:
        try:
            answer = httpx2.get(url, verify=self._tls, timeout=_TIMEOUT_S, follow_redirects=False)
            answer.raise_for_status()
            found = answer.json()
        except (httpx2.HTTPError, ValueError):
            raise ProviderError("unreachable") from None
        if not isinstance(found, dict):
            raise ProviderError("unreachable")
        return found

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """What the environment trusts: an organisation's own issuer has its own certificates."""
        return httpx2.create_ssl_context()

    def _client(self, back: str) -> Any:  # noqa: ANN401 - Authlib has no types
        return OAuth2Client(
            self._settings.client_id,
            self._secret or None,
            scope=self._settings.scopes,
            redirect_uri=back,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self._secret else "none",
            verify=self._tls,
            timeout=_TIMEOUT_S,
            follow_redirects=False,
        )
