"""Looking at bodies as they come in: a video is digested, anything else is passed on.

Scrapy gathers a body whole before anybody sees it. Of a video that would be hundreds of
megabytes, so its bytes end here: digested, and kept only while they are few enough to be
decoded. What the bytes are is decided by the first of them, unpacked; until then they wait.

A video that is not whole has no digest: a body that ends too early is refused by whoever
receives it, and never asked for its ``video``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crawler.decoding import Decoding
from crawler.errors import RefusedError
from crawler.refusals import http_code
from indexer.hashing import FileDigest, VideoFile, video_mime
from indexer.hashing.files import HEAD_BYTES

VIDEO_TOO_LARGE = "video_too_large"
_SUCCESS = range(200, 300)
_WHOLE = frozenset({200, 203})


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """What one body may cost.

    Attributes:
        max_video_bytes: largest video, unpacked.
        keep_bytes: largest video that is held for its frames.
    """

    max_video_bytes: int
    keep_bytes: int


class Body:
    """One body.

    Attributes:
        received_bytes: how many have come, as they were sent.
        is_video: None until that is known.
    """

    def __init__(
        self, *, status: int, declared: str, encodings: Sequence[str], limits: BodyLimits
    ) -> None:
        """Begin a body.

        Args:
            status: of the answer; only successes are looked at.
            declared: its Content-Type.
            encodings: the words of its Content-Encoding.
            limits: what it may cost.
        """
        self._status = status
        self._declared = declared
        self._limits = limits
        self._waiting = bytearray()
        self._head = bytearray()
        self._digest: FileDigest | None = None
        self._whole: VideoFile | None = None
        self.received_bytes = 0
        self.is_video: bool | None = None if status in _SUCCESS else False
        try:
            self._decoding = Decoding(encodings)
        except RefusedError:
            self.is_video = False  # whoever gets the bytes will name what is wrong with them

    def take(self, data: bytes) -> bytes:
        """Take the next bytes; returns what is to be passed on.

        Raises:
            RefusedError: ``video_too_large``, ``bad_encoding``, ``http_206``.
        """
        self.received_bytes += len(data)
        if self.is_video is False:
            return data
        try:
            return self._look(data)
        except RefusedError:
            if self.is_video or self._mime():
                raise
            return self._pass_on()

    def end(self) -> bytes:
        """Say that the body has come whole; returns what is to be passed on before its end.

        Raises:
            RefusedError: ``video_too_large``, ``bad_encoding``, ``http_206``.
        """
        rest = b""
        if self.is_video is None:
            rest = b"" if self._decide() else self._pass_on()
        if self._digest is not None:
            self._decoding.check_end()
            self._whole = self._digest.finish()
        return rest

    @property
    def video(self) -> VideoFile | None:
        """The video, once it has come whole."""
        return self._whole

    def _mime(self) -> str:
        return video_mime(bytes(self._head[:HEAD_BYTES]), self._declared)

    def _look(self, data: bytes) -> bytes:
        if self._digest is None:
            self._waiting += data
        for piece in self._decoding.feed(data):
            if self._digest is not None:
                self._add(piece)
                continue
            self._head += piece
            if len(self._head) >= HEAD_BYTES and not self._decide():
                return self._pass_on()
        return b""

    def _decide(self) -> bool:
        """Say what the bytes are; of a video, begin its digest."""
        mime = self._mime()
        self.is_video = bool(mime)
        if not mime:
            return False
        if self._status not in _WHOLE:
            raise RefusedError(http_code(self._status))  # 206: a part, which nobody asked for
        self._digest = FileDigest(mime, keep_bytes=self._limits.keep_bytes)
        self._add(bytes(self._head))
        self._waiting.clear()
        self._head.clear()
        return True

    def _pass_on(self) -> bytes:
        self.is_video = False
        waiting = bytes(self._waiting)
        self._waiting.clear()
        self._head.clear()
        return waiting

    def _add(self, piece: bytes) -> None:
        assert self._digest is not None  # noqa: S101 - the callers' choice
        if self._digest.size_bytes + len(piece) > self._limits.max_video_bytes:
            raise RefusedError(VIDEO_TOO_LARGE)
        self._digest.update(piece)
