"""Reading the figures of an installation from both stores.

A reading costs a few counts and no scan. Whoever asks more often gets the reading before.
"""

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from time import monotonic
from typing import Generic, TypeVar

import lmdb
from sqlalchemy import Connection, func, select

from delist.appeal_record import AppealState
from delist.attestation.attesting import LedgerLog
from delist.casework import braking
from delist.consumers import Standing
from delist.errors import LedgerError
from delist.model import BrakeKind
from delist.monitoring.crawl_queue import CrawlQueue
from delist.monitoring.figures import (
    APPEALS_DAYS,
    CaseFigures,
    CrawlQueueFigures,
    FeedFigures,
    Figures,
    StoreFigures,
)
from delist.monitoring.waiting import Waits, Window
from delist.sinks import Sinks
from delist.store import (
    Database,
    brakes,
    figures,
    jobs,
    leases,
    ledger,
    outbox,
    positions,
    queue,
    reassessments,
    standing,
    tree,
)
from delist.store.crawl_queues import CrawlQueueState
from delist.store.figures import Period
from delist.store.tables import appeals
from indexer.build import Indexer
from indexer.errors import SettingsError
from indexer.match import MATCHED_KINDS
from indexer.settings import RESERVED_FEED

T = TypeVar("T")

_FRESH_S = 1.0
_INDEX = "signals"
_PUT_BACK = "the ledger was put back from a backup, and nobody has said how it goes on"


class _Kept(Generic[T]):
    """What was read last, for a second. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: T | None = None
        self._read_at = 0.0

    def get(self, read: Callable[[], T]) -> T:
        with self._lock:
            now = monotonic()
            if self._held is None or now - self._read_at >= _FRESH_S:
                self._held, self._read_at = read(), now
            return self._held


class Monitor:
    """Reads. Thread-safe."""

    def __init__(
        self,
        *,
        indexer: Callable[[], Indexer],
        database: Callable[[], Database],
        log: Callable[[], LedgerLog],
        sinks: Callable[[], Sinks],
        crawl_queue: Callable[[], CrawlQueue],
        feeds: Callable[[], Sequence[str]],
        clock: Callable[[], datetime],
    ) -> None:
        """Take what gives the stores and the configured names: nothing is opened before use."""
        self._indexer, self._database = indexer, database
        self._log, self._sinks = log, sinks
        self._crawl_queue = crawl_queue
        self._feeds = feeds
        self._clock = clock
        self._window = Window()
        self._store: _Kept[StoreFigures] = _Kept()
        self._cases: _Kept[CaseFigures] = _Kept()

    def read(self) -> Figures:
        """Return a reading, not older than a second.

        Raises:
            StoreError, DatabaseError: a store cannot be read.
        """
        store, cases = self.of_store(), self.of_cases()
        disk = shutil.disk_usage(self._indexer().settings.data_dir)
        return Figures(
            at=self._clock(),
            store=store,
            cases=cases,
            disk_free_bytes=disk.free,
            disk_bytes=disk.total,
            sinks=self._sink_troubles,
        )

    def waits(self) -> Waits:
        """Say how long images stayed in results; see ``Waits``.

        Raises:
            StoreError, DatabaseError: a store cannot be read.
        """
        return self._window.look(self._indexer().store, self._database(), now=self._clock())

    def of_store(self) -> StoreFigures:
        """Return the LMDB store's part alone.

        Raises:
            StoreError: it cannot be read.
        """
        return self._store.get(self._read_store)

    def of_cases(self) -> CaseFigures:
        """Return the case store's part alone.

        Raises:
            DatabaseError: it cannot be read.
        """
        return self._cases.get(self._read_cases)

    def _read_store(self) -> StoreFigures:
        indexer, now = self._indexer(), self._clock()
        store = indexer.store
        names = [*self._feeds(), RESERVED_FEED]
        with store.read() as txn:
            written_at = store.index_pointers.load(txn, _INDEX).written_at
            return StoreFigures(
                feeds={name: _feed(indexer, txn, name, now=now) for name in names},
                images=store.images.count(txn),
                restored=frozenset(
                    name
                    for name, cursor in store.feed_cursors.every(txn).items()
                    if cursor.restored_from is not None
                ),
                index_age_s=None if written_at is None else (now - written_at).total_seconds(),
                log_ends={
                    positions.MATCH_LOG: store.images.log.last_sequence(txn),
                    positions.SIGNAL_LOG: store.signals.log.last_sequence(txn),
                },
                usage=store.usage(),
            )

    def _read_cases(self) -> CaseFigures:
        database, now = self._database(), self._clock()
        trouble = self._ledger_trouble()
        consumers = self._sinks().followers.standings()
        queue = self._crawl_queue()
        with database.read() as connection:
            found = _cases(
                connection,
                now=now,
                led_at=database.now(connection),
                consumers=consumers,
                ledger_trouble=trouble,
            )
        if not queue.is_configured:
            return found
        return replace(found, crawl_queue=_crawl_queue(queue.find(), now=now))

    def _ledger_trouble(self) -> str:
        with self._database().read() as connection:
            if standing.was_put_back(connection):
                return _PUT_BACK
        try:
            self._log().check_past()
        except LedgerError as error:
            return str(error)
        return ""

    @cached_property
    def _sink_troubles(self) -> dict[str, str]:
        """Say of each configured sink why its settings cannot be used."""
        sinks = self._sinks()
        found = {}
        for name in sinks.names:
            try:
                sinks.check_settings([name])
                found[name] = ""
            except SettingsError as error:
                found[name] = str(error)
        return found


def _feed(indexer: Indexer, txn: lmdb.Transaction, name: str, *, now: datetime) -> FeedFigures:
    store = indexer.store
    synced_at = store.feed_cursors.load(txn, name).synced_at
    held = store.signals.counts(txn, name)
    return FeedFigures(
        sync_age_s=None if synced_at is None else (now - synced_at).total_seconds(),
        signals=sum(held.get(kind, 0) for kind in MATCHED_KINDS),
        quarantined=store.signals.quarantined(txn, name),
    )


def _cases(
    connection: Connection,
    *,
    now: datetime,
    led_at: datetime,
    consumers: Sequence[Standing],
    ledger_trouble: str,
) -> CaseFigures:
    waiting = queue.counts(connection, now=now)
    oldest = waiting.oldest_at
    period = Period(start=now - timedelta(days=APPEALS_DAYS), end=now + timedelta(seconds=1))
    decided = figures.appeals_decided(connection, period)
    newest = tree.newest(connection)
    logs = (positions.MATCH_LOG, positions.SIGNAL_LOG)
    open_appeals = appeals.c.state == AppealState.OPEN.value
    overdue = open_appeals & (appeals.c.deadline_at <= now)
    return CaseFigures(
        queue=waiting,
        queue_age_s=0.0 if oldest is None else (now - oldest).total_seconds(),
        log_positions={log: positions.load(connection, log) for log in logs},
        reassessments=reassessments.waiting(connection),
        appeals_waiting=int(connection.scalar(select(func.count()).where(open_appeals)) or 0),
        appeals_overdue=int(connection.scalar(select(func.count()).where(overdue)) or 0),
        upheld=decided.get("upheld", 0),
        overturned=decided.get("overturned", 0),
        stopped=sum(
            brake.set_by == braking.ACTOR and brake.kind is BrakeKind.SIGNAL
            for brake in brakes.every(connection)
        ),
        records=ledger.head(connection)[0],
        signed=0 if newest is None else newest.size,
        feedback_waiting=outbox.waiting(connection),
        consumers=consumers,
        consumer_ages_s={
            found.name: (now - (found.waiting_since or now)).total_seconds() for found in consumers
        },
        jobs=jobs.every(connection),
        led=leases.is_held(connection, now=led_at),
        ledger_trouble=ledger_trouble,
    )


def _crawl_queue(state: CrawlQueueState | None, *, now: datetime) -> CrawlQueueFigures:
    if state is None:
        return CrawlQueueFigures()
    answered_at, oldest_at = state.answered_at, state.oldest_at
    return CrawlQueueFigures(
        asked_age_s=(now - state.asked_at).total_seconds(),
        trouble=state.trouble,
        answer_age_s=None if answered_at is None else (now - answered_at).total_seconds(),
        waiting=state.waiting,
        oldest_s=(answered_at - oldest_at).total_seconds() if answered_at and oldest_at else 0.0,
        parked=state.parked,
    )
