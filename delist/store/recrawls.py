"""When each suppressed URL is looked at again, and what it answered last, in SQL.

A row is a state: it follows from the ledger (``follow`` in ``delist.recrawl``) and from looks.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, and_, delete, exists, func, insert, select, update

from delist.store.lists import among
from delist.store.tables import recrawl_days as days
from delist.store.tables import recrawls
from delist.store.tables import suppression_records as records
from delist.store.times import has_come

LONGEST_WAIT = timedelta(days=366)
"""No setting lets a URL wait longer for its next look."""

_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Recrawl:
    """One URL on the schedule.

    Attributes:
        url_key: hex key of the canonical URL.
        case_id: the case that suppresses it, or did last.
        sequence: number of the record that says so.
        lifted_at: when it was lifted since other bytes were there; None while it is suppressed.
        next_at: when it is due.
        outcome: of the last look, "" before the first.
        streak: how many looks in a row came to the same after the first of them.
        since: when the first of those was.
    """

    url_key: str = field(repr=False)
    image_url: str = field(repr=False)
    site: str = field(repr=False)
    case_id: str
    sequence: int
    lifted_at: datetime | None = None
    next_at: datetime
    looked_at: datetime | None = None
    outcome: str = ""
    streak: int = 0
    since: datetime | None = None


def find(connection: Connection, url_key: str) -> Recrawl | None:
    """Find a URL on the schedule."""
    found = connection.execute(select(recrawls).where(recrawls.c.url_key == url_key)).first()
    return None if found is None else Recrawl(**found._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def put(connection: Connection, entry: Recrawl) -> None:
    """Store a row in place of the one that there may be."""
    values = {each.name: getattr(entry, each.name) for each in fields(entry)}
    chosen = recrawls.c.url_key == entry.url_key
    done = connection.execute(update(recrawls).where(chosen).values(values))
    if not done.rowcount:
        connection.execute(insert(recrawls).values(values))


def drop(connection: Connection, url_keys: Iterable[str]) -> None:
    """Take URLs off the schedule."""
    keys = list(url_keys)
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        part = keys[start : start + _KEYS_AT_ONCE]
        connection.execute(delete(recrawls).where(among(recrawls.c.url_key, part)))


def drop_ended(connection: Connection, *, lifted_before: datetime) -> None:
    """Take those off that were lifted before some time, and those whose records were erased."""
    erased = exists().where(
        records.c.sequence == recrawls.c.sequence, records.c.erased_at.is_not(None)
    )
    connection.execute(
        delete(recrawls).where(
            recrawls.c.lifted_at.is_not(None), (recrawls.c.lifted_at < lifted_before) | erased
        )
    )


def due(
    connection: Connection,
    *,
    now: datetime,
    per_site: int,
    limit: int,
    longest: timedelta = LONGEST_WAIT,
) -> list[Recrawl]:
    """List what is due, what has waited longest first, within what each site has left today.

    Args:
        per_site: most looks of one site on a UTC day.
        limit: most rows.
        longest: no URL waits longer for its next look.
    """
    order = (recrawls.c.next_at, recrawls.c.url_key)
    place = func.row_number().over(partition_by=recrawls.c.site, order_by=order)
    come = has_come(recrawls.c.next_at, now=now, longest=longest)
    waiting = select(recrawls, place.label("place")).where(come).subquery()
    today = and_(days.c.site == waiting.c.site, days.c.day == _day(now))
    chosen = (
        select(*(waiting.c[column.name] for column in recrawls.columns))
        .outerjoin(days, today)
        .where(waiting.c.place <= per_site - func.coalesce(days.c.looks, 0))
        .order_by(waiting.c.next_at, waiting.c.url_key)
        .limit(limit)
    )
    return [Recrawl(**row._mapping) for row in connection.execute(chosen)]  # noqa: SLF001


def count_due(connection: Connection, *, now: datetime) -> int:
    """Count what is due, whatever its site has left."""
    chosen = select(func.count()).select_from(recrawls).where(recrawls.c.next_at <= now)
    return int(connection.scalar(chosen) or 0)


def claim(
    connection: Connection, entries: Sequence[Recrawl], *, until: datetime, now: datetime
) -> None:
    """Have nobody else look at some URLs for a while, and count the looks of their sites.

    A look that never ends in an outcome, say since it kills whoever looks, so waits its turn.
    """
    keys = [entry.url_key for entry in entries]
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        part = keys[start : start + _KEYS_AT_ONCE]
        chosen = among(recrawls.c.url_key, part)
        connection.execute(update(recrawls).where(chosen).values(next_at=until))
    day = _day(now)
    connection.execute(delete(days).where(days.c.day < day))
    for site, looks in Counter(entry.site for entry in entries).items():
        today = (days.c.day == day) & (days.c.site == site)
        done = connection.execute(update(days).where(today).values(looks=days.c.looks + looks))
        if not done.rowcount:
            connection.execute(insert(days).values(day=day, site=site, looks=looks))


def note(connection: Connection, entry: Recrawl) -> None:
    """Note what a look came to; nothing happens when the URL has left the schedule meanwhile."""
    names = ("next_at", "looked_at", "outcome", "streak", "since")
    values = {name: getattr(entry, name) for name in names}
    connection.execute(update(recrawls).where(recrawls.c.url_key == entry.url_key).values(values))


def _day(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y-%m-%d}"
