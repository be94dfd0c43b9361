"""How far feeds, scans and indexes have come. Written with the data they stand for."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

import lmdb

from indexer import model
from indexer.store.codec import RecordCodec
from indexer.store.environment import Environment

CursorT = TypeVar("CursorT")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCursor:
    """How far a feed was applied.

    Attributes:
        cursor: start of the next set in unix seconds; moves when a set is complete,
            never backwards.
        since: start of the set that is under way.
        token: page at which the set under way goes on; None between sets.
        pages: pages of the set under way that were applied.
        newest: latest ``modified_at`` seen in the set under way.
        synced_at: when a set was last completed.
        restored_from: point in time of the backup that the store was put back from, until
            the feed was read from its beginning: what it withdrew since may be here again.
    """

    cursor: int = 0
    since: int = 0
    token: str | None = field(default=None, repr=False)
    pages: int = 0
    newest: int = 0
    synced_at: datetime | None = None
    restored_from: datetime | None = model.since(2, None)  # noqa: RUF009 - a field


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanCursor:
    """How far a re-scan has come.

    Attributes:
        done: signal log entries up to here have been scanned for.
        target: signal log entry that the scan under way reaches, or 0.
        next_chunk: chunk of stored hashes at which it goes on.
    """

    done: int = 0
    target: int = 0
    next_chunk: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPointer:
    """Which generation of an index is in force.

    Attributes:
        version: last number of the signal log that it holds; 0 for stored hashes.
        name: its file, or "" when there is none.
    """

    version: int = 0
    name: str = ""
    written_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCosts:
    """What re-scans of a segment of stored hashes have cost; see ``indexer.stored``.

    Attributes:
        streamed_s: seconds that an index would have saved since the last one was built.
        build_s: seconds that building it took, or 0.
    """

    streamed_s: float = 0.0
    build_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeState:
    """Up to where nothing of what has gone is left in the store's file.

    Attributes:
        removed: how much had gone by then, as the columns count it.
        purged_at: when that was.
    """

    removed: int = 0
    purged_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestCursor:
    """How far a source has been taken in; see ``delist.ingest``.

    Attributes:
        size_bytes: of the file, by which it is told whether it is the same.
        modified_ns: the same, of its last change.
        stage: passes over it that are done.
        offset: where the pass under way goes on; what it counts is the source's business.
        skip: rows behind ``offset`` that are done.
        name: the last name of a folder that is done.
        done: whether all passes are.
        rejects_bytes: how long its file of refused rows is.
        counts: what was counted so far.
        broken: why it ended early, or empty.
    """

    size_bytes: int = 0
    modified_ns: int = 0
    stage: int = 0
    offset: int = 0
    skip: int = 0
    name: bytes = field(default=b"", repr=False)
    done: bool = False
    rejects_bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    broken: str = ""


class CursorStore(Generic[CursorT]):
    """Named cursors of one kind."""

    def __init__(self, environment: Environment, name: str, cls: type[CursorT]) -> None:
        self._db = environment.database(name.encode())
        self._codec = RecordCodec(cls)
        self._new = cls

    def load(self, txn: lmdb.Transaction, name: str) -> CursorT:
        """Load a cursor, or the one to start with."""
        raw = txn.get(name.encode(), db=self._db)
        return self._new() if raw is None else self._codec.decode(raw)

    def put(self, txn: lmdb.Transaction, name: str, cursor: CursorT) -> None:
        """Store a cursor."""
        txn.put(name.encode(), self._codec.encode(cursor), db=self._db)

    def every(self, txn: lmdb.Transaction) -> dict[str, CursorT]:
        """Map all names to their cursors."""
        with txn.cursor(db=self._db) as cursor:
            return {bytes(name).decode(): self._codec.decode(raw) for name, raw in cursor}
