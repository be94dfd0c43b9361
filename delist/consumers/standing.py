"""Where each consumer stands: how much it lacks, and since when."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from delist.store import consumers, ledger
from delist.store.consumers import Consumer


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one consumer stands.

    Attributes:
        position: it has every record up to here, but for those that were set aside.
        head: number of the newest record.
        lag: how many records have not reached it.
        set_aside: how many of them it refused by itself, with what waits behind them.
        waiting_since: when the oldest of them was written.
        deadline: when it should have it; None when nothing waits.
        overdue: whether that is over.
        trouble: why it cannot be reached, as a code; empty when all is well.
    """

    name: str
    kind: str
    position: int
    head: int
    lag: int
    set_aside: int
    waiting_since: datetime | None
    deadline: datetime | None
    overdue: bool
    moved_at: datetime | None
    seen_at: datetime | None
    attempts: int
    next_attempt_at: datetime | None
    trouble: str


def standing(
    connection: Connection, consumer: Consumer, *, clock_hours: int, now: datetime
) -> Standing:
    """Say where a consumer stands.

    Args:
        clock_hours: how long a record may take to reach it.
    """
    head = ledger.head(connection)[0]
    aside = consumers.aside_count(connection, consumer.name)
    since = consumers.waiting_since(connection, consumer)
    deadline = None if since is None else since + timedelta(hours=clock_hours)
    return Standing(
        name=consumer.name,
        kind=consumer.kind,
        position=consumer.position,
        head=head,
        lag=max(0, head - consumer.position) + aside,
        set_aside=aside,
        waiting_since=since,
        deadline=deadline,
        overdue=deadline is not None and deadline <= now,
        moved_at=consumer.moved_at,
        seen_at=consumer.seen_at,
        attempts=consumer.attempts,
        next_attempt_at=consumer.next_attempt_at if consumer.trouble else None,
        trouble=consumer.trouble,
    )
