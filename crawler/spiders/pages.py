"""The spider: visits pages from seeds, and hands their images to the pipeline.

A seed may be a page, an image, a video or a sitemap; what it is, its bytes say. Page
links are followed on the seeds' hosts only; images and videos are fetched from anywhere.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import scrapy
from scrapy import Request
from scrapy.http import HtmlResponse, Response, TextResponse
from twisted.python.failure import Failure

from crawler.agent import VIDEO
from crawler.errors import RefusedError
from crawler.kinds import HEAD_BYTES, is_image
from crawler.links import MAX_URL_CHARS
from crawler.page_reader import PageContext
from crawler.pipelines import FetchedImage, LookAt, image_looked, internal_error
from crawler.reading import read_page
from crawler.refusals import INTERNAL_ERROR, refusal_code
from crawler.settings import CrawlJob, CrawlSettings
from crawler.sitemaps import parse_sitemap, sitemaps_of_robots, unpack
from crawler.tally import Tally
from indexer.errors import InvalidUrlError
from indexer.url import canonical_url, url_key

_SITEMAP_PRIORITY = 10
_GONE = (404, 410)
_VISIT_BYTES = 400
"""What a visit takes while it waits, beside its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A page that is to be visited.

    Attributes:
        depth: page links away from a seed.
        from_page: the page that linked to it.
        seed: position among the job's URLs, if it is one of them.
    """

    url: str = field(repr=False)
    depth: int
    from_page: str | None = field(default=None, repr=False)
    seed: int | None = None


class PagesSpider(scrapy.Spider):
    """Visits pages breadth first, and yields one item for each page's images."""

    name = "pages"

    def __init__(
        self,
        *,
        job: CrawlJob,
        crawl_settings: CrawlSettings,
        **kwargs: Any,  # noqa: ANN401 - Scrapy's
    ) -> None:
        super().__init__(**kwargs)
        self._job = job
        self._limits = crawl_settings
        self._max_pages = job.max_pages or crawl_settings.max_pages
        self._frontier: deque[Visit] = deque()
        self._waiting_bytes = 0
        self._known: set[bytes] = set()
        self._hosts: set[str] = set()
        self._pages_visited = 0
        self._pages_asked = 0
        self._sitemaps_asked = 0

    @property
    def _tally(self) -> Tally:
        return Tally(self.crawler.stats)

    async def start(self) -> AsyncIterator[Any]:
        """Yield the first requests."""
        for request in self._start_requests():
            yield request
        # Scrapy ends a crawl without waiting for the items of ``start``: so it lasts until then.
        self._looks_left = len(self._job.image_urls)
        self._all_looked = asyncio.Event()
        self.crawler.signals.connect(self._note_look, signal=image_looked)
        for position, url in enumerate(self._job.image_urls):
            yield LookAt(url=url, position=position)
        if self._job.image_urls:
            await self._all_looked.wait()

    def _note_look(self) -> None:
        self._looks_left -= 1
        if not self._looks_left:
            self._all_looked.set()

    def _start_requests(self) -> Iterator[Request]:
        roots: dict[str, None] = {}
        for position, url in enumerate(self._job.urls):
            try:
                seed = canonical_url(url)
            except InvalidUrlError:
                self._tally.refuse("invalid_url", seed=position)
                continue
            self._hosts.add(authority_of(seed))
            self._add(Visit(url=seed, depth=0, seed=position))
            parts = urlsplit(seed)
            roots[f"{parts.scheme}://{parts.netloc}/"] = None
        if self._job.sitemap:
            for root in roots:
                yield Request(
                    f"{root}robots.txt",
                    callback=self.parse_robots,
                    errback=self.ignore,
                    dont_filter=True,
                    priority=_SITEMAP_PRIORITY,
                )
                yield from self._ask_sitemap(f"{root}sitemap.xml", optional=True)
        yield from self._advance()

    def parse_robots(self, response: Response) -> Iterator[Request]:
        """Read the sitemaps that a robots.txt names."""
        for url in sitemaps_of_robots(response.body):
            yield from self._ask_sitemap(url)

    def parse_sitemap(self, response: Response) -> Iterator[Any]:
        """Read a sitemap that was asked for as one."""
        try:
            yield from self._read_sitemap(response)
        except RefusedError as refused:
            self._tally.refuse(refused.code)
        yield from self._advance()

    def parse(self, response: Response, visit: Visit) -> Iterator[Any]:
        """Take what a visit answered: an image, a sitemap or a page."""
        self._pages_asked -= 1
        try:
            yield from self._read(response, visit)
        except RefusedError as refused:
            self._tally.refuse(refused.code, seed=visit.seed)
        except Exception as error:  # noqa: BLE001 - the boundary of one page
            self._tally.refuse(INTERNAL_ERROR, seed=visit.seed)
            self.crawler.signals.send_catch_log(signal=internal_error, error=error)
        yield from self._advance()

    def _read(self, response: Response, visit: Visit) -> Iterator[Any]:
        self._known.add(url_key(canonical_url(response.url)))
        if VIDEO in response.meta or _is_image(response):
            yield FetchedImage(response=response, page_url=visit.from_page, seed=visit.seed)
            return
        page = _as_html(response)
        if page is None:
            raise RefusedError("not_a_page")
        if len(page.body) > self._limits.max_page_bytes:
            raise RefusedError("too_many_bytes")
        authority = authority_of(canonical_url(page.url))
        if visit.seed is not None:
            self._hosts.add(authority)  # a seed that moved, say to www., takes us along
            if (yield from self._read_sitemap(response)):
                return
        elif authority not in self._hosts:
            yield from _left(page, but=canonical_url(page.url))
            raise RefusedError("off_site")
        yield from self._read_page(page, visit)

    def _read_page(self, page: HtmlResponse, visit: Visit) -> Iterator[Any]:
        self._pages_visited += 1
        self._tally.page()
        page_url = canonical_url(page.url)
        limits = self._limits
        links, context = read_page(page, page_url, limits)
        for _ in range(links.broken):
            self._tally.refuse("invalid_url")
        if links.dropped_images:
            self._tally.refuse("too_many_images", images=links.dropped_images)
        if links.dropped_videos and limits.max_videos_per_page:
            self._tally.refuse("too_many_videos", images=links.dropped_videos)
        if visit.depth < self._job.depth:
            for url in links.page_urls:
                if authority_of(url) in self._hosts:
                    self._add(Visit(url=url, depth=visit.depth + 1, from_page=page_url))
        yield {
            "page_url": page_url,
            "image_urls": links.image_urls,
            "video_urls": links.video_urls,
            "page_context": context,
        }
        yield from _left(page, but=page_url)

    def fail(self, failure: Failure) -> Iterator[Any]:
        """Count a visit that failed, and go on with the next."""
        self._pages_asked -= 1
        visit: Visit = failure.request.cb_kwargs["visit"]  # type: ignore[attr-defined] # Scrapy adds it
        self._refuse(failure, seed=visit.seed)
        yield from gone_pages(failure)
        yield from self._advance()

    def fail_sitemap(self, failure: Failure) -> Iterator[Any]:
        """Count a sitemap that failed."""
        self._refuse(failure)
        yield from self._advance()

    def _refuse(self, failure: Failure, *, seed: int | None = None) -> None:
        error = failure.value or RuntimeError()
        code = refusal_code(error)
        self._tally.refuse(code, seed=seed)
        if code == INTERNAL_ERROR:
            self.crawler.signals.send_catch_log(signal=internal_error, error=error)

    def ignore(self, failure: Failure) -> None:
        """Let go of what was only worth a try: robots.txt, /sitemap.xml."""

    def _read_sitemap(self, response: Response) -> Generator[Any, None, bool]:
        """Take in a sitemap; returns (to ``yield from``) whether it was one."""
        body = unpack(response.body, max_bytes=self._limits.max_page_bytes)
        sitemap = parse_sitemap(body) if b"<urlset" in body or b"sitemapindex" in body else None
        if sitemap is None:
            return False
        for url in sitemap.sitemap_urls:
            yield from self._ask_sitemap(url)
        for url in sitemap.page_urls:
            try:
                page_url = canonical_url(url)
            except InvalidUrlError:
                self._tally.refuse("invalid_url")
                continue
            if authority_of(page_url) in self._hosts:
                self._add(Visit(url=page_url, depth=0))
        by_page: dict[str, list[str]] = {}
        for url, image_url in sitemap.image_urls:
            by_page.setdefault(url, []).append(image_url)
        for url, image_urls in by_page.items():
            try:
                yield {"page_url": canonical_url(url), "image_urls": image_urls}
            except InvalidUrlError:
                continue  # counted above
        return True

    def _ask_sitemap(self, url: str, *, optional: bool = False) -> Iterator[Request]:
        try:
            url = canonical_url(url)
        except InvalidUrlError:
            self._tally.refuse("invalid_url")
            return
        key = url_key(url)
        if key in self._known or self._sitemaps_asked >= self._limits.max_sitemaps:
            return
        self._known.add(key)
        self._sitemaps_asked += 1
        yield Request(
            url,
            callback=self.parse_sitemap,
            errback=self.ignore if optional else self.fail_sitemap,
            dont_filter=True,
            priority=_SITEMAP_PRIORITY,
        )

    def _add(self, visit: Visit) -> None:
        if len(visit.url) > MAX_URL_CHARS:
            self._tally.refuse("invalid_url", seed=visit.seed)
            return
        key = url_key(visit.url)
        if key in self._known:
            return
        if visit.seed is None and self._waiting_bytes >= self._limits.waiting_bytes:
            # Not known then: once there is room, another page may name it.
            self._tally.refuse("too_many_links")
            return
        self._known.add(key)
        self._frontier.append(visit)
        self._waiting_bytes += _VISIT_BYTES + len(visit.url)

    def _advance(self) -> Iterator[Request]:
        """Ask for as many pages as may still be visited; one that fails frees its place."""
        while self._frontier and self._pages_visited + self._pages_asked < self._max_pages:
            visit = self._frontier.popleft()
            self._waiting_bytes -= _VISIT_BYTES + len(visit.url)
            self._pages_asked += 1
            yield Request(
                visit.url,
                callback=self.parse,
                errback=self.fail,
                cb_kwargs={"visit": visit},
                dont_filter=True,
                priority=-visit.depth,
            )


def _empty_page(url: str) -> dict[str, Any]:
    """Make the item of a page that is not there: it names no image any more."""
    return {"page_url": url, "image_urls": (), "page_context": PageContext()}


def gone_pages(failure: Failure) -> Iterator[dict[str, Any]]:
    """Yield the items of the pages that a server says are gone."""
    response = getattr(failure.value, "response", None)
    if isinstance(response, Response) and response.status in _GONE:
        yield _empty_page(canonical_url(response.url))
        yield from _left(response, but=canonical_url(response.url))


def _left(response: Response, *, but: str) -> Iterator[dict[str, Any]]:
    """Yield the items of the pages that led here by redirects: nothing is at their addresses."""
    for url in response.meta.get("redirect_urls", ()) if response.request else ():
        with suppress(InvalidUrlError):
            page_url = canonical_url(url)
            if page_url != but:
                yield _empty_page(page_url)


def authority_of(url: str) -> str:
    """Host and port of a canonical URL, without user information."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _is_image(response: Response) -> bool:
    declared = (response.headers.get(b"Content-Type") or b"").decode("latin-1")
    return is_image(response.body[:HEAD_BYTES], declared)


def _as_html(response: Response) -> HtmlResponse | None:
    """Read a response as HTML whatever its type says, if its bytes may be a page."""
    if isinstance(response, HtmlResponse):
        return response
    if isinstance(response, TextResponse):
        return response.replace(cls=HtmlResponse)
    body = response.body.lstrip()
    if body.startswith((b"<", b"\xef\xbb\xbf", b"\x1f\x8b")) or not body:
        return response.replace(cls=HtmlResponse)
    return None
