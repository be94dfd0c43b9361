"""The download handler: Scrapy's, with the bounds that it lacks.

Scrapy bounds a body (``DOWNLOAD_MAXSIZE``) and the time of an answer
(``DOWNLOAD_TIMEOUT``), but neither the header section, which Twisted would
gather until the time is over, nor all transfers together: what a pipeline
downloads passes by ``CONCURRENT_REQUESTS``.
"""

from typing import Any
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.core.downloader.handlers.http11 import (
    HTTP11DownloadHandler,
    _LenientHTTP11ClientFactory,
    _LenientHTTP11ClientProtocol,
    _LenientHTTPClientParser,
)
from scrapy.crawler import Crawler
from scrapy.http import Response
from twisted.internet.interfaces import IAddress
from twisted.web._newclient import HTTP11ClientProtocol, ParseError

from crawler.errors import RefusedError
from crawler.middlewares import RequestRefusedError
from crawler.pacing import pacing_of
from crawler.settings import CrawlSettings


class BoundedDownloadHandler(HTTP11DownloadHandler):
    """Downloads over HTTP/1.1 when there is room, and reads headers up to a limit."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        settings: CrawlSettings = crawler.settings.get("DELIST_SETTINGS") or CrawlSettings()
        self._pacing = pacing_of(crawler)
        self._pool._factory = _factory(settings.max_header_bytes)  # noqa: SLF001 - as Scrapy does

    async def download_request(self, request: Request) -> Response:
        """Download when a transfer may start.

        Raises:
            RequestRefusedError: the crawl is stopping, or the host was given up.
        """
        host = urlsplit(request.url).hostname or ""
        try:
            async with self._pacing.transfer(host):
                return await super().download_request(request)
        except RefusedError as refused:
            raise RequestRefusedError(refused.code) from None


def _factory(max_header_bytes: int) -> type[_LenientHTTP11ClientFactory]:
    """Make the connection factory for one limit; Twisted's pool takes a class."""

    class Parser(_LenientHTTPClientParser):
        _header_bytes = 0

        def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's
            self._header_bytes += len(line) + 2
            if self._header_bytes > max_header_bytes:
                raise ParseError("too many header bytes", b"")  # type: ignore[no-untyped-call]
            super().lineReceived(line)

    class Protocol(_LenientHTTP11ClientProtocol):
        def request(self, request: Any) -> Any:  # noqa: ANN401 - Twisted's, untyped
            answer = super().request(request)
            if self._parser is not None:
                self._parser.__class__ = Parser
            return answer

    class Factory(_LenientHTTP11ClientFactory):
        def buildProtocol(self, addr: IAddress | None) -> HTTP11ClientProtocol:  # noqa: ARG002, N802
            return Protocol(self._quiescentCallback)  # type: ignore[no-untyped-call]

    return Factory
