"""Append-only logs: what happened, in order, numbered from 1 without gaps; old entries may go."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
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

    def reaches_back(self, txn: lmdb.Transaction, sequence: int) -> bool:
        """Say whether all entries that ever followed ``sequence`` are still there."""
        with txn.cursor(db=self._db) as cursor:
            return not cursor.first() or int.from_bytes(cursor.key()) <= sequence + 1

    def forget(self, txn: lmdb.Transaction, *, up_to: int, before: datetime, limit: int) -> int:
        """Drop the oldest entries; returns how many.

        The newest entry always stays: its number is what the log has come to.

        Args:
            up_to: the last entry that nobody needs any more.
            before: entries from this time on stay, and whatever follows the first of them.
            limit: most entries to drop in this transaction.
        """
        keys = list(islice(self._forgettable(txn, up_to=up_to, before=before), limit))
        for key in keys:
            txn.delete(key, db=self._db)
        return len(keys)

    def count_forgettable(self, txn: lmdb.Transaction, *, up_to: int, before: datetime) -> int:
        """Count what ``forget`` would drop without a limit."""
        return sum(1 for _ in self._forgettable(txn, up_to=up_to, before=before))

    def _forgettable(
        self, txn: lmdb.Transaction, *, up_to: int, before: datetime
    ) -> Iterator[bytes]:
        last = min(up_to, self.last_sequence(txn) - 1)
        with txn.cursor(db=self._db) as cursor:
            for key, raw in cursor:
                if int.from_bytes(key) > last or self._codec.decode(raw).at >= before:
                    return
                yield bytes(key)
