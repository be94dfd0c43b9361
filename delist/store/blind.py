"""Decisions that a second reviewer makes again without seeing the first."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, or_, select, update

from delist.model import CaseState, Verdict
from delist.store.tables import audit_log, blind_reviews, cases, decisions

CASE_VIEWED = "case.viewed"
"""The act of whoever has seen a case with its decisions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindReview:
    """One decision that was drawn.

    Attributes:
        actor: who makes it again, or has it until ``given_until``; None for nobody yet.
        verdict: of the second reviewer, None until then.
    """

    id: int
    decision_id: int
    case_id: str
    content_sha256: str = field(repr=False)
    first_verdict: Verdict
    first_actor: str
    drawn_at: datetime
    given_until: datetime | None
    actor: str | None
    verdict: Verdict | None
    reason: str | None = field(repr=False)
    decided_at: datetime | None

    def holder(self, now: datetime) -> str:
        """Who has it now, or ""."""
        holds = self.given_until is not None and now < self.given_until
        return (self.actor or "") if holds else ""


def draw(
    connection: Connection,
    *,
    decision_id: int,
    case_id: str,
    content_sha256: str,
    verdict: Verdict,
    actor: str,
    now: datetime,
) -> None:
    """Note that a decision is to be made again."""
    connection.execute(
        insert(blind_reviews).values(
            decision_id=decision_id,
            case_id=case_id,
            content_sha256=content_sha256,
            first_verdict=verdict.value,
            first_actor=actor,
            drawn_at=now,
        )
    )


def find(connection: Connection, review_id: int) -> BlindReview | None:
    """Find one by its number."""
    found = connection.execute(select(blind_reviews).where(blind_reviews.c.id == review_id)).first()
    return None if found is None else _review(found)


def find_held(connection: Connection, actor: str, *, now: datetime) -> BlindReview | None:
    """Find the one that a person has been given and has not decided yet."""
    found = connection.execute(
        _open().where(blind_reviews.c.actor == actor, blind_reviews.c.given_until > now).limit(1)
    ).first()
    return None if found is None else _review(found)


def find_next(connection: Connection, actor: str, *, now: datetime) -> BlindReview | None:
    """Find the one that has waited longest, of a case that this person knows nothing of."""
    ruled = exists().where(
        decisions.c.case_id == cases.c.id,
        decisions.c.verdict.is_not(None),
        func.lower(decisions.c.actor) == func.lower(actor),
    )
    seen = exists().where(
        audit_log.c.subject == cases.c.id,
        audit_log.c.act == CASE_VIEWED,
        audit_log.c.at >= blind_reviews.c.drawn_at,
        func.lower(audit_log.c.actor) == func.lower(actor),
    )
    found = connection.execute(
        _open()
        .where(
            or_(blind_reviews.c.given_until.is_(None), blind_reviews.c.given_until <= now),
            func.lower(blind_reviews.c.first_actor) != func.lower(actor),
            ~ruled,
            ~seen,
        )
        .order_by(blind_reviews.c.drawn_at, blind_reviews.c.id)
        .limit(1)
    ).first()
    return None if found is None else _review(found)


def give(connection: Connection, review_id: int, actor: str, *, until: datetime) -> None:
    """Give one to a person until a time."""
    chosen = update(blind_reviews).where(blind_reviews.c.id == review_id)
    connection.execute(chosen.values(actor=actor, given_until=until))


def finish(
    connection: Connection,
    review_id: int,
    *,
    verdict: Verdict,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Note what the second reviewer found."""
    chosen = update(blind_reviews).where(blind_reviews.c.id == review_id)
    connection.execute(
        chosen.values(verdict=verdict.value, actor=actor, reason=reason, decided_at=now)
    )


def drop(connection: Connection, case_id: str, actor: str, *, drawn_at: datetime) -> None:
    """Forget that a decision was drawn which was taken back before anybody made it again."""
    connection.execute(
        delete(blind_reviews).where(
            blind_reviews.c.case_id == case_id,
            blind_reviews.c.first_actor == actor,
            blind_reviews.c.drawn_at == drawn_at,
            blind_reviews.c.decided_at.is_(None),
        )
    )


def pairs(connection: Connection, since: datetime | None) -> list[tuple[Verdict, Verdict, int]]:
    """Count first and second verdicts that were given since a time, by pair."""
    counted = select(blind_reviews.c.first_verdict, blind_reviews.c.verdict, func.count())
    counted = counted.where(blind_reviews.c.decided_at.is_not(None))
    if since is not None:
        counted = counted.where(blind_reviews.c.decided_at >= since)
    by = (blind_reviews.c.first_verdict, blind_reviews.c.verdict)
    return [
        (Verdict(first), Verdict(second), count)
        for first, second, count in connection.execute(counted.group_by(*by).order_by(*by))
    ]


def waiting(connection: Connection) -> int:
    """Count those that can be made again and were not yet."""
    return int(connection.scalar(select(func.count()).select_from(_open().subquery())) or 0)


def open_for(connection: Connection, case_id: str, actor: str, *, now: datetime) -> int | None:
    """Find the number of the blind review of a case that a person has now, or None."""
    return connection.scalar(
        select(blind_reviews.c.id).where(
            blind_reviews.c.case_id == case_id,
            blind_reviews.c.decided_at.is_(None),
            blind_reviews.c.given_until > now,
            func.lower(blind_reviews.c.actor) == func.lower(actor),
        )
    )


def _open() -> Any:  # noqa: ANN401 - a select
    """Those of cases that are decided, on the bytes that were decided on."""
    return (
        select(blind_reviews)
        .join(cases, cases.c.id == blind_reviews.c.case_id)
        .where(
            blind_reviews.c.decided_at.is_(None),
            cases.c.content_sha256 == blind_reviews.c.content_sha256,
            cases.c.state != CaseState.WITHDRAWN.value,
            ~cases.c.awaits_person,
        )
    )


def _review(row: Row[Any]) -> BlindReview:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    for name in ("first_verdict", "verdict"):
        values[name] = None if values[name] is None else Verdict(values[name])
    return BlindReview(**values)
