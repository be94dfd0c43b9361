"""Figures for the transparency report: counts over a period, and times. Nothing of one case.

A period holds its start and not its end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, distinct, exists, func, select

from delist.model import RecordAction, RecordState, RulingKind, Verdict
from delist.store.tables import appeals, cases, decisions
from delist.store.tables import suppression_records as records


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A time with its start and without its end."""

    start: datetime
    end: datetime

    def holds(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Say in SQL that a time is inside."""
        return (column >= self.start) & (column < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRecord:
    """The first record that took a case's image out of results."""

    image_key: str = field(repr=False)
    signal_key: str = field(repr=False)
    state: RecordState
    effective_at: datetime


def matched(connection: Connection, period: Period) -> int:
    """Count images that came to match."""
    return _count(connection, select(func.count()).where(period.holds(cases.c.opened_at)))


def first_records(connection: Connection, period: Period) -> Iterator[FirstRecord]:
    """Iterate over the records that first took an image out of results."""
    first = (
        select(func.min(records.c.sequence))
        .where(records.c.action == RecordAction.SUPPRESS.value)
        .group_by(records.c.case_id)
    )
    found = connection.execute(
        select(cases.c.image_key, records.c.basis_signal, records.c.state, records.c.effective_at)
        .join(cases, cases.c.id == records.c.case_id)
        .where(records.c.sequence.in_(first), period.holds(records.c.effective_at))
    )
    for row in found:
        yield FirstRecord(
            image_key=row.image_key,
            signal_key=row.basis_signal,
            state=RecordState(row.state),
            effective_at=row.effective_at,
        )


def last_before(connection: Connection, time: datetime) -> int:
    """Return the number of the ledger's last record before a time; looks at those after it."""
    found = (
        select(records.c.sequence)
        .where(records.c.effective_at < time)
        .order_by(records.c.sequence.desc())
        .limit(1)
    )
    return int(connection.scalar(found) or 0)


def first_records_after(connection: Connection, sequence: int) -> tuple[int, list[FirstRecord]]:
    """Load those records behind a number that first took a case's image out of results.

    Returns:
        The number of the newest record of any kind, and the records in order.
    """
    earlier = records.alias()
    suppress = RecordAction.SUPPRESS.value
    found = connection.execute(
        select(cases.c.image_key, records.c.basis_signal, records.c.state, records.c.effective_at)
        .join(cases, cases.c.id == records.c.case_id)
        .where(
            records.c.sequence > sequence,
            records.c.action == suppress,
            ~exists().where(
                earlier.c.case_id == records.c.case_id,
                earlier.c.sequence < records.c.sequence,
                earlier.c.action == suppress,
            ),
        )
        .order_by(records.c.sequence)
    )
    first = [
        FirstRecord(
            image_key=row.image_key,
            signal_key=row.basis_signal,
            state=RecordState(row.state),
            effective_at=row.effective_at,
        )
        for row in found
    ]
    head = connection.scalar(select(func.max(records.c.sequence)))
    return int(head or 0), first


def confirmed(connection: Connection, period: Period) -> int:
    """Count images that were out of results by a person's decision for the first time."""
    first = (
        select(func.min(records.c.effective_at).label("at"))
        .where(
            records.c.action == RecordAction.SUPPRESS.value,
            records.c.state == RecordState.CONFIRMED.value,
        )
        .group_by(records.c.case_id)
        .subquery()
    )
    return _count(connection, select(func.count()).where(period.holds(first.c.at)))


def lifted(connection: Connection, period: Period) -> dict[str, int]:
    """Count images that came back to results, by reason code."""
    found = connection.execute(
        select(records.c.reason_code, func.count(distinct(records.c.case_id)))
        .where(records.c.action == RecordAction.REVOKE.value, period.holds(records.c.effective_at))
        .group_by(records.c.reason_code)
    )
    return {str(row[0]): int(row[1]) for row in found}


def reviewed(connection: Connection, period: Period) -> dict[str, int]:
    """Count decisions of people, by verdict; without blind ones and those on appeals."""
    found = connection.execute(
        select(decisions.c.verdict, func.count())
        .where(_by_a_person(), period.holds(decisions.c.decided_at))
        .group_by(decisions.c.verdict)
    )
    return {str(row[0]): int(row[1]) for row in found}


def reviewed_at(connection: Connection, period: Period) -> list[tuple[datetime, Verdict]]:
    """List times and verdicts of the same decisions."""
    found = connection.execute(
        select(decisions.c.decided_at, decisions.c.verdict).where(
            _by_a_person(), period.holds(decisions.c.decided_at)
        )
    )
    return [(row.decided_at, Verdict(row.verdict)) for row in found]


def appealed(connection: Connection, period: Period) -> dict[str, int]:
    """Count appeals that came to be looked at, by party."""
    found = connection.execute(
        select(appeals.c.party, func.count())
        .where(appeals.c.case_id.is_not(None), period.holds(appeals.c.opened_at))
        .group_by(appeals.c.party)
    )
    return {str(row[0]): int(row[1]) for row in found}


def appeals_decided(connection: Connection, period: Period) -> dict[str, int]:
    """Count appeals that were decided, by state."""
    found = connection.execute(
        select(appeals.c.state, func.count())
        .where(period.holds(appeals.c.decided_at))
        .group_by(appeals.c.state)
    )
    return {str(row[0]): int(row[1]) for row in found}


def times_to_decision(connection: Connection, period: Period) -> list[timedelta]:
    """List how long cases waited for the first decision of a person."""
    first = (
        select(decisions.c.case_id, func.min(decisions.c.id).label("id"))
        .where(_by_a_person())
        .group_by(decisions.c.case_id)
        .subquery()
    )
    found = connection.execute(
        select(cases.c.opened_at, decisions.c.decided_at)
        .join(first, first.c.id == decisions.c.id)
        .join(cases, cases.c.id == decisions.c.case_id)
        .where(period.holds(decisions.c.decided_at))
    )
    return [row.decided_at - row.opened_at for row in found]


def _by_a_person() -> ColumnElement[bool]:
    return (decisions.c.verdict.is_not(None)) & (decisions.c.kind == RulingKind.REVIEW.value)


def _count(connection: Connection, chosen: Select[Any]) -> int:
    return int(connection.scalar(chosen) or 0)
