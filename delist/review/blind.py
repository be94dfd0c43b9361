"""A second reviewer makes a sample of decisions again, without seeing the first.

Which ones, nobody can tell beforehand (``sampling``). The second reviewer has neither decided on
the case nor seen it since. What they say decides nothing by itself; where it differs from what
is in force, the case waits for a third person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from delist.casework.assessment import Assessor
from delist.casework.views import Rules
from delist.errors import UnknownCaseError, UsageError
from delist.model import Case, RulingKind, Verdict
from delist.review.deciding import (
    Ruling,
    check_bytes,
    checked_actor,
    checked_ruling,
    get_case,
    rule,
)
from delist.review.sampling import Share, share_of
from delist.rulings import person_key
from delist.store import Database, audit, blind, cases
from delist.store.blind import BlindReview
from indexer.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindOutcome:
    """What a blind second review came to.

    Attributes:
        agrees: whether both reviewers found the same.
        case: disputed where the second one found other than what is in force.
    """

    agrees: bool
    case: Case


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictPair:
    """How often a first and a second verdict met."""

    first: Verdict
    second: Verdict
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well first and second reviewers agree.

    Attributes:
        reviewed: decisions that were made again.
        agreed: of them, those that came to the same.
        rate: of them; None where there are none.
        waiting: decisions that were drawn and can be made again.
    """

    reviewed: int
    agreed: int
    rate: Share | None
    pairs: Sequence[VerdictPair]
    waiting: int


def take_next(
    database: Database, actor: str, *, minutes: int, now: datetime
) -> tuple[BlindReview, Case] | None:
    """Give a person the blind review that has waited longest, or the one they have already.

    Raises:
        UsageError: the name is missing or too long.
    """
    actor = checked_actor(actor)
    with database.write() as connection:
        found = blind.find_held(connection, actor, now=now)
        found = found or blind.find_next(connection, actor, now=now)
        if found is None:
            return None
        blind.give(connection, found.id, actor, until=now + timedelta(minutes=minutes))
        audit.append(
            connection,
            actor=actor,
            act="case.viewed_blind",
            subject=found.case_id,
            now=now,
            detail={"blind_review": found.id},
        )
        return found, get_case(connection, found.case_id)


def decide(
    store: Store,
    database: Database,
    review_id: int,
    ruling: Ruling,
    *,
    rules: Rules,
    now: datetime,
) -> BlindOutcome:
    """Put a second reviewer's verdict on record.

    Raises:
        UnknownCaseError: there is no blind review of this number.
        UsageError: it was not given to this person, was decided already, or the image has
            changed or ended since.
    """
    ruling = checked_ruling(ruling)
    with database.write() as connection, store.read() as txn:
        drawn = blind.find(connection, review_id)
        if drawn is None:
            raise UnknownCaseError("no blind review has this number; `cases blind next` gives one")
        case = get_case(connection, drawn.case_id)
        _check(drawn, case, ruling.actor, now=now)
        given = cases.rulings(connection, case.id, content_sha256=case.content_sha256)
        if any(person_key(one.actor) == person_key(ruling.actor) for one in given):
            raise UsageError("you have decided on this case yourself; another one has to")
        check_bytes(store, txn, case, seen=ruling.seen)
        assessor = Assessor(store, txn, connection, rules=rules, now=now)
        kind = RulingKind.BLIND
        outcome = rule(connection, assessor, case, ruling, kind=kind, rules=rules, now=now)
        blind.finish(
            connection,
            review_id,
            verdict=ruling.verdict,
            actor=ruling.actor,
            reason=ruling.reason,
            now=now,
        )
        assessor.finish()
    return BlindOutcome(agrees=ruling.verdict is drawn.first_verdict, case=outcome.case)


def agreement(database: Database, since: datetime | None = None) -> Agreement:
    """Report how well first and second reviewers agree, since a time or ever."""
    with database.read() as connection:
        found = blind.pairs(connection, since)
        waiting = blind.waiting(connection)
    agreed = sum(count for first, second, count in found if first is second)
    reviewed = sum(count for _, _, count in found)
    return Agreement(
        reviewed=reviewed,
        agreed=agreed,
        rate=share_of(agreed, reviewed),
        pairs=[VerdictPair(first=a, second=b, count=count) for a, b, count in found],
        waiting=waiting,
    )


def _check(drawn: BlindReview, case: Case, actor: str, *, now: datetime) -> None:
    if drawn.decided_at is not None:
        raise UsageError("this blind review was made already")
    if person_key(drawn.holder(now)) != person_key(actor):
        raise UsageError("this blind review is not yours (any more); `cases blind next` gives one")
    if drawn.content_sha256 != case.content_sha256:
        raise UsageError("the image has changed since: this blind review has ended")
