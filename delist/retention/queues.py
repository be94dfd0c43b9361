"""What was sent: words to feeds that are answered."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import and_, delete, func, select

from delist.store import Database
from delist.store.tables import feedback_outbox as outbox
from indexer.store import Store

_AT_ONCE = 500


def drop_feedback(
    store: Store,
    database: Database,
    *,
    before: datetime,
    dry_run: bool,
    stopped: Callable[[], bool],
) -> int:
    """Drop words that were dealt with before a time; returns how many.

    The newest word about a live signal stays: without it the feed would be told again.
    """
    newest = select(func.max(outbox.c.id)).group_by(outbox.c.signal_key)
    done = and_(outbox.c.done_at.is_not(None), outbox.c.done_at < before)
    with database.read() as connection, store.read() as txn:
        old = list(connection.scalars(select(outbox.c.id).where(done, outbox.c.id.not_in(newest))))
        last = connection.execute(
            select(outbox.c.id, outbox.c.signal_key).where(done, outbox.c.id.in_(newest))
        )
        old += [
            row.id for row in last if store.signals.find(txn, bytes.fromhex(row.signal_key)) is None
        ]
    for start in range(0, len(old) if not dry_run else 0, _AT_ONCE):
        if stopped():
            return start
        with database.write() as connection:
            connection.execute(delete(outbox).where(outbox.c.id.in_(old[start : start + _AT_ONCE])))
    return len(old)
