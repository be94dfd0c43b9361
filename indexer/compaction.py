"""Upkeep of the store: columns close their gaps, and what was withdrawn leaves every file.

The steps of one run:

(1) Move rows from the end of each hash column into free rows before, and drop the chunks
    that are empty then: transactions of some chunks each, so that nobody waits long.
(2) Overwrite the pages that LMDB has freed (``indexer.store.freed``), and note up to where
    that has come. What a reader still held is left for the next run.
(3) Replace the published index if it holds withdrawn signals, and remove indexes of stored
    hashes whose chunks have changed.

Beside other writers: each transaction of (1) reads rows, owners and records anew, and no row
number is ever carried from one transaction into another, neither here nor by visits.

Beside re-scans: a scan streams the image column from the first chunk to the last, and may be
interrupted for days. A row that moved from behind its position to before it would never be
compared. So while a scan has a target no row of that column moves. A scan writes its target
before it reads a chunk, and (1) looks for one inside each of its write transactions. Write
transactions come one after the other: either a move is committed before the target is
written, and the scan, which reads its chunks later, finds the row in its new place; or the
target is seen and nothing moves. It does not matter in which process the scan is, nor that
it saves its position only now and then: the target stands from its beginning to its end. A
scan that was given up holds (1) back until `delist run` resumes it: a delta scan within a
minute, a full one with the next full scan. (2) and (3) move nothing and never wait.

Killed at any moment: (1) is whole transactions, (2) touches nothing that anybody can reach,
(3) is as ``indexer.view`` says.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import lmdb

from indexer.errors import StoreDamagedError, StoreFullError
from indexer.store import PurgeState, Store
from indexer.store.columns import Compact, HashColumn
from indexer.stored import StoredIndexes
from indexer.view import SignalViews

_ROWS_PER_COMMIT = 256
_WORTH_SHARE = 10
"""Unasked, rows move only if a tenth are free: new images take free rows anyway."""
_STATE = "store"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionReport:
    """What a run did.

    Attributes:
        moved: rows that were moved into free ones.
        chunks_dropped: chunks that were empty then.
        pages_overwritten: freed pages that held something.
        pages_pinned: freed pages that a reader still looks at; the next run tries again.
        index_republished: whether the published index held withdrawn signals.
        indexes_dropped: indexes of stored hashes that held what has changed.
        scan_open: whether image rows had to stay, because a re-scan is not finished.
    """

    moved: int = 0
    chunks_dropped: int = 0
    pages_overwritten: int = 0
    pages_pinned: int = 0
    index_republished: bool = False
    indexes_dropped: int = 0
    scan_open: bool = False


class Compaction:
    """Closes gaps and overwrites what has gone."""

    def __init__(
        self, store: Store, views: SignalViews, stored: StoredIndexes, *, purge_after: timedelta
    ) -> None:
        """Let nothing that has gone stay longer than ``purge_after`` if run four times as often."""
        self._store = store
        self._views = views
        self._stored = stored
        self._purge_after = purge_after

    def run(
        self,
        *,
        now: datetime,
        at_once: bool = True,
        stopped: Callable[[], bool] = lambda: False,
    ) -> CompactionReport:
        """Do all steps.

        Args:
            now: time of the run.
            at_once: do everything that can be done; without it, what is due: rows move if
                that frees much, indexes go when they are old, pages are overwritten if
                something has gone since the last time.
            stopped: asked between two transactions; a run that was stopped goes on next time.

        Raises:
            StoreError: the store failed; what was done before stays done.
            OSError: no new index could be written; the old one is still there.
        """
        with self._store.read() as txn:
            removed = self._removed(txn)
            held = self._store.purges.load(txn, _STATE)
        report, damage = CompactionReport(), None
        try:
            report = self._close_gaps(at_once=at_once, stopped=stopped)  # (1)
        except StoreDamagedError as error:
            damage = error  # told at the end: what was withdrawn has to go all the same
        if (at_once or removed != held.removed) and not stopped():
            result = self._store.overwrite_freed(stopped=stopped)  # (2)
            report = replace(
                report, pages_overwritten=result.overwritten, pages_pinned=result.pinned
            )
            if not result.pinned:
                with contextlib.suppress(StoreFullError), self._store.write() as txn:
                    state = PurgeState(removed=removed, purged_at=now)
                    self._store.purges.put(txn, _STATE, state)
        if not stopped():
            report = self._replace_indexes(report, now=now, at_once=at_once)  # (3)
        if damage is not None:
            raise damage
        return report

    def _removed(self, txn: lmdb.Transaction) -> int:
        """Count everything that has gone so far; it grows with each row."""
        return self._store.signals.removed(txn) + self._store.images.column.removed(txn)

    def _close_gaps(self, *, at_once: bool, stopped: Callable[[], bool]) -> CompactionReport:
        moved = dropped = 0
        images = self._store.images
        scan_open = False
        for column, compact in (
            *self._store.signals.compactions(),
            (images.column, images.compact),
        ):
            if not self._is_worth_it(column, at_once=at_once):
                continue
            while not stopped():
                try:
                    moves, drops, scan_open = self._close_some(column, compact)
                except StoreFullError:
                    break  # on a full map rows stay where they are; the rest needs no room
                moved, dropped = moved + moves, dropped + drops
                if scan_open or self._has_no_gap(column):
                    break
        return CompactionReport(moved=moved, chunks_dropped=dropped, scan_open=scan_open)

    def _close_some(self, column: HashColumn, compact: Compact) -> tuple[int, int, bool]:
        """Move a few rows, unless a scan that they could escape is open."""
        with self._store.write() as txn:
            scans = self._store.scan_cursors.every(txn).values()
            if column is self._store.images.column and any(scan.target for scan in scans):
                return 0, 0, True
            return *compact(txn, most=_ROWS_PER_COMMIT), False

    def _is_worth_it(self, column: HashColumn, *, at_once: bool) -> bool:
        with self._store.read() as txn:
            rows, free = column.rows(txn)
        return free > 0 and (at_once or free * _WORTH_SHARE >= rows)

    def _has_no_gap(self, column: HashColumn) -> bool:
        with self._store.read() as txn:
            return column.rows(txn)[1] == 0

    def _replace_indexes(
        self, report: CompactionReport, *, now: datetime, at_once: bool
    ) -> CompactionReport:
        republished = self._views.publish_if_due(now=now, purge=at_once)
        # Run four times as often, so an index goes before it has held anything for too long.
        age = timedelta() if at_once else self._purge_after * 3 / 4
        dropped = self._stored.drop_outdated(before=now - age + timedelta(microseconds=1))
        return replace(report, index_republished=republished, indexes_dropped=dropped)
