"""The pipeline of a crawler that shares its crawl: what it finds goes on the frontier or the queue.

The steps of one task, so that a kill at any point loses nothing and changes nothing twice:

(1) Of a page: its sites, its links and its images are put on the frontier. An image that was
    visited before does not go there: the page joins it by a message of its own.
(2) Images that stand in a page, what answered a page with an image, and images that were drawn
    are hashed here; the visit goes to the queue.
(3) So do all pages on which an image was found, those that join meanwhile included.
(4) Of a page: which images it names, so that what it said of others ends.
(5) Only then is the task done. Killed before, it is drawn again; messages that are published again
    are stored once.
"""

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from crawler.frontier import Kind, SharedPacing, Task, key_of
from crawler.links import DATA_IMAGE
from crawler.page_reader import PageContext
from crawler.pipelines import (
    ACCEPT,
    ACCEPT_VIDEO,
    STOPPED,
    FetchedImage,
    HashImagesPipeline,
    internal_error,
    redirect_chain,
)
from crawler.places import Place
from crawler.refusals import INTERNAL_ERROR, refusal_code
from crawler.sharing import connections_of
from indexer.errors import InvalidUrlError, StoreError
from indexer.model import ImageVisit, VisitResult
from indexer.queue.messages import PageRead
from indexer.url import canonical_url, url_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Visited:
    """What a task came to.

    Attributes:
        task: that was drawn.
        found: tasks that were found: links and sitemaps.
        pages: items of pages that were read: ``page_url``, ``image_urls``, ``page_context``.
        image: what answered a page with an image.
        sites: sites that are new.
        was_page: whether a page was read.
        final_url: where the task led.
    """

    task: Task
    found: tuple[Task, ...] = ()
    pages: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    image: FetchedImage | None = field(default=None, repr=False)
    sites: tuple[str, ...] = field(default=(), repr=False)
    was_page: bool = False
    final_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """An image or video that was drawn."""

    task: Task


class SharedImagesPipeline(HashImagesPipeline):
    """Hashes images, and hands them over to the queue."""

    def open_spider(self) -> None:
        """Start the threads; the spider's start connects."""
        threads = self._settings.hash_threads or os.cpu_count() or 1
        self._hashing = ThreadPoolExecutor(threads, thread_name_prefix="hash")

    async def close_spider(self) -> None:
        """Give back what is in hand, and close the connections."""
        self._hashing.shutdown()
        await connections_of(self._crawler).close()

    async def process_item(self, item: Any) -> Any:  # noqa: ANN401 - any item Scrapy knows
        """Take a task to its end."""
        if not isinstance(item, Visited | Look):
            return item
        self._sharing = sharing = connections_of(self._crawler).sharing
        self._indexer = sharing.hashing  # type: ignore[assignment] # it has what is used here
        self._max_bytes = sharing.hashing.settings.hashing.max_bytes
        try:
            await (self._look_at(item.task) if isinstance(item, Look) else self._take_page(item))
        except StoreError as error:
            self._fail(error)
            raise
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of one task
            self._crawler.signals.send_catch_log(signal=internal_error, error=error)
            self._refuse(item.task.url, INTERNAL_ERROR)
            await self._end(item.task)
        return item

    async def _look_at(self, task: Task) -> None:
        """(2) and (3)."""
        places = await self._sharing.frontier.places(task)
        accept = ACCEPT_VIDEO if task.kind is Kind.VIDEO else ACCEPT
        first = places[0] if places else Place()
        work = self._fetch(task.url, first, accept, conditional=False)
        outcome = await self._counting(work, task.url, None)
        if outcome.code != STOPPED:
            led_to = outcome.final_url if outcome.outcome is not None else None
            await self._join(led_to, places[1:])
            await self._end(task, seen=len(places), led_to=led_to)

    async def _take_page(self, visited: Visited) -> None:
        await self._sharing.frontier.add_sites(visited.sites)  # (1)
        await self._add([(task, None) for task in visited.found])
        led_to = None
        if visited.image is not None:  # (2)
            response = visited.image.response
            work = self._finish(
                response, redirect_chain(response), Place(visited.image.page_url), None
            )
            outcome = await self._counting(work, response.url, None)
            led_to = outcome.final_url if outcome.outcome is not None else None
        for page in visited.pages:
            await self._take_images(page)
        await self._end(
            visited.task, led_to=led_to, visited=visited.was_page, final_url=visited.final_url
        )

    async def _take_images(self, page: dict[str, Any]) -> None:
        """Put the images of a page on the frontier; hash those that stand in it."""
        page_url: str = page["page_url"]
        context: PageContext | None = page.get("page_context")
        found: list[tuple[Task, Place | None]] = []
        inline: list[tuple[str, Place]] = []
        for kind, name in ((Kind.IMAGE, "image_urls"), (Kind.VIDEO, "video_urls")):
            for url in page.get(name) or ():
                place = Place(page_url, None if context is None else context.of(url))
                if url[: len(DATA_IMAGE)].lower() == DATA_IMAGE:
                    inline.append((url, place))
                    continue
                try:
                    found.append((Task(url=canonical_url(url), kind=kind), place))
                except InvalidUrlError as error:
                    self._refuse(url, refusal_code(error))
        ended = await self._add(found)  # (1)
        joined = [
            (led_to, place)
            for (_, place), led_to in zip(found, ended, strict=True)
            if led_to and place is not None
        ]
        await asyncio.gather(*(self._join(led_to, [place]) for led_to, place in joined))
        outcomes = await asyncio.gather(
            *(self._counting(self._visit_inline(url, place), url, None) for url, place in inline)
        )
        if context is not None:  # (4)
            named = {url_key(task.url) for task, _ in found}
            named |= {url_key(led_to) for led_to, _ in joined}
            named |= {
                url_key(outcome.final_url) for outcome in outcomes if outcome.outcome is not None
            }
            read = PageRead(page_url=page_url, image_keys=tuple(sorted(named)))
            await self._sharing.hand_over_page(read)

    async def _add(self, found: list[tuple[Task, Place | None]]) -> list[str | None]:
        pacing = self._pacing
        assert isinstance(pacing, SharedPacing)  # noqa: S101 - set with the connections
        return await self._sharing.frontier.add(
            found,
            delays_ms={task.host: pacing.delay_ms(task.host) for task, _ in found},
            max_sitemaps=self._settings.max_sitemaps,
        )

    async def _join(self, led_to: str | None, places: Iterable[Place]) -> None:
        """(3) Tell on which other pages an image was found, if it was stored."""
        for place in places if led_to else ():
            await self._sharing.hand_over(
                ImageVisit(
                    image_url=led_to or "",
                    page_urls=place.page_urls,
                    page_marks=place.marks,
                    hashed=None,
                )
            )

    async def _end(
        self,
        task: Task,
        *,
        seen: int = 0,
        led_to: str | None = None,
        visited: bool = False,
        final_url: str | None = None,
    ) -> None:
        """(5), once every page that has joined an image meanwhile is told."""
        also = [] if led_to is None else [key_of(Kind.IMAGE, led_to), key_of(Kind.IMAGE, task.url)]
        if final_url is not None:
            also.append(key_of(Kind.PAGE, final_url))
        while more := await self._sharing.frontier.finish(
            task, seen=seen, led_to=led_to, visited=visited, also=also
        ):
            await self._join(led_to, more)
            seen += len(more)
        self._sharing.done(task)

    async def _record(self, visit: ImageVisit) -> VisitResult:
        return await self._sharing.hand_over(visit)
