"""Speaking HTTP with a receiver: bounded in time and size, and nothing said of what was sent.

No error here holds an address, a header, a body or a secret. Nothing is tried twice: the courier
tries again, later. Redirects are not followed: what we send is meant for one receiver.
"""

import contextlib
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from delist.errors import SinkError
from indexer.deadline import Deadline
from indexer.errors import SettingsError
from indexer.feed.exchange import read_retry_after
from indexer.settings import is_loopback
from indexer.tls import public_tls

# These log every request with its address, whatever the level of other loggers is.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_LONGEST_RETRY_AFTER_S = 86_400.0
_OPENED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


def check_url(url: str, *, key: str, allow_plain_http: bool) -> None:
    """Check the address of a receiver, as it stands in the configuration.

    Args:
        key: the setting's name.
        allow_plain_http: whether it may be http beyond this machine.

    Raises:
        SettingsError: not an absolute address, not https, or it holds a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SettingsError(f"{key}: not a valid address") from None
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host or not url.isprintable():
        raise SettingsError(f"{key}: an absolute https address is needed")
    if parts.username is not None or parts.password is not None:
        raise SettingsError(f"{key}: a user or password must not stand in it")
    if parts.scheme == "http" and not (allow_plain_http or is_loopback(host)):
        raise SettingsError(
            f"{key}: must be https; http is accepted on loopback, or with allow_plain_http = true"
            " in a network where nobody else listens"
        )


def read_secret(path: Path) -> str:
    """Read a secret from its file: what stands in it without blanks around.

    Raises:
        SinkError: the file cannot be read, or is empty; never says what it holds.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        # `from None`: a decoding error holds the content.
        raise SinkError("secret_unreadable", f"{path} cannot be read: {reason}") from None
    if not text:
        raise SinkError("secret_unreadable", f"{path} is empty")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver answered: neither a server's error nor a redirect."""

    status: int
    body: bytes = field(repr=False)

    @property
    def taken(self) -> bool:
        """Whether the status is 2xx."""
        return self.status // 100 == HTTPStatus.OK // 100


class Receiver:
    """One receiver, over one connection that is kept between requests. Not thread-safe."""

    def __init__(
        self, *, timeout_s: float, ca_file: Path | None = None, max_body_bytes: int
    ) -> None:
        """Connect to nothing yet.

        Args:
            timeout_s: longest time for one request, however busily the server drips bytes.
            ca_file: certificates (PEM) of who may vouch for the receiver, beside the usual ones.
            max_body_bytes: largest answer.
        """
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._max_body_bytes = max_body_bytes
        self._opened: tuple[str, dict[str, Any]] | None = None

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        params: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """Send one request.

        Returns:
            the answer if its status is 2xx or 4xx, without those that are named below.

        Raises:
            SinkError: no connection or no whole answer in time; 5xx and 429 (with the time that
                was asked for); 3xx; 401 and 403. Its code says which.
        """
        with Deadline(self._timeout_s) as deadline:
            if self._opened is not None:  # a connection that is used again is not opened again
                deadline.note(*self._opened)

            def note(event: str, info: dict[str, Any]) -> None:
                if event in _OPENED:
                    self._opened = (event, info)
                deadline.note(event, info)

            try:
                with self._client.stream(
                    method,
                    url,
                    params=params,
                    content=content or None,
                    headers={"Accept-Encoding": "identity", "User-Agent": "delist", **headers},
                    extensions={"trace": note},
                ) as response:
                    _check_status(response)
                    body = self._read_body(response)
                if deadline.passed:
                    raise self._too_slow()
                return Answer(status=response.status_code, body=body)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                # `from None`: the cause holds the request.
                raise (self._too_slow() if deadline.passed else self._named(error)) from None

    def close(self) -> None:
        """Close the connection. Closing twice does nothing."""
        self._opened = None
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def _read_body(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > self._max_body_bytes:
                raise SinkError(
                    "answer_too_large", f"the answer is larger than {self._max_body_bytes} bytes"
                )
        return bytes(body)

    def _too_slow(self) -> SinkError:
        return SinkError("timed_out", f"no whole answer within {self._timeout_s:g} s")

    def _named(self, error: Exception) -> SinkError:
        if isinstance(error, httpx2.TimeoutException):
            return self._too_slow()
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLError):
                return SinkError("tls_failed", "its certificate does not hold, or TLS failed")
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx2.ConnectError):
            return SinkError("unreachable", "no connection")
        return SinkError("broken_off", f"no whole answer ({type(error).__name__})")

    @cached_property
    def _client(self) -> httpx2.Client:
        return httpx2.Client(
            verify=self._tls(),
            trust_env=False,
            follow_redirects=False,
            timeout=self._timeout_s,
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1),
        )

    def _tls(self) -> ssl.SSLContext:
        if self._ca_file is None:
            return public_tls()
        context = httpx2.create_ssl_context(trust_env=False)
        try:
            context.load_verify_locations(cafile=self._ca_file)
        except (OSError, ssl.SSLError):
            raise SinkError(
                "ca_unreadable", f"{self._ca_file} cannot be read, or holds no certificate"
            ) from None
        return context


def _check_status(response: httpx2.Response) -> None:
    status = response.status_code
    text = f"answered {status}"
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        raise SinkError("overloaded", text, retry_after_s=_retry_after_s(response))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise SinkError("server_error", text, retry_after_s=_retry_after_s(response))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise SinkError("not_allowed", f"{text}; check the credentials")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise SinkError("redirected", f"{text}, a redirect, which is not followed; check the url")


def _retry_after_s(response: httpx2.Response) -> float | None:
    asked: float | None = None
    with contextlib.suppress(OverflowError):
        asked = read_retry_after(response.headers)
    return None if asked is None else min(asked, _LONGEST_RETRY_AFTER_S)
