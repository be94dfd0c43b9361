"""What the feeds are still to be told; written with the decision it follows from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from delist.store.lists import among
from delist.store.tables import feedback_outbox as outbox
from delist.store.times import has_come

SENT, SUPERSEDED = "sent", "superseded"
WITHDRAWN = "withdrawn"
"""The signal was withdrawn before its feed was told; when it returns, it is news again."""
NOT_TAKEN = "not_taken"
"""The feed takes no feedback."""
REFUSED = "refused"
"""The feed refuses this word by itself, others not. It still waits, and is tried again rarely."""
LONGEST_WAIT = timedelta(days=1)
"""No word waits longer for its next attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedFeedback:
    """One word about one signal that its feed is to be told."""

    id: int
    feed: str
    signal_key: str
    value: str
    attempts: int


def last_value(connection: Connection, signal_key: str) -> str | None:
    """Return the newest word about a signal that its feed was or is to be told."""
    told = outbox.c.outcome.is_(None) | outbox.c.outcome.in_((SENT, NOT_TAKEN, REFUSED))
    return connection.scalar(
        select(outbox.c.value)
        .where(outbox.c.signal_key == signal_key, told)
        .order_by(outbox.c.id.desc())
        .limit(1)
    )


def last_sent(connection: Connection, signal_key: str) -> str | None:
    """Return the newest word about a signal that its feed was told."""
    return connection.scalar(
        select(outbox.c.value)
        .where(outbox.c.signal_key == signal_key, outbox.c.outcome == SENT)
        .order_by(outbox.c.id.desc())
        .limit(1)
    )


def queue(connection: Connection, *, feed: str, signal_key: str, value: str, now: datetime) -> None:
    """Queue a word about a signal; older words about it that still wait are superseded."""
    connection.execute(
        update(outbox)
        .where(outbox.c.signal_key == signal_key, outbox.c.done_at.is_(None))
        .values(done_at=now, outcome=SUPERSEDED)
    )
    connection.execute(
        insert(outbox).values(
            feed=feed,
            signal_key=signal_key,
            value=value,
            queued_at=now,
            attempts=0,
            next_attempt_at=now,
        )
    )


def feeds_waiting(connection: Connection) -> list[str]:
    """List the feeds for which something waits."""
    found = select(outbox.c.feed).where(outbox.c.done_at.is_(None)).distinct()
    return sorted(connection.scalars(found))


def due(connection: Connection, *, feed: str, now: datetime, limit: int) -> list[QueuedFeedback]:
    """Load what is to be sent to a feed now, the oldest first."""
    found = connection.execute(
        select(outbox.c.id, outbox.c.feed, outbox.c.signal_key, outbox.c.value, outbox.c.attempts)
        .where(
            outbox.c.feed == feed,
            outbox.c.done_at.is_(None),
            has_come(outbox.c.next_attempt_at, now=now, longest=LONGEST_WAIT),
        )
        .order_by(outbox.c.id)
        .limit(limit)
    )
    return [QueuedFeedback(**row._mapping) for row in found]  # noqa: SLF001 - SQLAlchemy's public name for it


def finish(connection: Connection, ids: Sequence[int], *, outcome: str, now: datetime) -> None:
    """Mark entries as done."""
    connection.execute(
        update(outbox)
        .where(among(outbox.c.id, ids), outbox.c.done_at.is_(None))
        .values(done_at=now, outcome=outcome)
    )


def postpone(
    connection: Connection, ids: Sequence[int], *, until: datetime, outcome: str | None = None
) -> None:
    """Note a failed attempt and when to try again; ``outcome`` is ``REFUSED`` or None."""
    connection.execute(
        update(outbox)
        .where(among(outbox.c.id, ids), outbox.c.done_at.is_(None))
        .values(attempts=outbox.c.attempts + 1, next_attempt_at=until, outcome=outcome)
    )


def waiting(connection: Connection) -> int:
    """Count what was not sent yet."""
    found = connection.scalar(
        select(func.count()).select_from(outbox).where(outbox.c.done_at.is_(None))
    )
    return int(found or 0)


def refused(connection: Connection) -> int:
    """Count what waits because the feed refuses it by itself."""
    chosen = outbox.c.done_at.is_(None) & (outbox.c.outcome == REFUSED)
    return int(connection.scalar(select(func.count()).select_from(outbox).where(chosen)) or 0)
