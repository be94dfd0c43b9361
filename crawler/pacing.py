"""What bounds a crawl: transfers at once, bytes that wait for hashing, hosts that ask for a pause.

One ``Pacing`` for each Scrapy crawler, shared by the middlewares, the download
handler and the pipeline. Runs on the event loop alone; needs no locks.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from crawler.errors import RefusedError
from crawler.settings import CrawlSettings


class Pacing:
    """Gate that every transfer passes."""

    def __init__(self, settings: CrawlSettings) -> None:
        self._settings = settings
        self._transfers = asyncio.Semaphore(settings.concurrent_requests)
        self._pending_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._paused_until: dict[str, float] = {}
        self._failures: Counter[str] = Counter()
        self.stopping = False

    @asynccontextmanager
    async def transfer(self, host: str) -> AsyncIterator[None]:
        """Wait until a transfer from a host may start; hold its place while it lasts.

        Raises:
            RefusedError: the crawl is stopping, or the host was given up.
        """
        await self._wait_out_pause(host)
        await self._room.wait()
        async with self._transfers:
            self._check(host)
            await self.take_turn(host)
            self._check(host)
            yield

    def pause(self, host: str, seconds: float) -> None:
        """Start no transfer from a host for some seconds."""
        until = monotonic() + seconds
        self._paused_until[host] = max(until, self._paused_until.get(host, 0))

    def keep_delay(self, host: str, seconds: float) -> bool:  # noqa: ARG002 - of one machine
        """Keep at least so long between two requests to a host; False: Scrapy's slots do that."""
        return False

    async def take_turn(self, host: str) -> None:
        """Wait until no other machine would be too close; alone there is none."""

    def note_timeout(self, host: str) -> None:
        """Count one more timeout in a row."""
        self._failures[host] += 1

    def note_answer(self, host: str) -> None:
        """Start counting timeouts anew: the host answered."""
        self._failures.pop(host, None)

    @contextmanager
    def pending(self, size_bytes: int) -> Iterator[None]:
        """Count bytes that are held in memory until they are hashed."""
        self._add_pending(size_bytes)
        try:
            yield
        finally:
            self._add_pending(-size_bytes)

    def _add_pending(self, size_bytes: int) -> None:
        self._pending_bytes += size_bytes
        if self._pending_bytes > self._settings.pending_bytes:
            self._room.clear()
        else:
            self._room.set()

    async def _wait_out_pause(self, host: str) -> None:
        while not self.stopping:
            left = self._paused_until.get(host, 0) - monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, 1))

    def _check(self, host: str) -> None:
        if self.stopping:
            raise RefusedError("stopped")
        if self._failures[host] >= self._settings.host_failure_limit:
            raise RefusedError("host_given_up")


def use_pacing(crawler: Any, pacing: Pacing) -> None:  # noqa: ANN401 - a scrapy.crawler.Crawler, which is not imported here
    """Set the pacing of a Scrapy crawler, before anybody has asked for it."""
    _PACINGS[crawler] = pacing


_PACINGS: WeakKeyDictionary[Any, Pacing] = WeakKeyDictionary()


def pacing_of(crawler: Any) -> Pacing:  # noqa: ANN401 - a scrapy.crawler.Crawler, which is not imported here
    """Return the pacing of a Scrapy crawler, made on first use."""
    if crawler not in _PACINGS:
        settings = crawler.settings.get("DELIST_SETTINGS") or CrawlSettings()
        _PACINGS[crawler] = Pacing(settings)
    return _PACINGS[crawler]
