"""Following the ledger by asking: read behind a number, wait for news, acknowledge.

A consumer that asks for what it had before gets it again: what it does with the same instruction
twice is the same as once. Only what it was given can it acknowledge.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from delist.consumers.instructions import Instruction, page
from delist.consumers.keys import ConsumerKey, key_path
from delist.consumers.standing import Standing, standing
from delist.errors import UnknownConsumerError, UsageError
from delist.store import Database, audit, consumers, ledger
from delist.store.consumers import PULL, Consumer
from delist.store.database import news_path
from delist.store.news import News

MOST = 5_000
"""Instructions in one page, at most."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LOOK_S, _ASK_S = 0.01, 0.2
"""How often a waiting reader looks at the mapped number, and asks the database in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Instructions in order.

    Attributes:
        next: the number to ask behind next, and to acknowledge when all of this is done.
        head: number of the newest record of the ledger.
    """

    instructions: Sequence[Instruction]
    next: int
    head: int


class Followers:
    """What consumers do, and what is done for them. Thread-safe."""

    def __init__(
        self,
        database: Database,
        *,
        clock_hours: int,
        clock: Callable[[], datetime],
        sinks: frozenset[str] = frozenset(),
    ) -> None:
        """Take the names of the configured sinks: they are no names for others."""
        self._database = database
        self._clock_hours = clock_hours
        self._clock = clock
        self._sinks = sinks

    @property
    def data_dir(self) -> Path:
        """Where the keys lie."""
        return self._database.data_dir

    def add(self, name: str, *, actor: str, from_start: bool = True) -> ConsumerKey:
        """Add a consumer that asks by itself; returns its key.

        Args:
            from_start: whether it gets the whole ledger, or only what comes from now on.

        Raises:
            UsageError: the name cannot be one, or is taken.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                "a consumer's name has 1 to 63 lower-case letters, digits, . _ or -, and begins"
                " with a letter or digit"
            )
        if name in self._sinks:
            raise UsageError(f"{name} is the name of a sink; choose another")
        now = self._clock()
        with self._database.write() as connection:
            if consumers.find(connection, name) is not None:
                raise UsageError(f"there is a consumer {name}; remove it first, or choose a name")
            position = 0 if from_start else ledger.head(connection)[0]
            consumers.add(connection, name, kind=PULL, position=position, now=now)
            audit.append(
                connection, actor=actor, act="consumer.added", subject=name, now=now, detail={}
            )
        return self.key(name)

    def remove(self, name: str, *, actor: str) -> None:
        """Forget a consumer, its position and its key.

        Raises:
            UnknownConsumerError: there is none of this name.
        """
        now = self._clock()
        with self._database.write() as connection:
            _find(connection, name)
            consumers.remove(connection, name)
            audit.append(
                connection, actor=actor, act="consumer.removed", subject=name, now=now, detail={}
            )
        key_path(self.data_dir, name).unlink(missing_ok=True)

    def key(self, name: str) -> ConsumerKey:
        """Load the key of a consumer.

        Raises:
            UnknownConsumerError: there is none of this name.
            StoreError: the file cannot be read.
        """
        with self._database.read() as connection:
            _find(connection, name)
        return ConsumerKey.load(self.data_dir, name)

    def read(
        self,
        name: str,
        *,
        after: int | None = None,
        limit: int = 500,
        wait_s: float = 0.0,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Page:
        """Read what follows a number, waiting for it where there is nothing yet.

        Args:
            after: None for what the consumer has acknowledged.
            limit: 1 to ``MOST``.
            wait_s: how long to wait at most.

        Raises:
            UnknownConsumerError: there is none of this name, or it is a sink.
            UsageError: the number lies behind the ledger's end.
            LedgerError: the ledger holds a record that cannot be read.
        """
        key = self.key(name)
        with self._database.read() as connection:
            position = _pulling(connection, name).position
            head = ledger.head(connection)[0]
        start = position if after is None else after
        if start > head:
            raise UsageError(f"the ledger ends at record {head}; there is nothing behind {start}")
        if start == head:
            self._wait(start, wait_s, stopped)
        with self._database.read() as connection:
            found = page(connection, start, limit=min(limit, MOST), key=key)
            head = ledger.head(connection)[0]
        last = found[-1].sequence if found else start
        self._note_handed(name, last)
        return Page(instructions=found, next=last, head=head)

    def acknowledge(self, name: str, sequence: int) -> Standing:
        """Note that a consumer has obeyed everything up to a number; lower ones change nothing.

        Raises:
            UnknownConsumerError: there is none of this name, or it is a sink.
            UsageError: it was never given this record.
        """
        now = self._clock()
        with self._database.write() as connection:
            consumer = _pulling(connection, name)
            if sequence > consumer.handed:
                raise UsageError(
                    f"this consumer was given records up to {consumer.handed};"
                    f" it cannot acknowledge {sequence}"
                )
            if sequence > consumer.position:
                consumers.move(connection, name, position=sequence, handed=consumer.handed, now=now)
            return self._standing(connection, _pulling(connection, name), now)

    def standings(self) -> list[Standing]:
        """Say where every consumer stands, sinks included, by name."""
        now = self._clock()
        with self._database.read() as connection:
            return [
                self._standing(connection, consumer, now)
                for consumer in consumers.every(connection)
            ]

    def _standing(self, connection: Connection, consumer: Consumer, now: datetime) -> Standing:
        return standing(connection, consumer, clock_hours=self._clock_hours, now=now)

    def _note_handed(self, name: str, last: int) -> None:
        """Note what was given, before it is given: nothing else can be acknowledged."""
        now = self._clock()
        with self._database.write() as connection:
            consumer = _pulling(connection, name)
            consumers.note_handed(connection, name, max(last, consumer.handed), now=now)

    def _wait(self, sequence: int, wait_s: float, stopped: Callable[[], bool]) -> None:
        end = time.monotonic() + wait_s
        news, seen = News(news_path(self.data_dir)), -1
        ask_at = 0.0
        while (now := time.monotonic()) < end and not stopped():
            if news.mark[0] != seen or now >= ask_at:
                seen, ask_at = news.mark[0], now + _ASK_S
                with self._database.read() as connection:
                    if ledger.head(connection)[0] > sequence:
                        return
            time.sleep(min(_LOOK_S, max(0.0, end - now)))


def _find(connection: Connection, name: str) -> Consumer:
    found = consumers.find(connection, name)
    if found is None:
        raise UnknownConsumerError("no consumer has this name; see delist consumers list")
    return found


def _pulling(connection: Connection, name: str) -> Consumer:
    found = _find(connection, name)
    if found.kind != PULL:
        raise UnknownConsumerError("this is a sink: it is brought what is new, it does not ask")
    return found
