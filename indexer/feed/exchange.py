"""One HTTP exchange with a feed: bounded in size, time and tries.

What is retried, with exponential back-off and jitter: 429, every 5xx, time-outs, refused
and broken connections, bodies that end too early. ``Retry-After`` is honoured up to a cap.
Everything else is answered once, by the caller's rules.

No message here holds a URL with its query, a key, a token or a body.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2
import stamina
import stamina.instrumentation
import structlog

from indexer.deadline import Deadline
from indexer.errors import FeedProtocolError, FeedUnavailableError
from indexer.tls import public_tls

T = TypeVar("T")

# These log every request: httpx2 its URL, in which a page token stands, at INFO;
# httpcore2 headers, at DEBUG. Neither may reach a log, whatever its level is set to.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# We log retries ourselves, in our own words (HttpExchange).
stamina.instrumentation.set_on_retry_hooks([])

_log = structlog.get_logger()

DEFAULT_TRIES = 6
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one exchange may cost.

    Attributes:
        tries: requests in all, the first included.
        backoff_s: wait before the second try; it doubles from try to try, and up to as
            much again is added at random; never more than 60 times this.
        retry_after_cap_s: longest wait that a server may ask for.
        timeout_s: longest silence while connecting, writing or reading.
        deadline_s: longest time for one try, however busily the server drips bytes.
        max_body_bytes: largest answer after decompression, in bytes.
    """

    tries: int = DEFAULT_TRIES
    backoff_s: float = 0.5
    retry_after_cap_s: float = 300.0
    timeout_s: float = 60.0
    deadline_s: float = 300.0
    max_body_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request; everything but its name is secret."""

    what: str
    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    params: Mapping[str, str | int] | None = field(default=None, repr=False)
    json: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is not to be retried. ``body`` is read for 2xx only."""

    status: int
    content_type: str
    body: bytes = field(repr=False)


class TryAgainError(FeedUnavailableError):
    """This try failed in a way that the next may not.

    Attributes:
        retry_after_s: the wait that the server asked for, if it did.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HttpExchange:
    """Sends requests within ``limits``. Safe to share between threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def send(self, request: Request, read: Callable[[Answer], T]) -> T:
        """Send a request until ``read`` accepts the answer, at most ``tries`` times.

        Args:
            request: what to send; every try sends the same.
            read: turns an answer into a result. It may raise ``TryAgainError`` for a
                body that was cut; any other error ends the exchange.

        Raises:
            FeedUnavailableError: every try failed.
            FeedProtocolError: the answer is larger than the limit.
        """
        for attempt in stamina.retry_context(
            on=self._wait_for,
            attempts=self._limits.tries,
            timeout=None,
            wait_initial=self._limits.backoff_s,
            wait_max=60 * self._limits.backoff_s,
            wait_jitter=self._limits.backoff_s,
        ):
            with attempt:
                return read(self._try(request))
        raise AssertionError("unreachable: stamina re-raises the last error")

    def _wait_for(self, error: Exception) -> bool | float:
        if not isinstance(error, TryAgainError):
            return False
        wait_s = error.retry_after_s
        if wait_s is not None:
            wait_s = min(wait_s, self._limits.retry_after_cap_s)
        _log.warning("feed.retrying", reason=str(error), wait_s=wait_s)
        return True if wait_s is None else wait_s

    def _try(self, request: Request) -> Answer:
        with Deadline(self._limits.deadline_s) as deadline:
            try:
                return self._ask(request, deadline)
            except httpx2.HTTPError as error:
                if deadline.passed:
                    raise _too_slow(request, self._limits) from None
                # Only a connect error's text says more than its name, and it holds no URL.
                detail = f": {error}" if isinstance(error, httpx2.ConnectError) else ""
                kind = type(error).__name__
                # `from None`: the cause holds the request, and with it keys and token.
                raise TryAgainError(f"{request.what}: no whole answer ({kind}{detail})") from None

    def _ask(self, request: Request, deadline: Deadline) -> Answer:
        # A connection for each request: a page takes far longer than a handshake, and
        # the deadline then knows whose connection to cut.
        with (
            httpx2.Client(
                verify=public_tls(), trust_env=False, timeout=self._limits.timeout_s
            ) as client,
            client.stream(
                request.method,
                request.url,
                params=request.params,
                json=request.json,
                headers=request.headers,
                extensions={"trace": deadline.note},
                follow_redirects=False,
            ) as response,
        ):
            if response.status_code == _TOO_MANY_REQUESTS or response.status_code >= _SERVER_ERRORS:
                raise TryAgainError(
                    f"{request.what}: answered {response.status_code}",
                    retry_after_s=read_retry_after(response.headers),
                )
            body = self._read_body(response, request) if response.is_success else b""
            if deadline.passed:
                raise _too_slow(request, self._limits)
            content_type = response.headers.get("content-type", "").partition(";")[0]
            return Answer(
                status=response.status_code, content_type=content_type.strip().lower(), body=body
            )

    def _read_body(self, response: httpx2.Response, request: Request) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._limits.max_body_bytes:
                raise FeedProtocolError(
                    f"{request.what}: the answer is larger than"
                    f" {self._limits.max_body_bytes} bytes; a smaller page_size may help"
                )
        return bytes(body)


def _too_slow(request: Request, limits: Limits) -> TryAgainError:
    return TryAgainError(f"{request.what}: no whole answer within {limits.deadline_s:g} s")


def read_retry_after(headers: httpx2.Headers) -> float | None:
    """Read ``Retry-After`` in seconds. A date counts from the server's own ``Date``."""
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit():
        return float(given)
    try:
        wait = parsedate_to_datetime(given) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):  # no date, or one with a zone and one without
        return None
    return max(0.0, wait.total_seconds())
