"""A person's decision on a case."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from delist.assessment import Assessor, Outcome, Rules
from delist.errors import UnknownCaseError, UsageError
from delist.model import Action, Case, CaseState, Decision, RulingKind, Verdict
from delist.store import Database, audit, cases
from indexer.store import Store

_MAX_ACTOR = 200
_MAX_REASON = 4000
_TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a person decided, and why.

    Attributes:
        actor: who decided, a name that colleagues know.
        reason: for the record; must not hold page URLs or names of survivors.
        seen: the content version that was looked at (``content_token``), or "" to decide on
            whatever the case names now.
    """

    verdict: Verdict
    actor: str
    reason: str
    seen: str = ""


def content_token(case: Case) -> str:
    """Name the bytes that a case was shown with: hand it back with the decision."""
    return case.content_sha256[:16]


def decide(
    store: Store,
    database: Database,
    case_id: str,
    ruling: Ruling,
    *,
    rules: Rules,
    now: datetime,
) -> Case:
    """Put a person's verdict into force: case, ledger and feedback in one transaction.

    The image's bytes are those that the case names now; when they change later, the
    verdict no longer counts. Where two people are needed, the first one's verdict is pending.

    Raises:
        UnknownCaseError: no case has this id.
        UsageError: actor or reason is missing or too long, the case has no live signal
            any more, somebody else is at work on it, other bytes are there than those that it
            was shown with, or the same person decides again where a second is needed.
    """
    ruling = checked_ruling(ruling)
    with database.write() as connection, store.read() as txn:
        case = get_case(connection, case_id)
        claimant = case.claimant(now)
        if claimant and claimant != ruling.actor:
            raise UsageError(f"{claimant} is at work on this case; ask them, or wait")
        if not store.images.matches(txn, bytes.fromhex(case.image_key)):
            raise UsageError("the case has ended: no live signal matches its image any more")
        record = store.images.find(txn, bytes.fromhex(case.image_key))
        if record is not None and record.sha256.hex() != case.content_sha256:
            # Nobody has looked at these bytes: the verdict is about others.
            raise UsageError(
                "the image has changed since; run `delist intake`, look again and decide then"
            )
        if ruling.seen and ruling.seen != content_token(case):
            raise UsageError("the image has changed since it was shown; look again")
        if case.pending is ruling.verdict and case.pending_by == ruling.actor:
            raise UsageError("a second person has to agree: the same one cannot decide twice")
        assessor = Assessor(store, txn, connection, rules=rules, now=now)
        outcome = rule(
            connection, assessor, case, ruling, kind=RulingKind.REVIEW, rules=rules, now=now
        )
        assessor.tell_feeds()
    return outcome.case


def rule(
    connection: Connection,
    assessor: Assessor,
    case: Case,
    ruling: Ruling,
    *,
    kind: RulingKind,
    rules: Rules,
    now: datetime,
) -> Outcome:
    """Put a ruling into force and on record, inside the caller's transaction."""
    decision = Decision(
        case_id=case.id,
        verdict=ruling.verdict,
        action=Action.REVIEW,
        actor=ruling.actor,
        policy_version=rules.policy.version,
        reason=ruling.reason,
        content_sha256=case.content_sha256,
        decided_at=now,
        kind=kind,
        needs=people_needed(case, rules),
    )
    outcome = assessor.assess(bytes.fromhex(case.image_key), ruling=decision)
    assert outcome is not None  # noqa: S101 - the case exists
    action = _action(outcome.before, outcome.case.state)
    cases.add_decision(connection, replace(decision, action=action))
    released = replace(outcome.case, claimed_by="", claimed_until=None)
    if released != outcome.case:
        cases.put(connection, released)
    audit.append(
        connection,
        actor=ruling.actor,
        act="case.decided",
        subject=case.id,
        now=now,
        detail={"verdict": ruling.verdict.value, "kind": kind.value, "action": action.value},
    )
    return replace(outcome, case=released)


def people_needed(case: Case, rules: Rules) -> int:
    """Say how many people have to agree: two from the policy's reach on."""
    least = rules.policy.people.second_person_from_reach
    return _TWO if least and case.reach >= least else 1


def get_case(connection: Connection, case_id: str) -> Case:
    """Load a case.

    Raises:
        UnknownCaseError: no case has this id.
    """
    case = cases.find(connection, case_id)
    if case is None:
        raise UnknownCaseError("no case has this id; `delist cases list --all` shows them")
    return case


def checked_ruling(ruling: Ruling) -> Ruling:
    """Return a ruling with its texts trimmed.

    Raises:
        UsageError: actor or reason is missing or too long.
    """
    return replace(ruling, actor=checked_actor(ruling.actor), reason=checked_reason(ruling.reason))


def checked_actor(actor: str) -> str:
    """Return a person's name, trimmed.

    Raises:
        UsageError: it is missing, too long, or no text.
    """
    actor = actor.strip()
    if not _is_text(actor, _MAX_ACTOR):
        raise UsageError(f"--actor: a name of at most {_MAX_ACTOR} characters is needed")
    return actor


def checked_reason(reason: str) -> str:
    """Return a reason, trimmed.

    Raises:
        UsageError: it is missing, too long, or no text.
    """
    reason = reason.strip()
    if not _is_text(reason, _MAX_REASON):
        raise UsageError(f"--reason: a reason of at most {_MAX_REASON} characters is needed")
    return reason


def _is_text(given: str, longest: int) -> bool:
    # A surrogate stands for a byte of the command line that is no UTF-8.
    return 0 < len(given) <= longest and not any(
        sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in given
    )


def _action(before: CaseState | None, after: CaseState) -> Action:
    if after is CaseState.SUPPRESSED:
        return Action.SUPPRESS
    if before is CaseState.SUPPRESSED:
        return Action.LIFT
    return Action.REVIEW if after is CaseState.OPEN else Action.KEEP
