"""What becomes of one row: visits of images, as a crawl would make them, or a named refusal.

Runs in several processes, each of which holds the store open for reading. Limits, names of
refusals, hashes and marks of pages are the crawler's. Bytes become hashes in ``hashing``, pages are
read in ``pages``.

(1) What an archive says is as old as the archive: it takes nothing from what was seen later.
(2) Rows are looked up together, before any is hashed: after each image that is hashed, the
    processor's caches hold nothing of this, and a look-up takes many times as long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from crawler.errors import RefusedError
from crawler.links import MAX_URL_CHARS
from crawler.settings import CrawlSettings
from delist.ingest.done import Done
from delist.ingest.hashing import Hashing
from delist.ingest.pages import PageReader
from delist.ingest.rows import Body, FileName, Moved, Page, Passed, Refused, Row
from indexer.build import Indexer
from indexer.errors import ImageRefusedError, InvalidDigestError, InvalidUrlError, StoreError
from indexer.hashing import VideoFile
from indexer.model import HASHER_VERSION, ImageVisit
from indexer.settings import IndexerSettings
from indexer.tables import StoredImage
from indexer.url import canonical_url, url_key

INVALID_URL, INVALID_PAGE_URL = "invalid_url", "invalid_page_url"
INVALID_DIGEST, OTHER_HASHER = "invalid_digest", "other_hasher_version"
INTERNAL_ERROR = "internal_error"

_log = structlog.get_logger()


class Worker:
    """Makes visits of rows."""

    def __init__(self, settings: IndexerSettings, crawl_settings: CrawlSettings) -> None:
        """Open the store of this process.

        Raises:
            StoreError: it cannot be opened.
        """
        self._indexer = Indexer(settings)
        self._hashing = Hashing(self._indexer, crawl_settings)
        self._pages = PageReader(self._indexer, crawl_settings, self._hashing)

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

    def _looked_up(self, rows: Sequence[Row]) -> Iterator[Row]:  # (2)
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
            return self._pages.read(url, content, row)
        if isinstance(content, StoredImage):
            return self._take(url, content, row)
        hashed = self._hashing.hash(url, content, is_new=row.is_new)
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
        visit, searched = self._hashing.search(visit)
        return Done(visits=(visit,), searched=(searched,), refusals=refusals)

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

    def _was_seen_after(self, url: str, then: datetime | None) -> bool:  # (1)
        record = self._indexer.find_image(url)
        is_own = record is not None and record.key == url_key(canonical_url(url))
        return is_own and record is not None and then is not None and record.seen_at > then


def _pages(urls: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Bring the addresses of pages in canonical form; one that is none costs no image."""
    found, refusals = list[str](), list[tuple[str, str]]()
    for url in urls:
        try:
            found.append(canonical_url(url))
        except InvalidUrlError:
            refusals.append((INVALID_PAGE_URL, url))
    return tuple(dict.fromkeys(found)), tuple(refusals)
