"""The crawlers' end: messages that the stream has confirmed to hold on its disk.

(1) A message has a name made of the crawl and its content: what is published again, since a
    crawler was killed in between, is stored once within the stream's duplicate window.
(2) A full stream is waited for, for as long as it takes: the indexer is slow, and so are we.
(3) A server that does not answer is waited for ``patience_s``; then the crawl ends. What it had
    in hand goes to another crawler.
"""

import asyncio
from time import monotonic
from typing import Self

import structlog
from nats.aio.client import Client
from nats.js import api

from indexer.queue.connection import FAULTS, connect, named
from indexer.queue.messages import SCHEMA
from indexer.queue.sealing import Seal
from indexer.settings import QueueSettings

USE = "queue"
"""What the messages' seal is for."""
SCHEMA_HEADER = "Delist-Schema"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_SAY_EVERY_S = 60.0
_log = structlog.get_logger()
_FINAL = frozenset({"too_large", "not_allowed", "tls_failed"})


class Publisher:
    """Publishes messages; safe for many at once on one event loop.

    Attributes:
        waited_s: seconds for which publishing has waited for room.
        stopping: True ends what waits.
    """

    def __init__(self, client: Client, settings: QueueSettings, seal: Seal) -> None:
        self._client = client
        self._settings = settings
        self._seal = seal
        self._stream = client.jetstream(timeout=settings.timeout_s)
        self.waited_s = 0.0
        self.stopping = False
        self._said_at = -_SAY_EVERY_S

    @classmethod
    async def open(cls, settings: QueueSettings) -> Self:
        """Connect.

        Raises:
            QueueError: no server answers.
            SettingsError: a file cannot be read.
        """
        seal = Seal.of_file(settings.key(), USE)
        return cls(await connect(settings, name="delist crawl"), settings, seal)

    async def publish(self, message: bytes, *, crawl: str, identity: bytes) -> None:
        """Publish one message; returns when the stream holds it.

        Args:
            message: of ``messages``.
            crawl: a name of the crawl, under which messages of equal identity are one.
            identity: what the message says, without the time.

        Raises:
            QueueError: ``too_large``; or the server was away for too long.
        """
        headers = {
            api.Header.MSG_ID.value: self._seal.name(crawl.encode(), identity),  # (1)
            SCHEMA_HEADER: str(SCHEMA),
        }
        sealed = self._seal.seal(message)
        pause_s, away_since = _FIRST_PAUSE_S, None
        while True:
            try:
                await self._stream.publish(
                    self._settings.subject, sealed, stream=self._settings.stream, headers=headers
                )
            except FAULTS as error:
                failure = named(error)
            else:
                return
            if failure.code in _FINAL:
                raise failure from None
            if failure.code == "full":
                self._say_full()
                self.waited_s += pause_s  # (2)
                away_since = None
            else:
                away_since = away_since or monotonic()
            if self.stopping or (
                away_since and monotonic() - away_since > self._settings.patience_s
            ):
                raise failure from None  # (3)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _say_full(self) -> None:
        """Say that there is no room, now and then: many wait at once."""
        if monotonic() - self._said_at > _SAY_EVERY_S:
            self._said_at = monotonic()
            _log.warning("queue.full", waited_s=round(self.waited_s))

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()
