"""One decision for all near-duplicates of an image, so that nobody looks twice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from delist.casework.assessment import Assessor
from delist.casework.views import Rules
from delist.errors import UsageError
from delist.model import Case, RulingKind
from delist.review.deciding import (
    Ruling,
    check_decidable,
    checked_ruling,
    decide_one,
    follow,
    get_case,
    rule,
)
from delist.store import Database, queue
from indexer.store import Store

_BATCH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A near-duplicate that was not decided with the others.

    Attributes:
        case_id: of it.
        reason: why; somebody has to look at it by itself.
    """

    case_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDecision:
    """What became of an image and its near-duplicates.

    Attributes:
        case: that was looked at.
        decided: its near-duplicates that waited for a person and were decided with it.
        left_out: those that were not.
    """

    case: Case
    decided: Sequence[Case]
    left_out: Sequence[LeftOut]


def decide_group(
    store: Store,
    database: Database,
    case_id: str,
    ruling: Ruling,
    *,
    rules: Rules,
    now: datetime,
) -> GroupDecision:
    """Decide on a case, and on every near-duplicate that waits for a person, each on record.

    A group of thousands is decided in several transactions; after a crash in between the rest
    waits as before.

    Raises:
        UnknownCaseError, UsageError: as ``review.decide``, for the case itself.
    """
    with database.read() as connection:
        # As they are now, while somebody looks: what changes later is left out.
        members = queue.waiting_in_group(connection, get_case(connection, case_id))
    case = decide_one(store, database, case_id, ruling, rules=rules, now=now)
    for_others = checked_ruling(ruling)
    reason = reason_with(case.id) + for_others.reason
    for_others = replace(for_others, reason=reason, seen="", said=None)
    decided: list[Case] = []
    left_out: list[LeftOut] = []
    for start in range(0, len(members), _BATCH):
        with database.write() as connection, store.read() as txn:
            assessor = Assessor(store, txn, connection, rules=rules, now=now)
            for member_id, content_sha256 in members[start : start + _BATCH]:
                member = get_case(connection, member_id)
                if not member.awaits_person:
                    continue  # somebody, or intake, came before
                try:
                    _check_same(member, case, content_sha256)
                    check_decidable(
                        connection, store, txn, assessor, member, for_others, rules=rules, now=now
                    )
                except UsageError as error:
                    left_out.append(LeftOut(case_id=member_id, reason=str(error)))
                    continue
                kind = RulingKind.REVIEW
                outcome = rule(
                    connection, assessor, member, for_others, kind=kind, rules=rules, now=now
                )
                decided.append(outcome.case)
            assessor.finish()
    follow(store, database, case.group_id, rules=rules, now=now)
    return GroupDecision(case=case, decided=decided, left_out=left_out)


def reason_with(case_id: str) -> str:
    """Begin the reason of what was decided with a case: by it a slip is taken back with it."""
    return f"near-duplicate of {case_id}: "


def _check_same(member: Case, case: Case, content_sha256: str) -> None:
    """Make sure that a near-duplicate is what it was while somebody looked."""
    if (member.group_id, member.content_sha256) != (case.group_id, content_sha256):
        raise UsageError("the image has changed since; look at it by itself")
