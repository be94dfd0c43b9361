"""Asking the queue between crawlers and this store how much waits in it, and writing that down.

Who judges reads the case store: a server that is away then costs nobody else a time-out, and every
process says the same. An answer that fails to come is written too; the figures before it stay.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.util import find_spec

from delist.store import Database, crawl_queues
from delist.store.crawl_queues import CrawlQueueState
from indexer.errors import QueueError, SettingsError
from indexer.settings import QueueSettings


class CrawlQueue:
    """The queue of [queue], for one installation. Thread-safe."""

    def __init__(
        self,
        settings: QueueSettings,
        *,
        database: Callable[[], Database],
        clock: Callable[[], datetime],
    ) -> None:
        """Take the settings and what gives the case store: nothing is opened before use."""
        self._settings = settings
        self._database = database
        self._clock = clock

    @property
    def is_configured(self) -> bool:
        """Whether there is a queue to ask."""
        return bool(self._settings.servers)

    def check_extra(self) -> None:
        """Check that what a queue needs is installed, if there is one.

        Raises:
            SettingsError: it is not.
        """
        if self.is_configured and find_spec("nats") is None:
            raise SettingsError('queue.servers needs the extra "cluster": delist[cluster]')

    def find(self) -> CrawlQueueState | None:
        """Load what is on record; None: it was never asked.

        Raises:
            DatabaseError: the case store cannot be read.
        """
        with self._database().read() as connection:
            return crawl_queues.find(connection, self._settings.stream)

    def ask(self) -> CrawlQueueState:
        """Ask, and write down what it says, or why it says nothing.

        Raises:
            DatabaseError: the case store cannot be written.
        """
        before = self.find()
        try:
            found = self._look()
        except (QueueError, SettingsError) as error:
            now = self._clock()
            known = before or CrawlQueueState(asked_at=now)
            found = replace(known, asked_at=now, trouble=str(error))
        with self._database().write() as connection:
            crawl_queues.put(connection, self._settings.stream, found)
        return found

    def _look(self) -> CrawlQueueState:
        self.check_extra()
        from indexer.queue.standing import look  # noqa: PLC0415 - needs an extra

        standing = asyncio.run(look(self._settings))
        now, oldest_s = self._clock(), standing.oldest_s
        return CrawlQueueState(
            asked_at=now,
            answered_at=now,
            waiting=standing.waiting,
            # By our clock, so that it can be compared with the other times here.
            oldest_at=None if oldest_s is None else now - timedelta(seconds=oldest_s),
            parked=standing.parked,
        )
