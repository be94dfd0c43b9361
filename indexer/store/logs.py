"""Append-only logs: what happened, in order, numbered from 1 without gaps."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Generic, TypeVar

import lmdb

from indexer.model import MatchEvent, SignalEvent
from indexer.store.codec import RecordCodec
from indexer.store.environment import Environment

EventT = TypeVar("EventT", MatchEvent, SignalEvent)


class EventLog(Generic[EventT]):
    """One log in one database; the key is the sequence number, big-endian."""

    def __init__(self, environment: Environment, name: str, cls: type[EventT]) -> None:
        self._db = environment.database(name.encode())
        self._codec: RecordCodec[EventT] = RecordCodec(cls)

    def last_sequence(self, txn: lmdb.Transaction) -> int:
        """Return the number of the newest entry, 0 when the log is empty."""
        with txn.cursor(db=self._db) as cursor:
            return int.from_bytes(cursor.key()) if cursor.last() else 0

    def append(self, txn: lmdb.Transaction, event: EventT) -> int:
        """Append an event under the next number, and return the number."""
        sequence = self.last_sequence(txn) + 1
        numbered = replace(event, sequence=sequence)
        txn.put(sequence.to_bytes(8), self._codec.encode(numbered), db=self._db, append=True)
        return sequence

    def after(self, txn: lmdb.Transaction, sequence: int, *, limit: int) -> Iterator[EventT]:
        """Iterate over at most ``limit`` entries that follow ``sequence``, oldest first."""
        with txn.cursor(db=self._db) as cursor:
            if not cursor.set_range((sequence + 1).to_bytes(8)):
                return
            for _, raw in zip(range(limit), cursor.iternext(keys=False), strict=False):
                yield self._codec.decode(raw)
