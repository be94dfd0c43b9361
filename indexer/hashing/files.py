"""Videos as files: the MD5 of all their bytes, taken as they come in, and their frames.

A video may be larger than what is held in memory. So its MD5 is taken piece by piece, and the
bytes are kept only as long as they are few enough to be decoded. The MD5 depends neither on
that nor on a decoder: it is of the file, whatever is in it.

What is a video, its first bytes say. Where they are of no format that is known, the media type
that came with them is believed: it costs an MD5 that nobody asks for.
"""

import hashlib
import re
from dataclasses import dataclass, field, replace

from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing.formats import sniff
from indexer.hashing.image import hash_within
from indexer.model import HashedImage
from indexer.settings import HashingSettings

HEAD_BYTES = 1024
"""What ``video_mime`` looks at."""

_VIDEO = "video/"
_MIME = re.compile(r"video/[a-z0-9][a-z0-9.+-]{0,63}", re.ASCII)
# Containers whose frames are not decoded here; signatures at the start.
_SIGNATURES = (
    (b"FLV\x01", "video/x-flv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-wmv"),
    (b"OggS", "video/ogg"),
    (b".RMF", "video/vnd.rn-realvideo"),
)
# QuickTime files from before there were brands begin with one of these boxes.
_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_STREAM_PACKET = 188
_STREAM_SYNC = b"G"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFile:
    """A video whose bytes have all been seen.

    Attributes:
        mime: media type.
        size_bytes: how many bytes there were.
        md5: of them, 16 bytes.
        sha256: of them, 32 bytes.
        data: the bytes, where they are few enough to be decoded, else None.
    """

    mime: str
    size_bytes: int
    md5: bytes = field(repr=False)
    sha256: bytes = field(repr=False)
    data: bytes | None = field(default=None, repr=False)


class FileDigest:
    """Takes the bytes of one video as they come in.

    Attributes:
        size_bytes: how many have come so far.
    """

    def __init__(self, mime: str, *, keep_bytes: int) -> None:
        """Keep the bytes as long as there are at most ``keep_bytes``, if they can be decoded."""
        self._mime = mime
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._keep_bytes = keep_bytes
        self._kept: bytearray | None = None
        self.size_bytes = 0

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        if not self.size_bytes and _is_decoded(data):
            self._kept = bytearray()
        self.size_bytes += len(data)
        self._md5.update(data)
        self._sha256.update(data)
        if self._kept is not None and self.size_bytes <= self._keep_bytes:
            self._kept += data
        else:
            self._kept = None

    def finish(self) -> VideoFile:
        """Return the whole file. Only to be called when its last byte has come."""
        return VideoFile(
            mime=self._mime,
            size_bytes=self.size_bytes,
            md5=self._md5.digest(),
            sha256=self._sha256.digest(),
            data=None if self._kept is None else bytes(self._kept),
        )


def video_mime(head: bytes, declared: str = "") -> str:
    """Name the media type of a video by its first bytes; empty for what is none.

    Args:
        head: the first ``HEAD_BYTES``, or all where there are fewer.
        declared: the media type that came with them.
    """
    declared = declared.partition(";")[0].strip().lower()
    form = sniff(head)
    if form is not None:
        return form.mime if form.mime.startswith(_VIDEO) else ""
    for signature, mime in _SIGNATURES:
        if head.startswith(signature):
            return "" if declared.startswith("audio/") else mime  # some hold sound alone
    if head[4:8] in _BOXES:
        return "video/quicktime"
    if len(head) > _STREAM_PACKET and head[::_STREAM_PACKET].strip(_STREAM_SYNC) == b"":
        return "video/mp2t"
    return declared if _MIME.fullmatch(declared) and _is_binary(head) else ""


def hash_bytes(data: bytes, limits: HashingSettings, *, deep: bool = False) -> HashedImage:
    """Hash the encoded bytes of an image or a video, within the limits of the configuration.

    Raises:
        ImageRefusedError: see ``hash_image``; never for a video, of which the MD5 is known.
    """
    mime = video_mime(data[:HEAD_BYTES])
    if not mime:
        return hash_within(data, limits, deep=deep)
    digest = FileDigest(mime, keep_bytes=limits.max_bytes)
    digest.update(data)
    return hash_video(digest.finish(), limits, deep=deep)


def hash_video(video: VideoFile, limits: HashingSettings, *, deep: bool = False) -> HashedImage:
    """Hash a video: its MD5, and its frames where its bytes are held and can be decoded.

    ``incomplete`` says why there are no frames.
    """
    try:
        if video.data is None:
            raise _why_not_held(video, limits)
        return replace(hash_within(video.data, limits, deep=deep), md5=video.md5)
    except ImageRefusedError as refused:
        return HashedImage(
            rows=(),
            quality=0,
            sha256=video.sha256,
            size_bytes=video.size_bytes,
            mime=video.mime,
            width=0,
            height=0,
            incomplete=refused.code,
            md5=video.md5,
        )


def _why_not_held(video: VideoFile, limits: HashingSettings) -> ImageRefusedError:
    if video.size_bytes > limits.max_bytes:
        return ImageRefusedError(Refusal.TOO_MANY_BYTES, "too large to be decoded")
    return ImageRefusedError(Refusal.UNSUPPORTED_FORMAT, "not decoded here")


def _is_decoded(head: bytes) -> bool:
    """Say whether frames can be decoded of a file that begins like this."""
    form = sniff(head)
    return form is not None and bool(form.demuxer) and not form.extra


def _is_binary(head: bytes) -> bool:
    """Say whether bytes are no text: a page or a play list is no video, whatever it is called."""
    return any(byte < ord("\t") for byte in head)
