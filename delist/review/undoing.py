"""Taking back what one has just decided: a slip of the hand, on record as one.

(1) What one look has decided is taken back as one: with a case its near-duplicates that were
    decided with it. Else those would stay as the slip left them, and wait for nobody.
(2) One that somebody has decided on since, or that shows other bytes now, stays as it is.
(3) The case itself comes last: where that is cut off, it can still be taken back, with the rest.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from delist.casework.assessment import Assessor
from delist.casework.views import Outcome, Rules
from delist.errors import UnknownCaseError, UsageError
from delist.model import Case, Decision, RulingKind
from delist.review.deciding import action_of, checked_actor, follow, get_case
from delist.review.duplicates import reason_with
from delist.rulings import not_taken_back, person_key
from delist.store import Database, audit, blind, cases
from indexer.store import Store

_TAKEN_BACK = "taken back by the same person"
_BATCH = 50


def undo(
    store: Store,
    database: Database,
    case_id: str,
    actor: str,
    *,
    within_s: int,
    rules: Rules,
    now: datetime,
) -> Case:
    """Take back what a person decided last, by decisions of their own on record.

    Args:
        within_s: seconds that this is possible after the decision.

    Returns:
        The case; near-duplicates that were decided with it are as they were before, too.

    Raises:
        UnknownCaseError: no case has this id.
        UsageError: somebody else has decided since, or it is too late.
    """
    actor = checked_actor(actor)
    with database.read() as connection:
        case = get_case(connection, case_id)
        last = _timely(connection, case, actor, within_s=within_s, now=now)
        others = cases.decided_with(
            connection, case, actor=last.actor, reason=reason_with(case_id), since=last.decided_at
        )
    for start in range(0, len(others), _BATCH):  # (1)
        with database.write() as connection, store.read() as txn:
            assessor = Assessor(store, txn, connection, rules=rules, now=now)
            for other_id in others[start : start + _BATCH]:
                with suppress(UnknownCaseError, UsageError):  # (2)
                    other = get_case(connection, other_id)
                    word = _last_of(connection, other, actor)
                    if word.reason.startswith(reason_with(case_id)):
                        _take_back(
                            connection, assessor, other, word, actor=actor, rules=rules, now=now
                        )
            assessor.finish()
    with database.write() as connection, store.read() as txn:  # (3)
        case = get_case(connection, case_id)
        last = _last_of(connection, case, actor)
        assessor = Assessor(store, txn, connection, rules=rules, now=now)
        outcome = _take_back(connection, assessor, case, last, actor=actor, rules=rules, now=now)
        assessor.finish()
    follow(store, database, outcome.case.group_id, rules=rules, now=now)
    return outcome.case


def left_s(connection: Connection, case: Case, actor: str, *, within_s: int, now: datetime) -> int:
    """Say for how many seconds a person can still take back their decision; 0: not at all."""
    try:
        last = _last_of(connection, case, actor)
    except UsageError:
        return 0
    return max(0, within_s - int((now - last.decided_at).total_seconds()))


def _take_back(
    connection: Connection,
    assessor: Assessor,
    case: Case,
    last: Decision,
    *,
    actor: str,
    rules: Rules,
    now: datetime,
) -> Outcome:
    """Take one word back, inside the caller's transaction."""
    taken_back = replace(
        last,
        verdict=None,
        kind=RulingKind.UNDO,
        reason=_TAKEN_BACK,
        policy_version=rules.policy.version,
        decided_at=now,
    )
    outcome = assessor.assess(bytes.fromhex(case.image_key), ruling=taken_back)
    assert outcome is not None  # noqa: S101 - the case exists
    action = action_of(outcome.before, outcome.case.state)
    cases.add_decision(connection, replace(taken_back, action=action))
    blind.drop(connection, case.id, last.actor, drawn_at=last.decided_at)
    audit.append(
        connection,
        actor=actor,
        act="case.decision_undone",
        subject=case.id,
        now=now,
        detail={"action": action.value},
    )
    return outcome


def _timely(
    connection: Connection, case: Case, actor: str, *, within_s: int, now: datetime
) -> Decision:
    last = _last_of(connection, case, actor)
    if now - last.decided_at > timedelta(seconds=within_s):
        raise UsageError(f"a decision can be taken back for {within_s} s; decide anew instead")
    return last


def _last_of(connection: Connection, case: Case, actor: str) -> Decision:
    given = cases.rulings(connection, case.id, content_sha256=case.content_sha256)
    last = next(reversed(not_taken_back(given)), None)
    if last is None or person_key(last.actor) != person_key(actor):
        raise UsageError("the last decision on this case is not yours to take back")
    if last.kind is not RulingKind.REVIEW:
        raise UsageError("only a decision of a review can be taken back")
    return last
