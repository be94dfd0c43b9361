"""Taking back what one has just decided: a slip of the hand, on record as one."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from delist.casework.assessment import Assessor
from delist.casework.views import Rules
from delist.errors import UsageError
from delist.model import Case, Decision, RulingKind
from delist.review.deciding import action_of, checked_actor, follow, get_case
from delist.rulings import not_taken_back, person_key
from delist.store import Database, audit, blind, cases
from indexer.store import Store

_TAKEN_BACK = "taken back by the same person"


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
    """Take back what a person decided last, by a decision of its own on record.

    Args:
        within_s: seconds that this is possible after the decision.

    Raises:
        UnknownCaseError: no case has this id.
        UsageError: somebody else has decided since, or it is too late.
    """
    actor = checked_actor(actor)
    with database.write() as connection, store.read() as txn:
        case = get_case(connection, case_id)
        last = _last_of(connection, case, actor)
        if now - last.decided_at > timedelta(seconds=within_s):
            raise UsageError(f"a decision can be taken back for {within_s} s; decide anew instead")
        taken_back = replace(
            last,
            verdict=None,
            kind=RulingKind.UNDO,
            reason=_TAKEN_BACK,
            policy_version=rules.policy.version,
            decided_at=now,
        )
        assessor = Assessor(store, txn, connection, rules=rules, now=now)
        outcome = assessor.assess(bytes.fromhex(case.image_key), ruling=taken_back)
        assert outcome is not None  # noqa: S101 - the case exists
        action = action_of(outcome.before, outcome.case.state)
        cases.add_decision(connection, replace(taken_back, action=action))
        blind.drop(connection, case_id, last.actor, drawn_at=last.decided_at)
        audit.append(
            connection,
            actor=actor,
            act="case.decision_undone",
            subject=case_id,
            now=now,
            detail={"action": action.value},
        )
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


def _last_of(connection: Connection, case: Case, actor: str) -> Decision:
    given = cases.rulings(connection, case.id, content_sha256=case.content_sha256)
    last = next(reversed(not_taken_back(given)), None)
    if last is None or person_key(last.actor) != person_key(actor):
        raise UsageError("the last decision on this case is not yours to take back")
    if last.kind is not RulingKind.REVIEW:
        raise UsageError("only a decision of a review can be taken back")
    return last
