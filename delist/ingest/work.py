"""What becomes of one row: visits of images, as a crawl would make them, or a named refusal.

Runs in several processes, each of which holds the store open for reading. Limits, names of
refusals, hashes and marks of pages are the crawler's; no pixel leaves this module.

(1) Bytes are unpacked under the limit of images, and those that are stored already are not hashed
    again.
(2) An image of the deep tier is searched here; what is left of its pixels stays here.
(3) A page gives its place, and what it says, to each image it names that is stored. Its ``data:``
    images are images of their own.
(4) What an archive says is as old as the archive: it takes nothing from what was seen later.
(5) Rows are looked up together, before any is hashed: after each image that is hashed, the
    processor's caches hold nothing of this, and a look-up takes many times as long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from crawler.decoding import Decoding, decode_data_url
from crawler.errors import RefusedError
from crawler.links import DATA_IMAGE, MAX_URL_CHARS
from crawler.settings import CrawlSettings
from delist.ingest.files import open_below, read_media
from delist.ingest.rows import Body, Digest, FileName, Moved, Page, Passed, Refused, Row
from indexer.build import Indexer
from indexer.errors import (
    ImageRefusedError,
    InvalidDigestError,
    InvalidUrlError,
    Refusal,
    StoreError,
)
from indexer.hashing import VideoFile
from indexer.match import checked_digest, parse_digest
from indexer.model import (
    DIGEST_BYTES,
    DIGESTS_PER_ROW,
    HASHER_VERSION,
    Background,
    HashedImage,
    ImageVisit,
)
from indexer.settings import IndexerSettings
from indexer.tables import StoredImage
from indexer.url import canonical_url, inline_image_url, url_key
from indexer.visits import DeepResult

if TYPE_CHECKING:
    from crawler.page_reader import PageContext

INVALID_URL, INVALID_PAGE_URL = "invalid_url", "invalid_page_url"
INVALID_DIGEST, OTHER_HASHER = "invalid_digest", "other_hasher_version"
INTERNAL_ERROR = "internal_error"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of one row.

    Attributes:
        visits: images that were there.
        searched: what the deep tier found, one for each of ``visits``.
        places: visits that only say where images that are stored were seen.
        refusals: code and address of each thing that was refused.
        passed: what the row was, where it was none of this pass.
    """

    visits: tuple[ImageVisit, ...] = ()
    searched: tuple[DeepResult | None, ...] = ()
    places: tuple[ImageVisit, ...] = ()
    refusals: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    passed: str = ""

    @property
    def is_page(self) -> bool:
        """Whether it was a page that was read."""
        return self.passed == _PAGE_READ


_PAGE_READ = "pages_read"


class Worker:
    """Makes visits of rows."""

    def __init__(self, settings: IndexerSettings, crawl_settings: CrawlSettings) -> None:
        """Open the store of this process.

        Raises:
            StoreError: it cannot be opened.
        """
        self._indexer = Indexer(settings)
        self._limits = crawl_settings
        self._max_bytes = settings.hashing.max_bytes

    def do_all(self, rows: Sequence[Row]) -> list[Done]:
        """Do what ``do`` does, for many rows."""
        return [self.do(row) for row in tuple(self._looked_up(rows))]

    def do(self, row: Row) -> Done:
        """Make visits of a row.

        Raises:
            StoreError: the store failed; nothing that follows could be kept.
        """
        try:
            return self._do(row)
        except RefusedError as refused:
            code = refused.code
        except ImageRefusedError as error:
            code = error.code.value
        except InvalidUrlError:
            code = INVALID_URL
        except InvalidDigestError:
            code = INVALID_DIGEST
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of one row
            _log.error("ingest.internal_error", exception=type(error).__name__)
            code = INTERNAL_ERROR
        return Done(refusals=((code, row.url),))

    def close(self) -> None:
        """Close the store."""
        self._indexer.close()

    def _looked_up(self, rows: Sequence[Row]) -> Iterator[Row]:  # (5)
        with self._indexer.store.read() as txn:
            for row in rows:
                is_hashed = isinstance(row.content, Body | FileName | VideoFile)
                if row.is_new or not is_hashed or len(row.url) > MAX_URL_CHARS:
                    yield row
                    continue
                try:
                    record = self._indexer.store.images.find_by_url(txn, row.url)
                except InvalidUrlError:
                    yield row  # ``do`` names it
                else:
                    yield row if record is not None else replace(row, is_new=True)

    def _do(self, row: Row) -> Done:
        content = row.content
        if isinstance(content, Refused):
            raise RefusedError(content.code)
        if isinstance(content, Passed):
            return Done(passed=content.kind)
        if len(row.url) > MAX_URL_CHARS:
            raise RefusedError(INVALID_URL)
        url = canonical_url(row.url)
        if isinstance(content, Moved):
            return Done(places=tuple(self._led(url, content.to, row.seen_at)))
        if isinstance(content, Page):
            return self._read(url, content, row)
        if isinstance(content, StoredImage):
            return self._take(url, content, row)
        hashed = self._hash(url, content, is_new=row.is_new)
        page_urls, refusals = _pages(row.page_urls)
        visit = ImageVisit(
            image_url=url,
            page_urls=page_urls,
            document_id=row.document_id,
            etag=row.etag,
            last_modified=row.last_modified,
            hashed=hashed,
            seen_at=row.seen_at,
        )
        searched = self._search(visit)
        return Done(visits=(_let_go(visit),), searched=(searched,), refusals=refusals)

    def _hash(
        self, url: str, content: Body | VideoFile | FileName | Digest, *, is_new: bool
    ) -> HashedImage | None:
        """Hash what is there; None: it is stored already."""  # (1)
        if isinstance(content, Digest):
            return self._brought(content)
        data = self._bytes_of(content)
        if not is_new and self._indexer.is_current(url, data):
            return None
        if isinstance(data, VideoFile):
            return self._indexer.hash_video(data)
        return self._indexer.hash_image(data)

    def _bytes_of(self, content: Body | VideoFile | FileName) -> bytes | VideoFile:
        if isinstance(content, VideoFile):
            return content
        if isinstance(content, Body):
            return _unpacked(content, most=self._max_bytes)
        with open_below(content.folder, content.name) as file:
            return read_media(
                file, max_bytes=self._max_bytes, max_video_bytes=self._limits.max_video_bytes
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

    def _search(self, visit: ImageVisit) -> DeepResult | None:  # (2)
        has_pixels = visit.hashed is not None and visit.hashed.reduced is not None
        return self._indexer.search(visit) if has_pixels else None

    def _take(self, url: str, image: StoredImage, row: Row) -> Done:
        """Take an image over from another store's export."""
        if image.hasher_version != HASHER_VERSION:
            raise RefusedError(OTHER_HASHER)
        is_held = not row.is_new and self._indexer.is_current(url, image.hashed)
        page_urls, refusals = _pages(image.page_urls)
        visit = ImageVisit(
            image_url=url,
            page_urls=page_urls,
            aliases=tuple(
                alias for alias in image.aliases if not self._was_seen_after(alias, row.seen_at)
            ),
            document_id=image.document_id,
            etag=image.etag,
            last_modified=image.last_modified,
            hashed=None if is_held else image.hashed,
            seen_at=image.seen_at,
            known_since=image.hashed_at,
        )
        places = tuple(
            ImageVisit(
                image_url=url,
                page_urls=(canonical_url(page_url),),
                page_marks=marks,
                hashed=None,
                seen_at=image.seen_at,
            )
            for page_url, marks in image.page_marks
        )
        return Done(visits=(visit,), searched=(None,), places=places, refusals=refusals)

    def _led(self, url: str, to: str, seen_at: datetime | None) -> Iterator[ImageVisit]:
        """Say that an address led to an image that is stored."""
        record = self._indexer.find_image(to)
        if record is None or record.key == url_key(url) or self._was_seen_after(url, seen_at):
            return
        yield ImageVisit(image_url=record.image_url, aliases=(url,), hashed=None, seen_at=seen_at)

    def _was_seen_after(self, url: str, then: datetime | None) -> bool:  # (4)
        record = self._indexer.find_image(url)
        is_own = record is not None and record.key == url_key(canonical_url(url))
        return is_own and record is not None and then is not None and record.seen_at > then

    def _read(self, page_url: str, page: Page, row: Row) -> Done:  # (3)
        # Only archives have pages: Scrapy and its parser are loaded for them alone.
        from scrapy.http import Headers, HtmlResponse  # noqa: PLC0415

        from crawler.reading import read_page  # noqa: PLC0415

        body = _unpacked(page.body, most=self._limits.max_page_bytes)
        response = HtmlResponse(page_url, headers=Headers(list(page.headers)), body=body)
        links, context = read_page(response, page_url, self._limits)
        visits, searched = list[ImageVisit](), list[DeepResult | None]()
        places, refusals = list[ImageVisit](), list[tuple[str, str]]()
        with self._indexer.store.read() as txn:
            marked = set(self._indexer.store.images.page_marks.of_page(txn, url_key(page_url)))
        for url in (*links.image_urls, *links.video_urls):
            if url[: len(DATA_IMAGE)].lower() != DATA_IMAGE:
                places += self._placed(url, page_url, context, row.seen_at, marked)
                continue
            try:
                visit = self._inline(url, page_url, context, row)
            except RefusedError as refused:
                refusals.append((refused.code, page_url))
            except ImageRefusedError as error:
                refusals.append((error.code.value, page_url))
            else:
                searched.append(self._search(visit))
                visits.append(_let_go(visit))
        for url in links.page_urls:  # what looks like a page may be an image
            places += self._placed(url, page_url, None, row.seen_at, marked)
        return Done(
            visits=tuple(visits),
            searched=tuple(searched),
            places=tuple(places),
            refusals=tuple(refusals),
            passed=_PAGE_READ,
        )

    def _placed(
        self,
        url: str,
        page_url: str,
        context: "PageContext | None",
        seen_at: datetime | None,
        marked: set[bytes],
    ) -> Iterator[ImageVisit]:
        record = self._indexer.find_image(url)
        if record is None:
            return
        is_older = seen_at is not None and seen_at < record.seen_at and record.key in marked  # (4)
        yield ImageVisit(
            image_url=record.image_url,
            page_urls=(page_url,),
            page_marks=None if is_older or context is None else context.of(url),
            hashed=None,
            seen_at=seen_at,
        )

    def _inline(self, url: str, page_url: str, context: "PageContext", row: Row) -> ImageVisit:
        data = decode_data_url(url, max_bytes=self._max_bytes)
        name = inline_image_url(page_url, sha256(data).digest())
        return ImageVisit(
            image_url=name,
            page_urls=(page_url,),
            page_marks=context.of(url),
            hashed=self._hash(name, Body(data), is_new=row.is_new),
            seen_at=row.seen_at,
        )


def _let_go(visit: ImageVisit) -> ImageVisit:
    """Drop what is left of an image's pixels."""
    if visit.hashed is None or visit.hashed.reduced is None:
        return visit
    return replace(visit, hashed=replace(visit.hashed, reduced=None))


def _unpacked(body: Body, *, most: int) -> bytes:
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


def _pages(urls: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Bring the addresses of pages in canonical form; one that is none costs no image."""
    found, refusals = list[str](), list[tuple[str, str]]()
    for url in urls:
        try:
            found.append(canonical_url(url))
        except InvalidUrlError:
            refusals.append((INVALID_PAGE_URL, url))
    return tuple(dict.fromkeys(found)), tuple(refusals)
