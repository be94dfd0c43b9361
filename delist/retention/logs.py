"""The logs between the stores: entries that everybody has taken in, and that nobody counts."""

from collections.abc import Callable
from datetime import datetime

import lmdb
from sqlalchemy import Connection

from delist.store import Database, positions
from indexer.store import Store
from indexer.store.logs import EventLog, EventT

_AT_ONCE = 5_000


def forget_matches(
    store: Store,
    database: Database,
    *,
    before: datetime,
    dry_run: bool,
    stopped: Callable[[], bool],
) -> int:
    """Drop entries of the match log that were taken in, from before a time; returns how many."""

    def up_to(connection: Connection, _txn: lmdb.Transaction) -> int:
        return positions.load(connection, positions.MATCH_LOG)

    return _forget(
        store, database, store.images.log, up_to, before=before, dry_run=dry_run, stopped=stopped
    )


def forget_signals(
    store: Store,
    database: Database,
    *,
    before: datetime,
    dry_run: bool,
    stopped: Callable[[], bool],
) -> int:
    """Drop the same of the signal log.

    Re-scans and the published index go on from entries of theirs, so those stay too.
    """

    def up_to(connection: Connection, txn: lmdb.Transaction) -> int:
        scans = [cursor.done for cursor in store.scan_cursors.every(txn).values()]
        pointers = store.index_pointers.every(txn).values()
        indexes = [pointer.version for pointer in pointers if pointer.name and pointer.version]
        taken_in = positions.load(connection, positions.SIGNAL_LOG)
        return min([taken_in, *(scans or [0]), *indexes])

    return _forget(
        store, database, store.signals.log, up_to, before=before, dry_run=dry_run, stopped=stopped
    )


def _forget(
    store: Store,
    database: Database,
    log: EventLog[EventT],
    up_to: Callable[[Connection, lmdb.Transaction], int],
    *,
    before: datetime,
    dry_run: bool,
    stopped: Callable[[], bool],
) -> int:
    with database.read() as connection, store.read() as txn:
        bound = up_to(connection, txn)
        if dry_run:
            return log.count_forgettable(txn, up_to=bound, before=before)
    total = 0
    if stopped():
        return total
    while True:
        with store.write() as txn:
            dropped = log.forget(txn, up_to=bound, before=before, limit=_AT_ONCE)
        total += dropped
        if dropped < _AT_ONCE or stopped():
            return total
