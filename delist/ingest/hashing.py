"""From the bytes of a row to hashes, and to what the deep tier finds; no pixel leaves this module.

(1) Bytes are unpacked under the limit of images, and those that are stored already are not hashed
    again.
(2) An image of the deep tier is searched here; what is left of its pixels stays here.
"""

from dataclasses import replace

from crawler.decoding import Decoding
from crawler.errors import RefusedError
from crawler.settings import CrawlSettings
from delist.ingest.files import open_below, read_media
from delist.ingest.rows import Body, Digest, FileName
from indexer.build import Indexer
from indexer.errors import Refusal
from indexer.hashing import VideoFile
from indexer.match import checked_digest, parse_digest
from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW, Background, HashedImage, ImageVisit
from indexer.visits import DeepResult

Media = Body | VideoFile | FileName | Digest
"""What is hashed, or was."""


class Hashing:
    """Hashes what rows hold."""

    def __init__(self, indexer: Indexer, limits: CrawlSettings) -> None:
        self._indexer = indexer
        self._max_bytes = indexer.settings.hashing.max_bytes
        self._max_video_bytes = limits.max_video_bytes

    def hash(self, url: str, content: Media, *, is_new: bool) -> HashedImage | None:  # (1)
        """Hash what is there; None: it is stored already.

        Args:
            url: its address, in canonical form.
            content: what there is.
            is_new: whether nothing is to be concluded from what is stored.

        Raises:
            RefusedError: the bytes cannot be had.
            ImageRefusedError: they cannot be hashed.
            InvalidDigestError: a digest that is none was brought.
        """
        if isinstance(content, Digest):
            return self._brought(content)
        data = self._bytes_of(content)
        if not is_new and self._indexer.is_current(url, data):
            return None
        if isinstance(data, VideoFile):
            return self._indexer.hash_video(data)
        return self._indexer.hash_image(data)

    def search(self, visit: ImageVisit) -> tuple[ImageVisit, DeepResult | None]:  # (2)
        """Search an image of the deep tier; returns it without what was left of its pixels."""
        if visit.hashed is None or visit.hashed.reduced is None:
            return visit, None
        found = self._indexer.search(visit)
        return replace(visit, hashed=replace(visit.hashed, reduced=None)), found

    def _bytes_of(self, content: Body | VideoFile | FileName) -> bytes | VideoFile:
        if isinstance(content, VideoFile):
            return content
        if isinstance(content, Body):
            return unpacked(content, most=self._max_bytes)
        with open_below(content.folder, content.name) as file:
            return read_media(
                file, max_bytes=self._max_bytes, max_video_bytes=self._max_video_bytes
            )

    def _brought(self, content: Digest) -> HashedImage:
        """Make an image of a digest alone: it meets signals as it is, in no other variant."""
        pdq = content.pdq
        if isinstance(pdq, bytes) and len(pdq) == 2 * DIGEST_BYTES:
            pdq = pdq.decode("latin-1")
        digest = parse_digest(pdq) if isinstance(pdq, str) else checked_digest(pdq)
        return HashedImage(
            rows=((Background.WHITE, digest * DIGESTS_PER_ROW),),
            quality=content.quality,
            sha256=content.sha256 or self._indexer.store.signals.content_name(digest),
            size_bytes=0,
            mime="",
            width=0,
            height=0,
        )


def unpacked(body: Body, *, most: int) -> bytes:
    """Undo the encodings of a body.

    Raises:
        RefusedError: ``too_many_bytes``, ``bad_encoding``.
    """
    if not body.encodings:
        return body.data
    decoding, found = Decoding(body.encodings), bytearray()
    for piece in decoding.feed(body.data):
        found += piece
        if len(found) > most:
            raise RefusedError(Refusal.TOO_MANY_BYTES.value)
    decoding.check_end()
    return bytes(found)
