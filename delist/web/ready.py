"""Whether this process can do its work: both stores, the feeds, the index.

What is stale is judged by ``delist.monitoring``, as ``delist doctor`` says it. Anybody may ask, so
nothing that moves when somebody's copy is found is answered here, such as cases that wait.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic

from delist.errors import DelistError
from delist.monitoring import Condition, Limits, Monitor, conditions
from delist.monitoring.conditions import NO_FEED
from delist.monitoring.judging import of_feeds
from indexer.build import Indexer
from indexer.errors import IndexerError

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
        troubles: codes of what is stale or missing of these; no names.
        feed_ages_s: seconds since each feed's last sync; None: never.
        signals: live ones that are matched, by feed.
    """

    parts: Mapping[str, State]
    troubles: Sequence[str] = ()
    feed_ages_s: Mapping[str, float | None] = field(default_factory=dict)
    signals: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether every part is."""
        return all(state.is_ready for state in self.parts.values())


class Readiness:
    """Looks, and remembers for a second. Thread-safe."""

    def __init__(self, monitor: Monitor, indexer: Indexer, *, limits: Limits) -> None:
        self._monitor = monitor
        self._indexer = indexer
        self._limits = limits
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

    def conditions(self) -> Sequence[Condition]:
        """Say what is stale or wrong anywhere, for operators.

        Raises:
            StoreError, DatabaseError: a store cannot be read.
        """
        return conditions(self._monitor.read(), self._limits)

    def _look(self) -> Found:
        monitor = self._monitor
        cases = signals = State.READY
        try:
            monitor.of_cases()
        except (IndexerError, DelistError):
            cases = State.FAILING
        try:
            store = monitor.of_store()
            # Opens the newest generation of the index, or fails as a caller's look-up would.
            self._indexer.match_digest_list([bytes(32)])
        except (IndexerError, DelistError):
            parts = {"signals": State.FAILING, "cases": cases, "feeds": State.FAILING}
            return Found(parts=parts)
        codes = [condition.code for condition in of_feeds(store, self._limits)]
        feeds = State.READY
        if codes:
            feeds = State.MISSING if NO_FEED in codes else State.STALE
        outside = {name: feed for name, feed in store.feeds.items() if name != store.reserved}
        return Found(
            parts={"signals": signals, "cases": cases, "feeds": feeds},
            troubles=sorted(set(codes)),
            feed_ages_s={name: feed.sync_age_s for name, feed in outside.items()},
            signals={name: feed.signals for name, feed in outside.items()},
        )
