"""Whether this process can do its work: both stores, the feeds, the index.

Looking costs a read of each store, and anybody may ask: it is done once a second at most.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic

from sqlalchemy import func, select

from delist.build import Delist
from delist.errors import DelistError
from delist.store import ledger
from delist.store.tables import cases
from indexer.errors import IndexerError
from indexer.match import MATCHED_KINDS

_FRESH_S = 1.0


class State(StrEnum):
    """How a part is."""

    READY = "ready"
    FAILING = "failing"
    STALE = "stale"
    MISSING = "missing"

    @property
    def is_ready(self) -> bool:
        """Whether it can do its work."""
        return self is State.READY


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found.

    Attributes:
        parts: ``signals`` (LMDB and the index), ``cases`` (SQL), ``feeds`` (all synced lately).
        feed_ages_s: seconds since each feed's last sync; None: never.
        signals: live ones that are matched, by feed.
        awaiting: cases that wait for a person.
        records: of the ledger.
    """

    parts: Mapping[str, State]
    feed_ages_s: Mapping[str, float | None] = field(default_factory=dict)
    signals: Mapping[str, int] = field(default_factory=dict)
    awaiting: int = 0
    records: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether every part is."""
        return all(state.is_ready for state in self.parts.values())


class Readiness:
    """Looks, and remembers for a second. Thread-safe."""

    def __init__(self, delist: Delist, *, stale_s: int) -> None:
        self._delist = delist
        self._stale_s = stale_s
        self._lock = threading.Lock()
        self._found: Found | None = None
        self._looked_at = 0.0

    def look(self) -> Found:
        """Say how every part is; a store that fails is a finding, not an error."""
        with self._lock:
            now = monotonic()
            if self._found is None or now - self._looked_at >= _FRESH_S:
                self._found, self._looked_at = self._look(), now
            return self._found

    def _look(self) -> Found:
        try:
            ages, counts = self._of_feeds()
            signals = State.READY
        except (IndexerError, DelistError):
            ages, counts, signals = {}, {}, State.FAILING
        awaiting = records = 0
        try:
            awaiting, records = self._of_cases()
            case_store = State.READY
        except (IndexerError, DelistError):
            case_store = State.FAILING
        feeds = State.MISSING
        if signals is State.FAILING:
            feeds = State.FAILING
        elif ages:
            late = [age for age in ages.values() if age is None or age > self._stale_s]
            feeds = State.STALE if late else State.READY
        return Found(
            parts={"signals": signals, "cases": case_store, "feeds": feeds},
            feed_ages_s=ages,
            signals=counts,
            awaiting=awaiting,
            records=records,
        )

    def _of_feeds(self) -> tuple[dict[str, float | None], dict[str, int]]:
        delist, now = self._delist, self._delist.clock()
        indexer = delist.indexer
        ages: dict[str, float | None] = {}
        counts: dict[str, int] = {}
        with indexer.store.read() as txn:
            for feed in delist.settings.indexer.feeds:
                synced_at = indexer.store.feed_cursors.load(txn, feed.name).synced_at
                ages[feed.name] = None if synced_at is None else (now - synced_at).total_seconds()
                held = indexer.store.signals.counts(txn, feed.name)
                counts[feed.name] = sum(held.get(kind, 0) for kind in MATCHED_KINDS)
        # A look-up opens the newest generation of the index, or fails as one of a caller would.
        indexer.match_digest_list([bytes(32)])
        return ages, counts

    def _of_cases(self) -> tuple[int, int]:
        with self._delist.database.read() as connection:
            chosen = select(func.count()).select_from(cases).where(cases.c.awaits_person)
            return int(connection.scalar(chosen) or 0), ledger.head(connection)[0]
