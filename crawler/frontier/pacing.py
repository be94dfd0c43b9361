"""Pacing that all machines share: a transfer waits for its host's turn, which Redis gives out."""

import asyncio

from crawler.frontier.frontier import Frontier
from crawler.pacing import Pacing
from crawler.settings import CrawlSettings
from indexer.address import is_loopback

_LOOK_EVERY_S = 1.0


class SharedPacing(Pacing):
    """Gate that every transfer passes, redirects and robots.txt included."""

    def __init__(self, settings: CrawlSettings, frontier: Frontier) -> None:
        super().__init__(settings)
        self._own_delay_ms = int(settings.delay_s * 1000)
        self._frontier = frontier
        self._telling: dict[str, asyncio.Future[None]] = {}

    def delay_ms(self, host: str) -> int:
        """Return the pause between two requests to a host of which nothing is known."""
        return 0 if is_loopback(host) else self._own_delay_ms

    def pause(self, host: str, seconds: float) -> None:
        """Start no transfer from a host for some seconds, on any machine."""
        super().pause(host, seconds)
        self._tell(host, pause_ms=int(seconds * 1000))

    def keep_delay(self, host: str, seconds: float) -> bool:
        """Keep at least so long between two requests to a host, on every machine."""
        self._tell(host, delay_ms=int(seconds * 1000))
        return True

    async def take_turn(self, host: str) -> None:
        """Wait for the next turn of a host.

        Raises:
            FrontierError: Redis does not answer.
        """
        if host in self._telling:
            await self._telling[host]
        left_s = await self._frontier.wait_ms(host, delay_ms=self.delay_ms(host)) / 1000
        while left_s > 0 and not self.stopping:
            await asyncio.sleep(min(left_s, _LOOK_EVERY_S))
            left_s -= _LOOK_EVERY_S

    def _tell(self, host: str, *, delay_ms: int = 0, pause_ms: int = 0) -> None:
        before = self._telling.get(host)

        async def tell() -> None:
            if before is not None:
                await before
            await self._frontier.slow_down(host, delay_ms=delay_ms, pause_ms=pause_ms)

        telling = asyncio.ensure_future(tell())
        self._telling[host] = telling
        telling.add_done_callback(lambda done: self._told(host, done))

    def _told(self, host: str, done: "asyncio.Future[None]") -> None:
        if not done.cancelled():
            done.exception()  # whoever takes the next turn meets the same
        if self._telling.get(host) is done:
            del self._telling[host]
