"""The spider of a crawler that shares its crawl: it draws URLs from the frontier.

What a page says is read as ``PagesSpider`` reads it. What is found there goes back to the frontier
with the item of the page, so that nothing is lost between the two (``crawler.shared_pipeline``).
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.http import Response
from twisted.python.failure import Failure

from crawler.errors import RefusedError
from crawler.frontier import Frontier, FrontierGoneError, Kind, SharedPacing, Task
from crawler.links import MAX_URL_CHARS
from crawler.pacing import pacing_of
from crawler.pipelines import STOPPED, FetchedImage, internal_error, store_failed
from crawler.refusals import INTERNAL_ERROR, refusal_code
from crawler.shared_pipeline import Look, Visited
from crawler.sharing import Connections, Sharing, connections_of
from crawler.sitemaps import sitemaps_of_robots
from crawler.spiders.pages import PagesSpider, Visit, authority_of, gone_pages
from crawler.tally import Tally
from indexer.errors import IndexerError, InvalidUrlError, StoreError
from indexer.url import canonical_url

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5
_TRIES = 3


class _Sites:
    """Sites whose pages are followed, by name; what is added is noted for the others."""

    def __init__(self, frontier: Frontier) -> None:
        self._frontier = frontier
        self._names: set[str] = set()
        self.new: list[str] = []

    def __contains__(self, site: str) -> bool:
        return self._frontier.site_name(site) in self._names

    def __len__(self) -> int:
        return len(self._names)

    def add(self, site: str) -> None:
        if site not in self:
            self._names.add(self._frontier.site_name(site))
            self.new.append(site)

    async def load(self) -> None:
        self._names |= await self._frontier.sites()


class _TallyWithoutSeeds(Tally):
    """A seed may be another crawler's: only what is wrong with our own from the start is named."""

    def refuse(self, code: str, *, images: int = 0, seed: int | None = None) -> None:
        del seed
        super().refuse(code, images=images)


class SharedSpider(PagesSpider):
    """Visits what it draws from the frontier, until nothing is left for anybody."""

    name = "shared"

    def __init__(self, *, reserved: int, **kwargs: Any) -> None:  # noqa: ANN401 - of PagesSpider
        super().__init__(**kwargs)
        self._reserved = reserved
        self._found: list[Task] = []

    @property
    def _tally(self) -> Tally:
        return _TallyWithoutSeeds(self.crawler.stats)

    @property
    def _most(self) -> int:
        """How many pages we ask for: who only joins leaves that to the others."""
        return self._job.max_pages or (self._limits.max_pages if self._job.urls else 0)

    async def start(self) -> AsyncIterator[Any]:
        """Yield what is drawn; what goes wrong ends the crawl as a store's failure does."""
        connections = connections_of(self.crawler)
        try:
            self._hosts = sites = _Sites(connections.frontier)  # type: ignore[assignment] # what is used of a set
            sharing = await self._open(connections, sites)
            async for visit in self._draw(sharing, sites):
                yield visit
        except IndexerError as error:
            pacing_of(self.crawler).stopping = True
            self.crawler.signals.send_catch_log(signal=store_failed, error=error)

    async def _open(self, connections: Connections, sites: _Sites) -> Sharing:
        sharing = await connections.open(max_pages=self._most)
        seeds = list(self._seeds(sites))
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._add_seeds(sharing.frontier, seeds, sites)
                break
            except FrontierGoneError:  # somebody has found it to be over since we joined
                if not tries_left:
                    raise
                await sharing.frontier.open(max_pages=self._most)
        sites.new.clear()
        return sharing

    async def _add_seeds(self, frontier: Frontier, seeds: list[Task], sites: _Sites) -> None:
        pacing = pacing_of(self.crawler)
        assert isinstance(pacing, SharedPacing)  # noqa: S101 - set with the connections
        await frontier.add(
            [(seed, None) for seed in seeds],
            delays_ms={seed.host: pacing.delay_ms(seed.host) for seed in seeds},
            max_sitemaps=self._limits.max_sitemaps,
        )
        await frontier.add_sites(sites.new)

    def _seeds(self, sites: _Sites) -> Iterator[Task]:
        roots: dict[str, None] = {}
        for position, url in enumerate(self._job.urls):
            try:
                seed = canonical_url(url)
            except InvalidUrlError:
                super()._tally.refuse("invalid_url", seed=position)
                continue
            sites.add(authority_of(seed))
            yield Task(url=seed, kind=Kind.PAGE, links_left=self._job.depth, is_seed=True)
            parts = urlsplit(seed)
            roots[f"{parts.scheme}://{parts.netloc}/"] = None
        for root in roots if self._job.sitemap else ():
            yield Task(url=f"{root}robots.txt", kind=Kind.ROBOTS, optional=True)
            yield Task(url=f"{root}sitemap.xml", kind=Kind.SITEMAP, optional=True)

    async def _draw(self, sharing: Sharing, sites: _Sites) -> AsyncIterator[Any]:
        pacing, pause_s = pacing_of(self.crawler), _FIRST_PAUSE_S
        while not pacing.stopping:
            room = self._reserved - len(sharing.held)
            if room:
                drawn = await sharing.draw(room, per_host=self._limits.concurrent_per_host)
                if drawn.sites != len(sites):
                    await sites.load()
                for _ in range(drawn.given_up):
                    self._tally.refuse("given_up")
                for task in drawn.tasks:
                    pause_s = _FIRST_PAUSE_S
                    yield self._visit_of(task)
                if drawn.is_over and not await self._goes_on(sharing.frontier):
                    return
            await sharing.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _goes_on(self, frontier: Frontier) -> bool:
        """End the crawl, if it is over still; then wait for another one of its name, or not."""
        is_over = await frontier.end()
        if is_over and self._job.stay:
            await frontier.open(max_pages=self._most)
        return self._job.stay or not is_over

    def _visit_of(self, task: Task) -> Request | Look:
        if task.kind in {Kind.IMAGE, Kind.VIDEO}:
            return Look(task)
        return Request(
            task.url,
            callback=self.parse_task,
            errback=self.fail_task,
            cb_kwargs={"task": task},
            dont_filter=True,
        )

    def parse_task(self, response: Response, task: Task) -> Iterator[Visited]:
        """Read what a task answered, whatever it is."""
        self._found, self._hosts.new = [], []  # type: ignore[attr-defined] # of _Sites
        pages: list[dict[str, Any]] = []
        image = None
        visited_before = self._pages_visited
        try:
            for output in self._outputs(response, task):
                if isinstance(output, FetchedImage):
                    image = output
                elif isinstance(output, dict):
                    pages.append(output)
        except RefusedError as refused:
            if not task.optional:
                self._tally.refuse(refused.code)
        except Exception as error:  # noqa: BLE001 - the boundary of one page
            self._tally.refuse(INTERNAL_ERROR)
            self.crawler.signals.send_catch_log(signal=internal_error, error=error)
        yield Visited(
            task=task,
            found=tuple(self._found),
            pages=tuple(pages),
            image=image,
            sites=tuple(self._hosts.new),  # type: ignore[attr-defined] # of _Sites
            was_page=self._pages_visited > visited_before,
            final_url=canonical_url(response.url),
        )

    def fail_task(self, failure: Failure) -> Iterator[Visited]:
        """Count a task that failed; it is done, unless it was only stopped."""
        task: Task = failure.request.cb_kwargs["task"]  # type: ignore[attr-defined] # Scrapy adds it
        error = failure.value or RuntimeError()
        if isinstance(error, StoreError):
            self.crawler.signals.send_catch_log(signal=store_failed, error=error)
            pacing_of(self.crawler).stopping = True
            return
        if refusal_code(error) == STOPPED:
            return
        if not task.optional:
            self._refuse(failure)
        yield Visited(task=task, pages=tuple(gone_pages(failure)))

    def _outputs(self, response: Response, task: Task) -> Iterator[Any]:
        if task.kind is Kind.ROBOTS:
            for url in sitemaps_of_robots(response.body):
                yield from self._ask_sitemap(url)
        elif task.kind is Kind.SITEMAP:
            yield from self._read_sitemap(response)
        else:
            visit = Visit(
                url=task.url,
                depth=self._job.depth - task.links_left,
                from_page=task.from_page,
                seed=0 if task.is_seed else None,
            )
            yield from self._read(response, visit)

    def _ask_sitemap(self, url: str, *, optional: bool = False) -> Iterator[Request]:
        try:
            found = Task(url=canonical_url(url), kind=Kind.SITEMAP, optional=optional)
        except InvalidUrlError:
            self._tally.refuse("invalid_url")
        else:
            self._found.append(found)
        yield from ()

    def _add(self, visit: Visit) -> None:
        if len(visit.url) > MAX_URL_CHARS:
            self._tally.refuse("invalid_url")
            return
        self._found.append(
            Task(
                url=visit.url,
                kind=Kind.PAGE,
                links_left=self._job.depth - visit.depth,
                from_page=visit.from_page,
            )
        )
