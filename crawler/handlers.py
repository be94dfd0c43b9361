"""The download handler: Scrapy's, with the bounds that it lacks.

Scrapy bounds a body (``DOWNLOAD_MAXSIZE``) and the time of an answer
(``DOWNLOAD_TIMEOUT``), but neither the header section, which Twisted would
gather until the time is over, nor all transfers together: what a pipeline
downloads passes by ``CONCURRENT_REQUESTS``. And it gathers every body whole: a
video is digested as it comes in instead (``crawler.bodies``).
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
from scrapy.exceptions import DownloadCancelledError
from scrapy.http import Response
from scrapy.utils._download_handlers import wrap_twisted_exceptions
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.interfaces import IAddress
from twisted.web._newclient import HTTP11ClientProtocol, ParseError

from crawler.agent import VIDEO, VideoAgent
from crawler.bodies import BodyLimits
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
        self._min_bytes_per_s = settings.min_video_bytes_per_s
        self._limits = BodyLimits(
            max_video_bytes=settings.max_video_bytes,
            keep_bytes=crawler.settings.getint("DELIST_MAX_IMAGE_BYTES"),
        )
        self._pool._factory = _factory(settings.max_header_bytes)  # noqa: SLF001 - as Scrapy does

    async def download_request(self, request: Request) -> Response:
        """Download when a transfer may start.

        Raises:
            RequestRefusedError: the crawl is stopping, or the host was given up.
        """
        host = urlsplit(request.url).hostname or ""
        try:
            async with self._pacing.transfer(host):
                return await self._download(request)
        except RefusedError as refused:
            raise RequestRefusedError(refused.code) from None

    async def _download(self, request: Request) -> Response:
        """Download; a video comes as ``request.meta[VIDEO]``, and the response without a body."""
        request.meta.pop(VIDEO, None)  # of an answer that redirected here
        agent = VideoAgent(
            self._limits,
            min_bytes_per_s=self._min_bytes_per_s,
            contextFactory=self._contextFactory,
            bindAddress=self._bind_address,
            pool=self._pool,
            maxsize=self._default_maxsize,
            crawler=self._crawler,
        )
        try:
            with wrap_twisted_exceptions():
                response: Response = await maybe_deferred_to_future(agent.download_request(request))
        except DownloadCancelledError:
            if agent.refused is not None:
                raise agent.refused from None
            raise
        video = agent.body.video if agent.body else None
        if video is not None:
            request.meta[VIDEO] = video
            response.headers.pop(b"Content-Encoding", None)  # undone already
        return response


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
