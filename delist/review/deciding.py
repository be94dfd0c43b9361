"""A person's decision on a case."""

import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import lmdb
from sqlalchemy import Connection

from delist.casework.assessment import Assessor
from delist.casework.views import Outcome, Rules
from delist.errors import PolicyChangedError, UnknownCaseError, UsageError
from delist.model import Action, Case, CaseState, Decision, RulingKind, Verdict
from delist.review.sampling import is_drawn
from delist.rulings import person_key, standing_of
from delist.store import Database, audit, blind, cases, queue, reassessments
from indexer.store import Store

_MAX_ACTOR = 200
_MAX_REASON = 4000
_TWO = 2
_BATCH, _MOST_FOLLOWED = 100, 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a person decided, and why.

    Attributes:
        actor: who decided, a name that colleagues know.
        reason: for the record; must not hold page URLs or names of survivors.
        seen: the content version that was looked at (``content_token``), or "" to decide on
            whatever the case names now.
        said: how many words of people on these bytes were shown (``said_of``), so that a form
            that is sent twice, or late, decides nothing; None to decide whatever was said.
    """

    verdict: Verdict
    actor: str
    reason: str
    seen: str = ""
    said: int | None = None


def content_token(case: Case) -> str:
    """Name the bytes that a case was shown with: hand it back with the decision."""
    return case.content_sha256[:16]


def said_of(case: Case, decisions: Sequence[Decision]) -> int:
    """Count the words of people on the bytes that a case names: hand it back likewise."""
    return sum(
        given.content_sha256 == case.content_sha256
        and (given.verdict is not None or given.kind is RulingKind.UNDO)
        for given in decisions
    )


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
    Near-duplicates that the verdict speaks for or against follow at once.

    Raises:
        UnknownCaseError: no case has this id.
        UsageError: actor or reason is missing or too long, the case has no live signal
            any more, somebody else is at work on it, other bytes are there than those that it
            was shown with, or the same person decides again where another one is needed.
    """
    case = decide_one(store, database, case_id, ruling, rules=rules, now=now)
    follow(store, database, case.group_id, rules=rules, now=now)
    return case


def decide_one(
    store: Store,
    database: Database,
    case_id: str,
    ruling: Ruling,
    *,
    rules: Rules,
    now: datetime,
) -> Case:
    """As ``decide``, but near-duplicates wait for ``follow`` or intake."""
    ruling = checked_ruling(ruling)
    with database.write() as connection, store.read() as txn:
        case = get_case(connection, case_id)
        assessor = Assessor(store, txn, connection, rules=rules, now=now)
        check_decidable(connection, store, txn, assessor, case, ruling, rules=rules, now=now)
        outcome = rule(
            connection, assessor, case, ruling, kind=RulingKind.REVIEW, rules=rules, now=now
        )
        assessor.finish()
    return outcome.case


def check_decidable(
    connection: Connection,
    store: Store,
    txn: lmdb.Transaction,
    assessor: Assessor,
    case: Case,
    ruling: Ruling,
    *,
    rules: Rules,
    now: datetime,
) -> None:
    """Make sure that a person can decide on a case now.

    Raises:
        UsageError: why not, as ``decide``.
    """
    claimant = case.claimant(now)
    if claimant and person_key(claimant) != person_key(ruling.actor):
        raise UsageError(f"{claimant} is at work on this case; ask them, or wait")
    check_bytes(store, txn, case, seen=ruling.seen)
    given = cases.rulings(connection, case.id, content_sha256=case.content_sha256)
    if ruling.said is not None and len(given) != ruling.said:
        raise UsageError("somebody has decided since the case was shown; look again")
    standing = standing_of(given)
    person = person_key(ruling.actor)
    if person in standing.parties:
        raise UsageError("two people disagree about this case: a third has to decide")
    same = standing.pending is ruling.verdict and person_key(standing.pending_by) == person
    needed = people_needed(assessor.with_reach(case), rules)
    if same and needed >= _TWO:
        raise UsageError("a second person has to agree: the same one cannot decide twice")


def check_bytes(store: Store, txn: lmdb.Transaction, case: Case, *, seen: str = "") -> None:
    """Make sure that a case's image is there, with the bytes that were looked at.

    Raises:
        UsageError: it has ended, or other bytes are there.
    """
    image_key = bytes.fromhex(case.image_key)
    if not store.images.matches(txn, image_key) and not case.has_changed:
        raise UsageError("the case has ended: no live signal matches its image any more")
    record = store.images.find(txn, image_key)
    if record is not None and record.sha256.hex() != case.content_sha256:
        # Nobody has looked at these bytes: the verdict is about others.
        raise UsageError(
            "the image has changed since; run `delist intake`, look again and decide then"
        )
    if seen and seen != content_token(case):
        raise UsageError("the image has changed since it was shown; look again")


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
    # A clock that was set back must not date it before the matches that were looked at.
    decided_at = max([now, *(match.matched_at for match in case.active_matches)])
    decision = Decision(
        case_id=case.id,
        verdict=ruling.verdict,
        action=Action.REVIEW,
        actor=ruling.actor,
        policy_version=rules.policy.version,
        reason=ruling.reason,
        content_sha256=case.content_sha256,
        decided_at=decided_at,
        kind=kind,
        needs=people_needed(assessor.with_reach(case), rules),
    )
    outcome = assessor.assess(bytes.fromhex(case.image_key), ruling=decision)
    assert outcome is not None  # noqa: S101 - the case exists
    decision = replace(decision, action=action_of(outcome.before, outcome.case.state))
    number = cases.add_decision(connection, decision)
    if kind is RulingKind.REVIEW:
        _draw(connection, decision, number, rules=rules)
    if kind is not RulingKind.BLIND and outcome.case.claimed_by:
        outcome = replace(outcome, case=replace(outcome.case, claimed_by="", claimed_until=None))
        queue.set_claim(connection, case.id, "", None)
    audit.append(
        connection,
        actor=ruling.actor,
        act="case.decided",
        subject=case.id,
        now=now,
        detail={
            "verdict": ruling.verdict.value,
            "kind": kind.value,
            "action": decision.action.value,
        },
    )
    return outcome


def follow(store: Store, database: Database, group_id: str, *, rules: Rules, now: datetime) -> None:
    """Look at near-duplicates again that a verdict has changed something for.

    Of a group of thousands, intake takes the rest.
    """
    with suppress(PolicyChangedError):  # then intake looks at all of them
        for _ in range(_MOST_FOLLOWED // _BATCH):
            with database.write() as connection, store.read() as txn:
                keys = reassessments.take_group(connection, group_id, limit=_BATCH)
                if not keys:
                    return
                assessor = Assessor(store, txn, connection, rules=rules, now=now)
                for key in keys:
                    assessor.assess(bytes.fromhex(key))
                assessor.finish()


def _draw(connection: Connection, decision: Decision, number: int, *, rules: Rules) -> None:
    """Draw a decision for a blind second review, or not."""
    percent = rules.policy.people.blind_sample_percent
    assert decision.verdict is not None  # noqa: S101 - a person's
    if decision.verdict is Verdict.UNSURE or not rules.sample_key:
        return  # of "unsure" there is nothing to agree with: somebody else decides anyway
    if is_drawn(rules.sample_key, number, percent=percent):
        blind.draw(
            connection,
            decision_id=number,
            case_id=decision.case_id,
            content_sha256=decision.content_sha256,
            verdict=decision.verdict,
            actor=decision.actor,
            now=decision.decided_at,
        )


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
    """Return a person's name in one spelling: blanks and signs that nobody sees do not count.

    Raises:
        UsageError: it is missing, too long, or no text.
    """
    if _is_text(actor, len(actor)):
        whole = unicodedata.normalize("NFKC", actor)
        seen = (" " if sign.isspace() else sign for sign in whole if _is_seen(sign))
        actor = " ".join("".join(seen).split())
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


def _is_seen(sign: str) -> bool:
    return sign.isspace() or not unicodedata.category(sign).startswith("C")


def _is_text(given: str, longest: int) -> bool:
    # A surrogate stands for a byte of the command line that is no UTF-8.
    return 0 < len(given) <= longest and not any(
        sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in given
    )


def action_of(before: CaseState | None, after: CaseState) -> Action:
    """Say what a decision did to the result."""
    if after is CaseState.SUPPRESSED:
        return Action.SUPPRESS
    if before is CaseState.SUPPRESSED:
        return Action.LIFT
    return Action.REVIEW if after is CaseState.OPEN else Action.KEEP
