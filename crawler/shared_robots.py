"""A robots.txt is fetched once for all crawlers of a shared crawl, and kept for an hour.

(1) Whoever needs one first fetches it; the others wait for what it says.
(2) What a server answers with an error of its own (5xx) is not kept: each asks for itself.
"""

import asyncio
from typing import Self

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response, TextResponse

from crawler.middlewares import is_robots_request
from crawler.pacing import pacing_of
from crawler.settings import CrawlSettings
from crawler.sharing import connections_of
from indexer.url import url_key

_LOOK_EVERY_S = 0.1
_SERVER_ERROR = 500
_STATUS_BYTES = 2


class SharedRobotsMiddleware:
    """Answers for a robots.txt that another crawler has fetched."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._settings: CrawlSettings = crawler.settings["DELIST_SETTINGS"]

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build with the crawler's settings."""
        return cls(crawler)

    async def process_request(self, request: Request) -> Response | None:
        """Answer, or let the request pass. (1).

        Raises:
            FrontierError: Redis does not answer.
        """
        if not is_robots_request(request) or "redirect_urls" in request.meta:
            return None
        frontier = connections_of(self._crawler).frontier
        key = url_key(request.url)
        while not pacing_of(self._crawler).stopping:
            held = await frontier.recall(key)
            if held is not None:
                status = int.from_bytes(held[:_STATUS_BYTES], "big")
                return TextResponse(request.url, status=status, body=held[_STATUS_BYTES:])
            if await frontier.claim(key, seconds=self._settings.timeout_s):
                return None
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def process_response(self, request: Request, response: Response) -> Response:
        """Keep what a robots.txt says."""
        if is_robots_request(request):
            key = url_key(request.meta.get("redirect_urls", [request.url])[0])
            frontier = connections_of(self._crawler).frontier
            if response.status < _SERVER_ERROR:  # (2)
                status = response.status.to_bytes(_STATUS_BYTES, "big")
                await frontier.remember(key, status + response.body)
            else:
                await frontier.give_up(key)
        return response

    async def process_exception(self, request: Request, exception: Exception) -> None:
        """Let another one try."""
        del exception
        if is_robots_request(request):
            key = url_key(request.meta.get("redirect_urls", [request.url])[0])
            await connections_of(self._crawler).frontier.give_up(key)
