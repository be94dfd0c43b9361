"""What a page of an archive says of images.

It gives its place, and what it says, to each image it names that is stored. Its ``data:``
images are images of their own. What an archive says is as old as the archive: it takes nothing
from what was seen later.
"""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from crawler.decoding import decode_data_url
from crawler.errors import RefusedError
from crawler.links import DATA_IMAGE
from crawler.settings import CrawlSettings
from delist.ingest.done import PAGE_READ, Done
from delist.ingest.hashing import Hashing, unpacked
from delist.ingest.rows import Body, Page, Row
from indexer.build import Indexer
from indexer.errors import ImageRefusedError
from indexer.model import ImageVisit
from indexer.url import inline_image_url, url_key
from indexer.visits import DeepResult

if TYPE_CHECKING:
    from crawler.page_reader import PageContext


class PageReader:
    """Reads pages."""

    def __init__(self, indexer: Indexer, limits: CrawlSettings, hashing: Hashing) -> None:
        self._indexer, self._limits, self._hashing = indexer, limits, hashing
        self._max_bytes = indexer.settings.hashing.max_bytes

    def read(self, page_url: str, page: Page, row: Row) -> Done:
        """Read a page.

        Args:
            page_url: its address, in canonical form.
            page: what it holds.
            row: which says when that was.

        Raises:
            RefusedError: it cannot be unpacked.
        """
        # Only archives have pages: Scrapy and its parser are loaded for them alone.
        from scrapy.http import Headers, HtmlResponse  # noqa: PLC0415

        from crawler.reading import read_page  # noqa: PLC0415

        body = unpacked(page.body, most=self._limits.max_page_bytes)
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
                visit, found = self._hashing.search(visit)
                visits.append(visit)
                searched.append(found)
        for url in links.page_urls:  # what looks like a page may be an image
            places += self._placed(url, page_url, None, row.seen_at, marked)
        return Done(
            visits=tuple(visits),
            searched=tuple(searched),
            places=tuple(places),
            refusals=tuple(refusals),
            passed=PAGE_READ,
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
        is_older = seen_at is not None and seen_at < record.seen_at and record.key in marked
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
            hashed=self._hashing.hash(name, Body(data), is_new=row.is_new),
            seen_at=row.seen_at,
        )
