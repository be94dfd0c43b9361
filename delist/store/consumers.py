"""Who follows the ledger, how far each has come, and what was set aside on the way.

The ledger itself is the outbox: a consumer is a position in it. Only what one consumer refuses
by itself has a row of its own, and what follows it about the same subject waits behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from delist.store.lists import among
from delist.store.tables import consumers, set_aside
from delist.store.tables import suppression_records as records
from delist.store.times import has_come

PULL = "pull"
"""Kind of a consumer that asks by itself; any other kind is the type of a sink."""
LONGEST_PAUSE, LONGEST_ASIDE = timedelta(minutes=10), timedelta(hours=1)
"""No sink that was in trouble waits longer for its next attempt, and no record set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One party that follows the ledger.

    Attributes:
        kind: ``PULL``, or the type of the sink.
        position: every record up to this number has reached it or was set aside.
        handed: the last number that it was given; it can acknowledge no more.
        moved_at: when the position moved last.
        seen_at: when it asked last, or was last tried.
        attempts: how often in a row it could not be reached.
        trouble: why, as a code; empty when all is well.
    """

    name: str
    kind: str
    position: int
    handed: int
    added_at: datetime
    moved_at: datetime | None
    seen_at: datetime | None
    attempts: int
    next_attempt_at: datetime
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A record that a sink did not take by itself, or that waits behind such a one.

    Attributes:
        subject: what the record is about (``ledger.subject_of``).
        reason: why it was not taken, as a code; ``BEHIND`` for what waits behind another.
    """

    sequence: int
    subject: int
    reason: str
    since: datetime
    attempts: int
    next_attempt_at: datetime


BEHIND = "waits_behind_another"


def add(connection: Connection, name: str, *, kind: str, position: int, now: datetime) -> None:
    """Add a consumer, which must not be there."""
    connection.execute(
        insert(consumers).values(
            name=name,
            kind=kind,
            position=position,
            handed=position,
            added_at=now,
            attempts=0,
            next_attempt_at=now,
            trouble="",
        )
    )


def remove(connection: Connection, name: str) -> None:
    """Forget a consumer and what was set aside for it."""
    connection.execute(delete(set_aside).where(set_aside.c.consumer == name))
    connection.execute(delete(consumers).where(consumers.c.name == name))


def find(connection: Connection, name: str) -> Consumer | None:
    """Find a consumer by its name."""
    row = connection.execute(select(consumers).where(consumers.c.name == name)).first()
    return None if row is None else Consumer(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def every(connection: Connection) -> list[Consumer]:
    """Load all consumers, by name."""
    found = connection.execute(select(consumers).order_by(consumers.c.name))
    return [Consumer(**row._mapping) for row in found]  # noqa: SLF001


def note_handed(connection: Connection, name: str, sequence: int, *, now: datetime) -> None:
    """Note up to where a consumer was given records."""
    connection.execute(
        update(consumers).where(consumers.c.name == name).values(handed=sequence, seen_at=now)
    )


def move(connection: Connection, name: str, *, position: int, handed: int, now: datetime) -> None:
    """Note that a consumer has come to a position, and was reached."""
    connection.execute(
        update(consumers)
        .where(consumers.c.name == name)
        .values(position=position, handed=handed, moved_at=now, seen_at=now, attempts=0, trouble="")
    )


def note_trouble(connection: Connection, name: str, *, code: str, until: datetime) -> None:
    """Note that a sink could not be reached, and when to try again."""
    connection.execute(
        update(consumers)
        .where(consumers.c.name == name)
        .values(attempts=consumers.c.attempts + 1, next_attempt_at=until, trouble=code)
    )


def note_reached(connection: Connection, name: str, *, now: datetime) -> None:
    """Note that a sink was reached; whatever was wrong is over."""
    connection.execute(
        update(consumers)
        .where(consumers.c.name == name)
        .values(attempts=0, next_attempt_at=now, seen_at=now, trouble="")
    )


def put_aside(connection: Connection, name: str, entries: Sequence[SetAside]) -> None:
    """Set records aside."""
    for entry in entries:
        connection.execute(
            insert(set_aside).values(
                consumer=name,
                sequence=entry.sequence,
                subject=entry.subject,
                reason=entry.reason,
                since=entry.since,
                attempts=entry.attempts,
                next_attempt_at=entry.next_attempt_at,
            )
        )


def aside(connection: Connection, name: str, *, limit: int | None = None) -> list[SetAside]:
    """Load what was set aside for a consumer, in order."""
    chosen = select(set_aside).where(set_aside.c.consumer == name).order_by(set_aside.c.sequence)
    return [_entry(row) for row in connection.execute(chosen.limit(limit))]


def aside_count(connection: Connection, name: str) -> int:
    """Count what was set aside for a consumer."""
    chosen = select(func.count()).select_from(set_aside).where(set_aside.c.consumer == name)
    return int(connection.scalar(chosen) or 0)


def aside_due(connection: Connection, name: str, *, now: datetime, limit: int) -> list[SetAside]:
    """Load what is to be tried again now: of each subject the oldest, once its time has come."""
    first = (
        select(func.min(set_aside.c.sequence))
        .where(set_aside.c.consumer == name)
        .group_by(set_aside.c.subject)
    )
    chosen = (
        select(set_aside)
        .where(
            set_aside.c.consumer == name,
            set_aside.c.sequence.in_(first),
            has_come(set_aside.c.next_attempt_at, now=now, longest=LONGEST_ASIDE),
        )
        .order_by(set_aside.c.sequence)
        .limit(limit)
    )
    return [_entry(row) for row in connection.execute(chosen)]


def aside_about(connection: Connection, name: str, subjects: Sequence[int]) -> list[SetAside]:
    """Load all that was set aside about some subjects, in order."""
    chosen = select(set_aside).where(
        set_aside.c.consumer == name, among(set_aside.c.subject, subjects)
    )
    return [_entry(row) for row in connection.execute(chosen.order_by(set_aside.c.sequence))]


def hurry_about(
    connection: Connection, name: str, subjects: Sequence[int], *, now: datetime
) -> None:
    """Let what was set aside about some subjects be due now."""
    if subjects:
        chosen = (set_aside.c.consumer == name) & among(set_aside.c.subject, subjects)
        connection.execute(update(set_aside).where(chosen).values(next_attempt_at=now))


def subjects_aside(connection: Connection, name: str, subjects: Sequence[int]) -> set[int]:
    """Say for which subjects something was set aside."""
    chosen = select(set_aside.c.subject).where(
        set_aside.c.consumer == name, among(set_aside.c.subject, subjects)
    )
    return set(connection.scalars(chosen))


def take_back(connection: Connection, name: str, sequences: Sequence[int]) -> int:
    """End the setting aside of records that have reached the consumer or were given up."""
    gone = connection.execute(
        delete(set_aside).where(
            set_aside.c.consumer == name, among(set_aside.c.sequence, sequences)
        )
    )
    return gone.rowcount


def postpone(
    connection: Connection, name: str, sequence: int, *, reason: str, until: datetime
) -> None:
    """Note that a record was refused again, and when to try once more."""
    connection.execute(
        update(set_aside)
        .where(set_aside.c.consumer == name, set_aside.c.sequence == sequence)
        .values(attempts=set_aside.c.attempts + 1, next_attempt_at=until, reason=reason)
    )


def hurry(connection: Connection, name: str, *, now: datetime) -> None:
    """Let everything that waits for another attempt be due now."""
    for table, column in ((consumers, consumers.c.name), (set_aside, set_aside.c.consumer)):
        connection.execute(update(table).where(column == name).values(next_attempt_at=now))


def reached(connection: Connection, consumer: Consumer) -> int:
    """Return the number up to which every record has reached a consumer."""
    chosen = select(func.min(set_aside.c.sequence)).where(set_aside.c.consumer == consumer.name)
    first = connection.scalar(chosen)
    return consumer.position if first is None else first - 1


def waiting_since(connection: Connection, consumer: Consumer) -> datetime | None:
    """Say when the oldest record that has not reached a consumer was written; None for none."""
    behind = reached(connection, consumer)
    chosen = (
        select(records.c.effective_at)
        .where(records.c.sequence > behind, records.c.erased_at.is_(None))
        .order_by(records.c.sequence)
        .limit(1)
    )
    found: datetime | None = connection.scalar(chosen)
    return found


def _entry(row: Row[Any]) -> SetAside:
    values = dict(row._mapping)  # noqa: SLF001
    del values["consumer"]
    return SetAside(**values)
