"""The pipeline that fetches images, hashes them and records the visits.

The only module that holds image bytes: they go from the response to the hasher
and are dropped. Nothing here writes a file, and no digest or URL is logged.

The steps for one image URL:

(1) Each URL is fetched once in a crawl. Seen again on another page, only the
    page is added to its record.
(2) A stored image is asked for with its ETag and date. A 304 that came by a
    redirect says nothing about what is stored, so it is asked for again without.
(3) Bytes that equal those stored are not hashed again, unless the hasher changed.
(4) The rest is hashed in a worker thread, and the bytes are let go.
(5) The visit is recorded in a batch; only then is the image reported.
(6) What the page said before of images that it no longer names ends.

Videos take the same steps. Their bytes were digested on the way in (``crawler.bodies``) and
come here only where they are few enough for their frames to be decoded.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from itemadapter import ItemAdapter
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK

from crawler.agent import VIDEO
from crawler.decoding import decode_data_url
from crawler.errors import RefusedError
from crawler.links import DATA_IMAGE
from crawler.pacing import pacing_of
from crawler.page_reader import PageContext
from crawler.places import Place
from crawler.refusals import INTERNAL_ERROR, http_code, refusal_code
from crawler.settings import CrawlSettings
from crawler.tally import Tally
from crawler.writer import VisitWriter
from indexer.errors import InvalidUrlError, Refusal, StoreError
from indexer.hashing import VideoFile
from indexer.model import (
    HASHER_VERSION,
    HashedImage,
    ImageRecord,
    ImageVisit,
    VisitOutcome,
    VisitResult,
)
from indexer.url import canonical_url, inline_image_url, url_key

if TYPE_CHECKING:
    from indexer import Indexer

_OK = range(200, 300)
_NOT_MODIFIED = 304
_MAX_VALIDATOR_CHARS = 1024
STOPPED = "stopped"
"""Code of what was not fetched since the crawl ended."""
ACCEPT = {"Accept": "image/avif,image/webp,image/*,*/*;q=0.8"}
ACCEPT_VIDEO = {"Accept": "video/*,*/*;q=0.8", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedImage:
    """An item of our own spider: a page request that was answered with an image.

    Attributes:
        page_url: the page that linked to it, or None for a seed.
        seed: position among the job's URLs, if it is one of them.
    """

    response: Response = field(repr=False)
    page_url: str | None = field(repr=False)
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOutcome:
    """What became of one image; small, since every image of a crawl leaves one."""

    final_url: str = field(repr=False)
    outcome: VisitOutcome | None = None
    code: str | None = None
    matches: int = 0
    hashes: tuple[dict[str, str], ...] = field(default=(), repr=False)
    is_video: bool = False
    no_frames: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAt:
    """An item of our own spider: an image that the job names by itself, without a page.

    Attributes:
        position: among the job's ``image_urls``.
    """

    url: str = field(repr=False)
    position: int


class HashImagesPipeline:
    """Hashes the images of items, as Scrapy's ImagesPipeline stores them.

    Reads ``image_urls`` and ``video_urls`` (http(s) and ``data:`` URLs) and ``page_url``,
    as far as they are present. Writes ``images`` and ``videos``: one dict each, with ``url``,
    ``outcome`` (``hashed``, ``unchanged`` or ``refused``), ``code`` of a refusal, ``hashes``
    (of ``hasher``, ``variant`` and ``digest``, empty unless hashed now) and ``matches``.
    ``page_context`` (``crawler.page_reader.PageContext``) tells what the page says of itself and
    of each image; without it what is stored stays as it is.
    Videos larger than ``hashing.max_bytes`` need our download handler (``DOWNLOAD_HANDLERS``
    of ``crawler.settings.scrapy_settings``).

    Scrapy settings: ``DELIST_CONFIG`` and ``DELIST_DATA_DIR`` (paths, as for the
    command line), ``DELIST_ITEM_HASHES`` (False leaves ``hashes`` empty).
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._settings: CrawlSettings = crawler.settings.get("DELIST_SETTINGS") or CrawlSettings()
        self._with_hashes = crawler.settings.getbool("DELIST_ITEM_HASHES", True)
        self._pacing = pacing_of(crawler)
        self._tally = Tally(crawler.stats)
        self._seen: dict[bytes, asyncio.Task[ImageOutcome]] = {}
        self._counted: set[bytes] = set()
        self._failed = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build with the crawler's settings."""
        return cls(crawler)

    def open_indexer(self) -> "Indexer":
        """Open the indexer that hashes and stores."""
        from indexer import Indexer  # noqa: PLC0415 - lazily, so that a fake needs no store

        settings = self._crawler.settings
        return Indexer.open(settings.get("DELIST_CONFIG"), data_dir=settings.get("DELIST_DATA_DIR"))

    def open_spider(self) -> None:
        """Open the indexer and start the threads."""
        self._indexer = self.open_indexer()
        self._max_bytes = self._indexer.settings.hashing.max_bytes
        threads = self._settings.hash_threads or os.cpu_count() or 1
        self._hashing = ThreadPoolExecutor(threads, thread_name_prefix="hash")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._writer = VisitWriter(self._indexer.record_visits, self._writing)

    async def close_spider(self) -> None:
        """Record what is waiting and close the indexer."""
        await self._writer.close()
        self._hashing.shutdown()
        self._writing.shutdown()
        self._indexer.close()

    async def process_item(self, item: Any) -> Any:  # noqa: ANN401 - any item Scrapy knows
        """Fetch, hash and record the images of an item."""
        if isinstance(item, FetchedImage):
            await self._take(item)
            return item
        if isinstance(item, LookAt):
            await self._look(item)
            return item
        adapter = ItemAdapter(item)
        page_url = _canonical_or_none(adapter.get("page_url"))
        images, videos = (list(adapter.get(name) or ()) for name in ("image_urls", "video_urls"))
        context: PageContext | None = adapter.get("page_context")

        def place(url: str) -> Place:
            return Place(page_url, None if context is None else context.of(url))

        outcomes = await asyncio.gather(
            *(self._visit(url, place(url), ACCEPT) for url in images),
            *(self._visit(url, place(url), ACCEPT_VIDEO) for url in videos),
        )
        if context is not None and page_url is not None:
            await self._end_marks(page_url, [*images, *(found.final_url for found in outcomes)])
        found = [_as_dict(*pair) for pair in zip([*images, *videos], outcomes, strict=True)]
        for name, part in (("images", found[: len(images)]), ("videos", found[len(images) :])):
            with suppress(KeyError):  # an item class without the field, as with ImagesPipeline
                if name == "images" or videos:
                    adapter[name] = part
        return item

    async def _look(self, item: LookAt) -> None:
        """Visit an image, and say what became of it, whatever that is."""
        code: str | None = STOPPED
        try:
            code = (await self._visit(item.url, Place(), self._accept(item.url))).code
        finally:
            self._crawler.signals.send_catch_log(
                signal=image_looked, position=item.position, code=code
            )

    def _accept(self, url: str) -> dict[str, str]:
        try:
            record = self._indexer.find_image(url)
        except InvalidUrlError:
            record = None
        return ACCEPT if record is None or not record.md5 else ACCEPT_VIDEO

    async def _end_marks(self, page_url: str, urls: list[str]) -> None:
        """(6) Let go of what the page said of images that it no longer names."""
        named = {url for name in urls if (url := _canonical_or_none(name)) is not None}
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._writing, self._indexer.record_page, page_url, named)
        except StoreError as error:
            self._fail(error)
            raise

    async def _visit(self, url: str, place: Place, accept: dict[str, str]) -> ImageOutcome:
        """(1) Visit an image once; add the page if it was visited before."""
        if url[: len(DATA_IMAGE)].lower() == DATA_IMAGE:
            return await self._counting(self._visit_inline(url, place), url, None)
        try:
            url = canonical_url(url)
        except InvalidUrlError as error:
            return self._refuse(url, refusal_code(error))
        key = url_key(url)
        task = self._seen.get(key)
        if task is None:
            work = self._fetch(url, place, accept)
            task = asyncio.ensure_future(self._counting(work, url, None))
            self._seen[key] = task
            return await task
        outcome = await task
        if place.page_url and outcome.outcome is not None:
            visit = ImageVisit(
                image_url=outcome.final_url,
                page_urls=place.page_urls,
                page_marks=place.marks,
                hashed=None,
            )
            await self._record(visit)
        return outcome

    async def _take(self, item: FetchedImage) -> None:
        """Hash an image that the spider was answered with when it asked for a page."""
        url = canonical_url(item.response.url)
        work = self._finish(
            item.response, redirect_chain(item.response), Place(item.page_url), None
        )
        task = asyncio.ensure_future(self._counting(work, url, item.seed))
        self._seen.setdefault(url_key(url), task)
        await task

    async def _counting(self, work: Any, url: str, seed: int | None) -> ImageOutcome:  # noqa: ANN401 - a coroutine
        """Await the work on one image; whatever goes wrong becomes a counted refusal."""
        try:
            outcome: ImageOutcome = await work
        except StoreError as error:
            self._fail(error)
            raise
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of one image
            code = refusal_code(error)
            if code == INTERNAL_ERROR:
                self._crawler.signals.send_catch_log(signal=internal_error, error=error)
            return self._refuse(url, code, seed)
        self._count(outcome)
        return outcome

    def _refuse(self, url: str, code: str, seed: int | None = None) -> ImageOutcome:
        self._tally.refuse(code, images=1, seed=seed)
        return ImageOutcome(final_url=url, code=code)

    def _count(self, outcome: ImageOutcome) -> None:
        key = url_key(outcome.final_url)
        if key not in self._counted and outcome.outcome is not None:
            self._counted.add(key)
            self._tally.image(outcome.outcome, matches=outcome.matches, is_video=outcome.is_video)
            if outcome.no_frames is not None:
                self._tally.refuse(f"frames_{outcome.no_frames.value}")

    def _fail(self, error: StoreError) -> None:
        """End the crawl: without the store nothing that follows would be kept."""
        if self._failed:
            return
        self._failed = True
        self._pacing.stopping = True
        self._crawler.signals.send_catch_log(signal=store_failed, error=error)
        closing = self._crawler.engine.close_spider_async(reason="store_failed")
        self._closing = asyncio.ensure_future(closing)

    async def _fetch(
        self,
        url: str,
        place: Place,
        accept: dict[str, str],
        *,
        conditional: bool = True,
    ) -> ImageOutcome:
        record = self._indexer.find_image(url) if conditional else None
        searched = record is not None and self._indexer.is_searched(record)
        headers = _conditions(record) if searched else {}  # (2)
        request = Request(
            url,
            headers={**accept, **headers},
            callback=NO_CALLBACK,
            meta={"download_maxsize": self._max_bytes},
        )
        response = await self._crawler.engine.download_async(request)
        chain = redirect_chain(response)
        if response.status == _NOT_MODIFIED and headers and chain:
            return await self._fetch(url, place, accept, conditional=False)  # (2)
        known = record if headers and response.status == _NOT_MODIFIED else None
        return await self._finish(response, chain, place, known)

    async def _finish(
        self,
        response: Response,
        chain: tuple[str, ...],
        place: Place,
        not_modified: ImageRecord | None,
    ) -> ImageOutcome:
        """Hash an answer unless it is known, and record the visit."""
        url = canonical_url(response.url)
        hashed = None
        video: VideoFile | None = response.meta.pop(VIDEO, None) if response.request else None
        is_video = video is not None or (not_modified is not None and bool(not_modified.md5))
        if not_modified is None:
            if response.status not in _OK:
                raise RefusedError(http_code(response.status))
            hashed = await self._hash(video or response.body, url)
        visit = ImageVisit(
            image_url=url,
            page_urls=place.page_urls,
            page_marks=place.marks,
            aliases=tuple(alias for alias in chain if alias != url),
            etag=_header(response, b"ETag"),
            last_modified=_header(response, b"Last-Modified"),
            hashed=hashed,
        )
        accept = ACCEPT_VIDEO if is_video else ACCEPT
        del response, video
        result = await self._record(visit)
        if result.outcome is VisitOutcome.NOT_HELD:
            return await self._fetch(url, place, accept, conditional=False)
        return self._outcome(url, hashed, result, is_video=is_video)

    async def _visit_inline(self, url: str, place: Place) -> ImageOutcome:
        body = decode_data_url(url, max_bytes=self._max_bytes)
        if place.page_url is None:
            raise RefusedError("no_page")
        name = inline_image_url(place.page_url, sha256(body).digest())
        hashed = await self._hash(body, name)
        visit = ImageVisit(
            image_url=name, page_urls=place.page_urls, page_marks=place.marks, hashed=hashed
        )
        return self._outcome(name, hashed, await self._record(visit))

    async def _hash(self, body: bytes | VideoFile, url: str) -> HashedImage | None:
        """(3) and (4)."""
        held = body.data or b"" if isinstance(body, VideoFile) else body
        with self._pacing.pending(len(held)):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._hashing, self._hash_now, body, url)

    def _hash_now(self, body: bytes | VideoFile, url: str) -> HashedImage | None:
        """Hash bytes, or return None when they equal those stored. Runs in a worker thread."""
        if body and self._indexer.is_current(url, body):
            return None
        if isinstance(body, VideoFile):
            return self._indexer.hash_video(body)
        return self._indexer.hash_image(body)

    async def _record(self, visit: ImageVisit) -> VisitResult:
        """(5)."""
        return await self._writer.record(visit)

    def _outcome(
        self,
        url: str,
        hashed: HashedImage | None,
        result: VisitResult,
        *,
        is_video: bool = False,
    ) -> ImageOutcome:
        hashes: tuple[dict[str, str], ...] = ()
        if hashed is not None and self._with_hashes:
            hashes = tuple(
                {
                    "hasher": entry.hasher.value,
                    "variant": entry.variant,
                    "digest": entry.digest.hex(),
                }
                for entry in hashed.hashes
            )
        return ImageOutcome(
            final_url=url,
            outcome=result.outcome,
            matches=len(result.matches),
            hashes=hashes,
            is_video=is_video or (hashed is not None and bool(hashed.md5)),
            no_frames=hashed.incomplete if hashed is not None and not hashed.rows else None,
        )


internal_error = object()
"""Signal: an image met an error that has no name. Sent with ``error``."""

store_failed = object()
"""Signal: the store refused a batch; the crawl cannot go on. Sent with ``error``."""


image_looked = object()
"""Signal: one of the job's ``image_urls`` is done with. Sent with ``position`` and ``code``."""


def _canonical_or_none(url: str | None) -> str | None:
    try:
        return canonical_url(url) if url else None
    except InvalidUrlError:
        return None


def _conditions(record: ImageRecord | None) -> dict[str, bytes]:
    if record is None or record.hasher_version != HASHER_VERSION or record.lacks_md5:
        return {}
    headers = {}
    if record.etag:
        headers["If-None-Match"] = record.etag.encode("latin-1", "replace")
    if record.last_modified:
        headers["If-Modified-Since"] = record.last_modified.encode("latin-1", "replace")
    return headers


def redirect_chain(response: Response) -> tuple[str, ...]:
    """List the URLs that led to a response by redirects, in canonical form."""
    request = response.request
    urls = request.meta.get("redirect_urls", []) if request is not None else []
    chain = []
    for url in urls:
        with suppress(InvalidUrlError):
            chain.append(canonical_url(url))
    return tuple(dict.fromkeys(chain))


def _header(response: Response, name: bytes) -> str | None:
    value = response.headers.get(name)
    if value is None or len(value) > _MAX_VALIDATOR_CHARS:
        return None
    text = value.decode("latin-1").strip()
    return text if text.isprintable() else None


def _as_dict(url: str, outcome: ImageOutcome) -> dict[str, Any]:
    return {
        "url": url,
        "outcome": outcome.outcome.value if outcome.outcome is not None else "refused",
        "code": outcome.code,
        "hashes": list(outcome.hashes),
        "matches": outcome.matches,
    }
