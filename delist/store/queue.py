"""The queue of cases that wait for a person: who is next, and who is at work on what."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, exists, func, or_, select, update

from delist.model import Case, CaseState, Verdict
from delist.store.lists import among
from delist.store.tables import cases, decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Cases that wait for a person.

    Attributes:
        overdue: whose 48 hours are over.
        shown: whose image is in results still.
        hidden: whose image is suppressed provisionally.
        second: one person's verdict needs a second one.
        disputed: two people disagree.
        taken: somebody is at work on them now.
        oldest_at: since when the oldest one waits.
    """

    waiting: int
    overdue: int
    shown: int
    hidden: int
    second: int
    disputed: int
    taken: int
    oldest_at: datetime | None


def counts(connection: Connection, *, now: datetime) -> Counts:
    """Count the cases that wait for a person."""
    row = connection.execute(
        select(
            func.count(),
            _number(cases.c.deadline_at <= now),
            _number(cases.c.state == CaseState.OPEN.value),
            _number(cases.c.state == CaseState.SUPPRESSED.value),
            _number(cases.c.pending.is_not(None)),
            _number(cases.c.disputed),
            _number(cases.c.claimed_until > now),
            func.min(cases.c.opened_at),
        ).where(cases.c.awaits_person)
    ).one()
    numbers = [int(value or 0) for value in row[:7]]
    waiting, overdue, shown, hidden, second, disputed, taken = numbers
    return Counts(
        waiting=waiting,
        overdue=overdue,
        shown=shown,
        hidden=hidden,
        second=second,
        disputed=disputed,
        taken=taken,
        oldest_at=row[7],
    )


def opened_at(connection: Connection) -> list[datetime]:
    """List since when cases wait for a person."""
    return list(connection.scalars(select(cases.c.opened_at).where(cases.c.awaits_person)))


def held_by(connection: Connection, actor: str, *, now: datetime) -> list[str]:
    """List the cases that a person is at work on now."""
    chosen = select(cases.c.id).where(
        cases.c.claimed_until > now, func.lower(cases.c.claimed_by) == func.lower(actor)
    )
    return list(connection.scalars(chosen.order_by(cases.c.queue_at, cases.c.id)))


def find_next(connection: Connection, actor: str, *, now: datetime) -> str | None:
    """Find the first case of the queue that nobody is at work on and that a person can decide.

    That leaves out what waits for somebody else's word after this person's: a verdict that a
    second has to agree with, a dispute, and what this person was unsure of.
    """
    found = select(cases.c.id).where(
        cases.c.awaits_person,
        or_(cases.c.claimed_until.is_(None), cases.c.claimed_until <= now),
        _unlike(cases.c.pending_by, actor),
        or_(_needs_nobody_else(), ~_has_spoken(actor)),
    )
    return connection.scalar(found.order_by(cases.c.queue_at, cases.c.id).limit(1))


def set_claim(connection: Connection, case_id: str, actor: str, until: datetime | None) -> None:
    """Note who is at work on a case and until when; "" and None for nobody."""
    connection.execute(
        update(cases).where(cases.c.id == case_id).values(claimed_by=actor, claimed_until=until)
    )


def group_sizes(connection: Connection, group_ids: Iterable[str]) -> dict[str, int]:
    """Count the cases of each group of near-duplicates that a live signal stands behind."""
    found = (
        select(cases.c.group_id, func.count())
        .where(
            among(cases.c.group_id, set(group_ids)),
            cases.c.state != CaseState.WITHDRAWN.value,
        )
        .group_by(cases.c.group_id)
    )
    return {row[0]: row[1] for row in connection.execute(found)}


def waiting_in_group(connection: Connection, case: Case) -> list[tuple[str, str]]:
    """List ids and contents of a case's near-duplicates that wait, as in the queue."""
    found = select(cases.c.id, cases.c.content_sha256).where(
        cases.c.group_id == case.group_id,
        cases.c.id != case.id,
        cases.c.awaits_person,
        cases.c.state != CaseState.WITHDRAWN.value,
    )
    rows = connection.execute(found.order_by(cases.c.queue_at, cases.c.id))
    return [(row.id, row.content_sha256) for row in rows]


def _needs_nobody_else() -> ColumnElement[bool]:
    sure = or_(cases.c.verdict.is_(None), cases.c.verdict != Verdict.UNSURE.value)
    return sure & ~cases.c.disputed


def _has_spoken(actor: str) -> ColumnElement[bool]:
    return exists().where(
        decisions.c.case_id == cases.c.id,
        decisions.c.content_sha256 == cases.c.content_sha256,
        decisions.c.verdict.is_not(None),
        func.lower(decisions.c.actor) == func.lower(actor),
    )


def _unlike(column: ColumnElement[str], actor: str) -> ColumnElement[bool]:
    return func.lower(column) != func.lower(actor)


def _number(condition: ColumnElement[bool]) -> Any:  # noqa: ANN401 - an SQL expression
    return func.sum(case((condition, 1), else_=0))
