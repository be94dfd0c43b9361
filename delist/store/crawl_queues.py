"""What the crawlers' queue last said of itself: one row a stream, and no history.

Counts and times of messages; nothing of what they hold.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from delist.store.tables import crawl_queues


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlQueueState:
    """What is on record about the queue.

    Attributes:
        asked_at: when it was last asked.
        trouble: why that had no answer; empty: it had one.
        answered_at: when it last answered, which the figures are of; None: never.
        waiting: messages that were not taken in.
        oldest_at: since when the oldest of them waited; None of none.
        parked: messages that cannot be taken in.
    """

    asked_at: datetime
    trouble: str = ""
    answered_at: datetime | None = None
    waiting: int = 0
    oldest_at: datetime | None = None
    parked: int = 0


def find(connection: Connection, stream: str) -> CrawlQueueState | None:
    """Load what is on record about a stream; None: it was never asked."""
    row = connection.execute(select(crawl_queues).where(crawl_queues.c.stream == stream)).first()
    if row is None:
        return None
    return CrawlQueueState(
        asked_at=row.asked_at,
        trouble=row.trouble,
        answered_at=row.answered_at,
        waiting=row.waiting,
        oldest_at=row.oldest_at,
        parked=row.parked,
    )


def put(connection: Connection, stream: str, state: CrawlQueueState) -> None:
    """Write what is so now over what was on record about a stream."""
    values = {
        "asked_at": state.asked_at,
        "trouble": state.trouble,
        "answered_at": state.answered_at,
        "waiting": state.waiting,
        "oldest_at": state.oldest_at,
        "parked": state.parked,
    }
    mine = crawl_queues.c.stream == stream
    if connection.execute(update(crawl_queues).where(mine).values(**values)).rowcount == 0:
        connection.execute(insert(crawl_queues).values(stream=stream, **values))
