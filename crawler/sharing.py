"""What one crawler of a shared crawl holds: the frontier, and the way to the indexer.

A crawler holds no store: it hashes, and hands what it found to the queue. So it knows no signal
and no earlier visit, asks without conditions, and cannot tell what an image matches.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from crawler.errors import FrontierError, RefusedError
from crawler.frontier import Drawn, Frontier, Task
from crawler.settings import FrontierSettings
from indexer.errors import QueueError, StoreError
from indexer.hashing import VideoFile, hash_bytes, hash_video
from indexer.model import HashedImage, ImageRecord, ImageVisit, VisitOutcome, VisitResult
from indexer.queue.messages import PageRead, encode_page, encode_visit
from indexer.queue.publishing import Publisher
from indexer.settings import HashingSettings, IndexerSettings, QueueSettings
from indexer.url import url_key


class Sharing:
    """A crawler's part in a shared crawl.

    Attributes:
        held: what it has in hand, by key.
    """

    def __init__(
        self,
        frontier: Frontier,
        publisher: Publisher,
        hashing: "StorelessHasher",
        *,
        lease_s: float,
    ) -> None:
        self.frontier = frontier
        self.publisher = publisher
        self.hashing = hashing
        self.held: dict[bytes, Task] = {}
        self._freed = asyncio.Event()
        self._renewing = asyncio.ensure_future(self._renew(lease_s / 3))

    async def draw(self, most: int, *, per_host: int) -> Drawn:
        """Draw tasks, and hold them until they are ``done``; see ``Frontier.draw``."""
        drawn = await self.frontier.draw(most, per_host=per_host)
        self.held.update((task.key, task) for task in drawn.tasks)
        return drawn

    def done(self, task: Task) -> None:
        """Hold a task no more."""
        self.held.pop(task.key, None)
        self._freed.set()

    async def wait(self, seconds: float) -> None:
        """Wait until a task is done, or for some time."""
        self._freed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._freed.wait(), seconds)

    async def hand_over(self, visit: ImageVisit) -> VisitResult:
        """Hand a visit to the indexer; returns when the queue holds it.

        What it matches, the indexer finds out.

        Raises:
            QueueError: it cannot be handed over.
            RefusedError: ``message_too_large``.
        """
        seen = replace(visit, seen_at=datetime.now(UTC))
        await self._publish(encode_visit(seen), identity=encode_visit(visit))
        outcome = VisitOutcome.UNCHANGED if visit.hashed is None else VisitOutcome.HASHED
        return VisitResult(image_key=url_key(visit.image_url), outcome=outcome)

    async def hand_over_page(self, page: PageRead) -> None:
        """Tell the indexer which images a page names; as ``hand_over``."""
        message = encode_page(page)
        await self._publish(message, identity=message)

    async def close(self) -> None:
        """Give back what is held, and close both connections."""
        self._renewing.cancel()
        with suppress(StoreError):
            if self.held:
                await self.frontier.release(self.held.values())
        await self.publisher.close()

    async def _publish(self, message: bytes, *, identity: bytes) -> None:
        try:
            await self.publisher.publish(message, crawl=self.frontier.crawl, identity=identity)
        except QueueError as error:
            if error.code != "too_large":
                raise
            raise RefusedError("message_too_large") from None

    async def _renew(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            with suppress(FrontierError):  # whoever draws or finishes next says so
                await self.frontier.renew(list(self.held.values()))


class StorelessHasher:
    """Hashes as the indexer does, and knows of nothing that is stored."""

    def __init__(self, settings: IndexerSettings) -> None:
        self.settings = settings

    @property
    def _limits(self) -> HashingSettings:
        return self.settings.hashing

    def hash_image(self, data: bytes) -> HashedImage:
        """Hash the bytes of an image, fast tier; see ``Indexer.hash_image``."""
        return hash_bytes(data, self._limits, deep=False)

    def hash_video(self, video: VideoFile) -> HashedImage:
        """Hash a video that was digested as it came in; see ``Indexer.hash_video``."""
        return hash_video(video, self._limits, deep=False)

    def find_image(self, image_url: str) -> ImageRecord | None:  # noqa: ARG002 - nothing is stored
        """Find nothing."""
        return None

    def is_searched(self, record: ImageRecord) -> bool:  # noqa: ARG002 - there are none
        """Say that nothing needs a visit for what is stored."""
        return True

    def is_current(
        self,
        image_url: str,  # noqa: ARG002 - nothing is stored
        found: bytes | VideoFile | HashedImage,  # noqa: ARG002 - the same
    ) -> bool:
        """Say that bytes have to be hashed."""
        return False

    def close(self) -> None:
        """Close nothing."""


class Connections:
    """Opens what a shared crawl needs on the running loop, and closes it."""

    def __init__(
        self,
        frontier: FrontierSettings,
        queue: QueueSettings,
        indexer: IndexerSettings,
    ) -> None:
        self.frontier = Frontier.at(frontier)
        self._lease_s = frontier.lease_s
        self._queue = queue
        self._indexer = indexer
        self._sharing: Sharing | None = None

    async def open(self, *, max_pages: int) -> Sharing:
        """Connect to both; begin or join the crawl.

        Raises:
            StoreError: one of them does not answer.
            SettingsError: a file cannot be read.
        """
        await self.frontier.open(max_pages=max_pages)
        self._sharing = Sharing(
            self.frontier,
            await Publisher.open(self._queue),
            StorelessHasher(self._indexer),
            lease_s=self._lease_s,
        )
        return self._sharing

    @property
    def sharing(self) -> Sharing:
        """What ``open`` has opened."""
        assert self._sharing is not None  # noqa: S101 - the spider's start opens it first
        return self._sharing

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._sharing is not None:
            self._sharing.publisher.stopping = True

    async def close(self) -> None:
        """Close what is open."""
        if self._sharing is not None:
            await self._sharing.close()
        await self.frontier.close()


_CONNECTIONS: WeakKeyDictionary[Any, Connections] = WeakKeyDictionary()


def use_connections(crawler: Any, connections: Connections) -> None:  # noqa: ANN401 - a scrapy.crawler.Crawler, which is not imported here
    """Make a Scrapy crawler one of a shared crawl."""
    _CONNECTIONS[crawler] = connections


def connections_of(crawler: Any) -> Connections:  # noqa: ANN401 - as above
    """Return the connections of a Scrapy crawler."""
    return _CONNECTIONS[crawler]
