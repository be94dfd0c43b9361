"""The queue of cases that wait for a person: who is next, and who is at work on what."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, exists, func, or_, select, update

from delist.model import Case, CaseState, Verdict
from delist.store.tables import cases, decisions


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
            cases.c.group_id.in_(set(group_ids)),
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
