"""A person's decision on a case."""

from dataclasses import dataclass
from datetime import datetime

from delist.assessment import Assessor
from delist.errors import UnknownCaseError, UsageError
from delist.model import Action, Case, CaseState, Decision, Verdict
from delist.policy import Policy
from delist.store import Database, cases
from indexer.store import Store

_MAX_ACTOR = 200
_MAX_REASON = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a person decided, and why.

    Attributes:
        actor: who decided, a name that colleagues know.
        reason: for the record; must not hold page URLs or names of survivors.
    """

    verdict: Verdict
    actor: str
    reason: str


def decide(
    store: Store,
    database: Database,
    case_id: str,
    ruling: Ruling,
    *,
    policy: Policy,
    review_hours: int,
    now: datetime,
) -> Case:
    """Put a person's verdict into force: case, ledger and feedback in one transaction.

    The image's bytes are those that the case names now; when they change later, the
    verdict no longer counts.

    Raises:
        UnknownCaseError: no case has this id.
        UsageError: actor or reason is missing or too long, the case has no live signal
            any more, or other bytes are there than those that the case was shown with.
    """
    actor, reason = ruling.actor.strip(), ruling.reason.strip()
    if not _is_text(actor, _MAX_ACTOR):
        raise UsageError(f"--actor: a name of at most {_MAX_ACTOR} characters is needed")
    if not _is_text(reason, _MAX_REASON):
        raise UsageError(f"--reason: a reason of at most {_MAX_REASON} characters is needed")
    with database.write() as connection, store.read() as txn:
        case = cases.find(connection, case_id)
        if case is None:
            raise UnknownCaseError("no case has this id; `delist cases list --all` shows them")
        assessor = Assessor(
            store, txn, connection, policy=policy, review_hours=review_hours, now=now
        )
        image_key = bytes.fromhex(case.image_key)
        if not store.images.matches(txn, image_key):
            raise UsageError("the case has ended: no live signal matches its image any more")
        record = store.images.find(txn, image_key)
        if record is not None and record.sha256.hex() != case.content_sha256:
            # Nobody has looked at these bytes: the verdict is about others.
            raise UsageError(
                "the image has changed since; run `delist intake`, look again and decide then"
            )
        outcome = assessor.assess(image_key, verdict=ruling.verdict)
        assert outcome is not None  # noqa: S101 - the case exists
        assessor.tell_feeds()
        decision = Decision(
            case_id=case.id,
            verdict=ruling.verdict,
            action=_action(outcome.before, outcome.case.state),
            actor=actor,
            policy_version=policy.version,
            reason=reason,
            content_sha256=outcome.case.content_sha256,
            decided_at=now,
        )
        cases.add_decision(connection, decision)
    return outcome.case


def _is_text(given: str, longest: int) -> bool:
    # A surrogate stands for a byte of the command line that is no UTF-8.
    return 0 < len(given) <= longest and not any("\ud800" <= sign <= "\udfff" for sign in given)


def _action(before: CaseState | None, after: CaseState) -> Action:
    if after is CaseState.SUPPRESSED:
        return Action.SUPPRESS
    if before is CaseState.SUPPRESSED:
        return Action.LIFT
    return Action.REVIEW if after is CaseState.OPEN else Action.KEEP
