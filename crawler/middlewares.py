"""Downloader middlewares: the address guard, and the pauses that servers ask for.

The guard stands at two places, because a host is a text first and an address
later: (1) ``AddressGuardMiddleware`` refuses literal addresses in any notation,
and schemes that are not http(s), for every request, redirects and robots.txt
included; (2) ``GuardedResolver`` refuses what a name resolves to. The address
that it hands out is the one that is connected to, so a second look-up with
another answer (DNS rebinding) cannot happen in between.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlsplit

from scrapy import Request, Spider, signals
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.redirect import MetaRefreshMiddleware, RedirectMiddleware
from scrapy.exceptions import CannotResolveHostError, DownloadTimeoutError, IgnoreRequest
from scrapy.http import Response
from scrapy.resolver import CachingThreadedResolver
from scrapy.robotstxt import RobotParser
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError

from crawler.errors import RefusedError
from crawler.pacing import pacing_of
from crawler.settings import CrawlSettings
from indexer.address import check_host, is_loopback, is_public
from indexer.errors import AddressRefusedError

PRIVATE_ADDRESS = "private_address"
MAX_ROBOTS_BYTES = 512 * 1024
"""What is read of a robots.txt; RFC 9309 asks for at least 500 KiB."""

_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
_DEFAULT_PAUSE_S = 1.0


class RequestRefusedError(RefusedError, IgnoreRequest):
    """A request that is not sent. Scrapy takes it as handled: no retry, no traceback."""


class AddressGuardMiddleware:
    """Refuses requests to addresses that are not public, and schemes that are not http(s)."""

    def __init__(self, crawler: Crawler) -> None:
        self._allow_private = crawler.settings.getbool("DELIST_ALLOW_PRIVATE_ADDRESSES")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build with the crawler's settings."""
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        """Let a request pass, or refuse it.

        Raises:
            RequestRefusedError: ``unsupported_scheme``, ``private_address`` or ``invalid_url``.
        """
        try:
            parts = urlsplit(request.url)
            host = parts.hostname or ""
        except ValueError:
            raise RequestRefusedError("invalid_url") from None
        if parts.scheme not in {"http", "https"}:
            raise RequestRefusedError("unsupported_scheme")
        if self._allow_private:
            return
        try:
            check_host(host)
        except AddressRefusedError:
            raise RequestRefusedError(PRIVATE_ADDRESS) from None

    def process_exception(self, request: Request, exception: Exception) -> None:
        """Name what the resolver refused; to Scrapy it is a name without address."""
        if isinstance(exception, CannotResolveHostError):
            host = (urlsplit(request.url).hostname or "").rstrip(".")
            if host in GuardedResolver.refused:
                raise RequestRefusedError(PRIVATE_ADDRESS) from None


class GuardedResolver(CachingThreadedResolver):
    """Resolves names, and refuses those that lead to addresses which are not public."""

    refused: set[str] = set()  # noqa: RUF012 - per process, like the reactor that resolves
    """Names refused so far, for the middleware to tell."""

    allow_private = False

    @classmethod
    def from_crawler(cls, crawler: Crawler, reactor: ReactorBase) -> Self:
        """Build with the settings of the process."""
        resolver = super().from_crawler(crawler, reactor)
        resolver.allow_private = crawler.settings.getbool("DELIST_ALLOW_PRIVATE_ADDRESSES")
        return resolver

    def getHostByName(self, name: str, timeout: Any = ()) -> "Deferred[str]":  # noqa: ANN401, N802 - Twisted's
        """Resolve a name to an address that may be connected to."""
        found = super().getHostByName(name, timeout)
        # Checked on every use, cached answers included.
        return found.addCallback(self._check, name)

    def _check(self, address: str, name: str) -> str:
        if self.allow_private or is_public(address):
            return address
        self.refused.add(name.rstrip("."))
        raise DNSLookupError("not a public address")


class TolerantRedirectMiddleware(RedirectMiddleware):
    """Follows redirects; a Location that cannot be read is refused under a name."""

    def process_response(  # noqa: D102 - as Scrapy's
        self,
        request: Request,
        response: Response,
        spider: Spider | None = None,  # noqa: ARG002 - as Scrapy's
    ) -> Request | Response:
        try:
            return super().process_response(request, response)
        except ValueError:
            raise RequestRefusedError("invalid_url") from None


class TolerantMetaRefreshMiddleware(MetaRefreshMiddleware):
    """Follows <meta http-equiv=refresh>; a broken <base> must not hide a page from us."""

    def process_response(  # noqa: D102 - as Scrapy's
        self,
        request: Request,
        response: Response,
        spider: Spider | None = None,  # noqa: ARG002 - as Scrapy's
    ) -> Request | Response:
        try:
            return super().process_response(request, response)
        except ValueError:
            return response


class RateLimitMiddleware:
    """Keeps to what servers ask for: ``Retry-After``, and the Crawl-delay of robots.txt.

    A 429 or 503 pauses its host, and the request is tried again a bounded number
    of times. Loopback hosts get no delay of our own between requests.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._pacing = pacing_of(crawler)
        self._settings: CrawlSettings = crawler.settings.get("DELIST_SETTINGS") or CrawlSettings()
        crawler.signals.connect(self.apply_crawl_delay, signal=signals.robots_parsed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build with the crawler's settings."""
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        """Take our own delay away for loopback hosts, before Scrapy makes their slot."""
        host = urlsplit(request.url).hostname or ""
        if is_loopback(host):
            slots = self._crawler.engine.downloader.per_slot_settings
            slots.setdefault(host, {"delay": 0.0, "jitter": 0.0})

    def process_response(self, request: Request, response: Response) -> Request | Response:
        """Pause the host after a 429 or 503, and try again while tries are left."""
        self._pacing.note_answer(urlsplit(request.url).hostname or "")
        if response.status not in {_TOO_MANY_REQUESTS, _UNAVAILABLE}:
            return response
        tries = request.meta.get("rate_limit_times", 0)
        pause_s = retry_after_s(response, now=datetime.now(UTC))
        if pause_s is None:
            pause_s = _DEFAULT_PAUSE_S * 2.0**tries
        host = urlsplit(request.url).hostname or ""
        self._pacing.pause(host, min(pause_s, self._settings.retry_after_cap_s))
        if tries >= self._settings.retries:
            return response
        again = request.replace(dont_filter=True)
        again.meta["rate_limit_times"] = tries + 1
        return again

    def process_exception(self, request: Request, exception: Exception) -> None:
        """Count timeouts, so that a host that only costs time is left alone."""
        if isinstance(exception, DownloadTimeoutError):
            self._pacing.note_timeout(urlsplit(request.url).hostname or "")

    def apply_crawl_delay(self, robotparser: RobotParser, request: Request) -> None:
        """Slow down as robots.txt asks (signal ``robots_parsed``)."""
        delay_s = robotparser.crawl_delay(self._settings.user_agent)
        if not delay_s or delay_s < 0:
            return
        delay_s = min(delay_s, self._settings.max_crawl_delay_s)
        host = urlsplit(request.url).hostname or ""
        if self._pacing.keep_delay(host, delay_s):
            return
        downloader = self._crawler.engine.downloader
        slot = downloader.per_slot_settings.setdefault(host, {"delay": self._settings.delay_s})
        slot["delay"] = max(delay_s, slot["delay"])
        if host in downloader.slots:
            downloader.slots[host].delay = slot["delay"]


class RobotsFileMiddleware:
    """Reads the status of a robots.txt as RFC 9309 does; Scrapy reads every body as rules.

    (1) 4xx: there are no rules. (2) 5xx: nothing may be fetched. (3) Only the
    first ``MAX_ROBOTS_BYTES`` are read.
    """

    def process_response(self, request: Request, response: Response) -> Response:
        """Replace the body of a robots.txt that is none."""
        if not is_robots_request(request):
            return response
        if 400 <= response.status < 500:  # noqa: PLR2004 - HTTP status classes
            return response.replace(body=b"")  # (1)
        if response.status >= 500:  # noqa: PLR2004
            return response.replace(body=b"User-agent: *\nDisallow: /\n")  # (2)
        if len(response.body) > MAX_ROBOTS_BYTES:
            return response.replace(body=response.body[:MAX_ROBOTS_BYTES])  # (3)
        return response


def retry_after_s(response: Response, *, now: datetime) -> float | None:
    """Read ``Retry-After`` in seconds, as a number or a date; None if there is none to read."""
    value = response.headers.get(b"Retry-After")
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), 10**9))
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())


def is_robots_request(request: Request) -> bool:
    """Say whether a request is Scrapy's own for a robots.txt."""
    return bool(request.meta.get("dont_obey_robotstxt")) and request.url.endswith("/robots.txt")
