"""Scrapy's HTTP agent, with a look at each body on its way in.

Between Twisted, which delivers a body in pieces, and Scrapy's reader, which gathers them,
stands a ``Body``: what is no video goes on to the reader, what is one ends in the ``Body``.
Scrapy's limits hold for the former, those of videos for the latter:

(1) A body that says it is larger than Scrapy's limit is let begin if a video may be so large;
    as soon as it turns out to be none it is ended.
(2) A video may take longer than Scrapy's time-out, as long as enough of it has come in.
"""

from time import monotonic
from typing import Any, cast

from scrapy import Request
from scrapy.core.downloader.handlers.http11 import _ScrapyAgent
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Response as TxResponse
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH

from crawler.bodies import VIDEO_TOO_LARGE, Body, BodyLimits
from crawler.decoding import read_encodings
from crawler.errors import RefusedError

VIDEO = "delist_video"
"""Key of a request's meta: the ``VideoFile`` that answered it."""


class VideoAgent(_ScrapyAgent):
    """Downloads one answer.

    Attributes:
        body: of the answer, once it has begun.
        refused: why the transfer was ended here.
    """

    def __init__(
        self,
        limits: BodyLimits,
        *,
        min_bytes_per_s: int,
        **scrapy: Any,  # noqa: ANN401 - Scrapy's
    ) -> None:
        super().__init__(**scrapy)
        self._limits = limits
        self._min_bytes_per_s = min_bytes_per_s
        self._began_at = monotonic()
        self.body: Body | None = None
        self.refused: RefusedError | None = None

    def _cb_bodyready(self, txresponse: TxResponse, request: Request) -> Any:  # noqa: ANN401 - Scrapy's
        headers = txresponse.headers
        declared = (headers.getRawHeaders(b"Content-Type") or [b""])[-1].decode("latin-1")
        self.body = body = Body(
            status=cast("int", txresponse.code),
            declared=declared,
            encodings=read_encodings(headers.getRawHeaders(b"Content-Encoding") or []),
            limits=self._limits,
        )
        most = request.meta.get("download_maxsize", self._maxsize)
        length = 0 if txresponse.length == UNKNOWN_LENGTH else cast("int", txresponse.length)
        is_too_large = bool(most) and length > most
        if is_too_large and body.is_video is None:
            if length <= self._limits.max_video_bytes:
                txresponse.length = UNKNOWN_LENGTH  # (1)
            elif declared.lower().startswith("video/"):
                self.refused = RefusedError(VIDEO_TOO_LARGE)
        deliver: Any = txresponse.deliverBody
        txresponse.deliverBody = lambda reader: deliver(  # type: ignore[method-assign]
            _Tap(reader, self, body, only_video=is_too_large)
        )
        timeout_s = request.meta.get("download_timeout") or self._connectTimeout
        self._timeout_s = float(timeout_s)
        return super()._cb_bodyready(txresponse, request)

    def allow_time(self, received_bytes: int) -> None:
        """Let the transfer of a video go on for as long as its bytes so far pay for."""  # (2)
        due = self._began_at + self._timeout_s + received_bytes / self._min_bytes_per_s
        timer: Any = self._timeout_cl
        if timer.active():
            timer.reset(max(0.0, due - monotonic()))


class _Tap(Protocol):
    """Hands what comes in to a ``Body``, and what that passes on to Scrapy's reader."""

    def __init__(self, reader: Any, agent: VideoAgent, body: Body, *, only_video: bool) -> None:  # noqa: ANN401 - Scrapy's
        self._reader = reader
        self._agent = agent
        self._body = body
        self._only_video = only_video

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's
        self._reader.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's
        if self._reader._finished.called:  # noqa: SLF001 - as the reader does itself
            return
        try:
            self._pass(self._body.take(data))
        except RefusedError as refused:
            self._agent.refused = refused
            self._reader._finished.cancel()  # noqa: SLF001 - as the reader does at its limit
            return
        if self._body.is_video:
            self._agent.allow_time(self._body.received_bytes)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's
        whole: Any = reason.check(ResponseDone, PotentialDataLoss)  # type: ignore[no-untyped-call]
        if whole and not self._reader._finished.called:  # noqa: SLF001 - as above
            try:
                self._pass(self._body.end())
            except RefusedError as refused:
                failure = Failure(refused)  # type: ignore[no-untyped-call]
                self._reader._finished.errback(failure)  # noqa: SLF001 - as above
                return
        self._reader.connectionLost(reason)

    def _pass(self, rest: bytes) -> None:
        if rest and self._only_video:
            self._reader._finished.cancel()  # noqa: SLF001 - as above
        elif rest:
            self._reader.dataReceived(rest)
