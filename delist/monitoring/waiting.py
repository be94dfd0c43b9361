"""How long images stayed in results, of the last days: the figure we live by, as a histogram.

It is made of stored times, so a restart changes nothing. It covers a window and not all time:
with a signal that is withdrawn its time goes too, and a sum over all time would then fall, which
Prometheus would take for a restart and count twice.
"""

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from delist.reporting.operations import quantiles
from delist.reporting.waits import Wait, feed_to_suppression
from delist.store import Database, figures
from indexer.store import Store

WINDOW = timedelta(days=7)
BOUNDS_S = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 48 * 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Times from feed to suppression, of images that went within ``WINDOW``.

    Attributes:
        buckets: how many took so many seconds at most; the last is all of them.
        p50_s: exact; None of none. ``p99_s`` too.
    """

    buckets: Sequence[tuple[float, int]]
    sum_s: float
    p50_s: float | None
    p99_s: float | None

    @property
    def count(self) -> int:
        """How many there are."""
        return self.buckets[-1][1]


class Window:
    """Follows the ledger; each look costs what is new. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._position = 0
        self._waits: deque[Wait] = deque()

    def look(self, store: Store, database: Database, *, now: datetime) -> Waits:
        """Take in what is new, and let go what is old.

        Raises:
            StoreError, DatabaseError: a store cannot be read.
        """
        since = now - WINDOW
        with self._lock:
            with database.read() as connection:
                if not self._position:
                    self._position = figures.last_before(connection, since)
                head, found = figures.first_records_after(connection, self._position)
            if found:
                with store.read() as txn:
                    self._waits.extend(feed_to_suppression(store, txn, found))
            self._position = max(self._position, head)
            while self._waits and self._waits[0].until < since:
                self._waits.popleft()
            return _summed([wait.time for wait in self._waits])


def _summed(times: Sequence[timedelta]) -> Waits:
    seconds = sorted(time.total_seconds() for time in times)
    found = quantiles(times)
    counted = [(float(bound), bisect_right(seconds, bound)) for bound in BOUNDS_S]
    return Waits(
        buckets=[*counted, (float("inf"), len(seconds))],
        sum_s=sum(seconds),
        p50_s=found.p50_s,
        p99_s=found.p99_s,
    )
