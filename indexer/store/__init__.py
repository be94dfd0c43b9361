"""The LMDB store: signals, image records, hash columns, match log, signal log, cursors.

Everything lies in one environment, so that what belongs together is written in
one transaction: a page of a feed with its cursor, an image with its hashes,
matches and log entries.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Self

import lmdb

from indexer.settings import StoreSettings
from indexer.store import dumping
from indexer.store.backgrounds import SignalBackground
from indexer.store.cursors import (
    CursorStore,
    FeedCursor,
    IndexPointer,
    IngestCursor,
    PurgeState,
    ScanCursor,
    SegmentCosts,
)
from indexer.store.environment import SCHEMA, Environment, Usage
from indexer.store.freed import Overwritten, overwrite_freed
from indexer.store.images import ImageStore
from indexer.store.secret import load_or_create_secret, make_private
from indexer.store.signals import QuarantinedRecord, SignalStore, Tombstone

__all__ = [
    "SCHEMA",
    "FeedCursor",
    "IndexPointer",
    "IngestCursor",
    "Overwritten",
    "PurgeState",
    "QuarantinedRecord",
    "ScanCursor",
    "SegmentCosts",
    "SignalBackground",
    "Store",
    "Tombstone",
    "Usage",
    "load_or_create_secret",
]


class Store:
    """The open store. Thread-safe; to be opened anew in every process."""

    def __init__(self, data_dir: Path, settings: StoreSettings) -> None:
        """Open the store under a data directory, creating what is missing.

        Raises:
            StoreError: see ``indexer.errors``.
        """
        make_private(data_dir)
        secret = load_or_create_secret(data_dir / "secrets" / "signal-key")
        self._environment = Environment(data_dir / "store", settings)
        try:
            self.signals = SignalStore(self._environment, secret)
            self.images = ImageStore(self._environment)
            self.feed_cursors = CursorStore(self._environment, "feed_cursors", FeedCursor)
            self.scan_cursors = CursorStore(self._environment, "scan_cursors", ScanCursor)
            self.index_pointers = CursorStore(self._environment, "index_pointers", IndexPointer)
            self.segment_costs = CursorStore(self._environment, "segment_costs", SegmentCosts)
            self.ingest_cursors = CursorStore(self._environment, "ingest_cursors", IngestCursor)
            self.purges = CursorStore(self._environment, "purges", PurgeState)
        except BaseException:
            self._environment.close()
            raise

    def read(self) -> AbstractContextManager[lmdb.Transaction]:
        """Open a read transaction: one consistent state of everything."""
        return self._environment.read()

    def write(self) -> AbstractContextManager[lmdb.Transaction]:
        """Open the write transaction; durable when the block is left, or nothing is kept."""
        return self._environment.write()

    def usage(self) -> Usage:
        """Say how full the store is, and who reads."""
        return self._environment.usage()

    def overwrite_freed(self, *, stopped: Callable[[], bool] = lambda: False) -> Overwritten:
        """Overwrite what was freed before now; see ``indexer.store.freed``."""
        return overwrite_freed(self._environment, stopped=stopped)

    def dump(self, txn: lmdb.Transaction) -> Iterator[tuple[str, Iterator[dumping.Pair]]]:
        """Iterate over all databases and what they hold; valid within the transaction."""
        for name in dumping.names(txn):
            yield name, dumping.pairs(self._environment, txn, name)

    def fill(self, name: str, batches: Iterable[Sequence[dumping.Pair]]) -> int:
        """Fill a database of a new store from a dump; see ``dumping.fill``."""
        return dumping.fill(self._environment, name, batches)

    def mark_restored(self, *, taken_at: datetime, kept: str) -> None:
        """Note that the store was put back: each feed is to be read from its beginning.

        Args:
            taken_at: point in time of the backup.
            kept: the feed that cannot be read anew: what people report to us directly.
        """
        with self.write() as txn:
            for name, cursor in self.feed_cursors.every(txn).items():
                begun = cursor if name == kept else FeedCursor(synced_at=cursor.synced_at)
                self.feed_cursors.put(txn, name, replace(begun, restored_from=taken_at))

    def restored_feeds(self) -> dict[str, datetime]:
        """Map the feeds not read from their beginning since the store was put back to when."""
        with self.read() as txn:
            found = self.feed_cursors.every(txn)
        return {
            name: cursor.restored_from
            for name, cursor in found.items()
            if cursor.restored_from is not None
        }

    def accept_restored(self, name: str) -> bool:
        """Take a feed as it was put back, by a person's word; say whether it had to be."""
        with self.write() as txn:
            cursor = self.feed_cursors.load(txn, name)
            if cursor.restored_from is None:
                return False
            self.feed_cursors.put(txn, name, replace(cursor, restored_from=None))
        return True

    def close(self) -> None:
        """Close the store."""
        self._environment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
