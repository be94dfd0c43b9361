"""Deciding an appeal: another person looks again than any who decided on these bytes before.

Verdict, ledger, feedback and the appeal change in one transaction, so result pages follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import lmdb
from sqlalchemy import Connection

from delist import review
from delist.appeal_record import (
    Appeal,
    AppealState,
    Asks,
    Finding,
    after,
    is_settled,
    step_of,
    verdict_of,
)
from delist.appeals.desk import AppealDesk
from delist.casework.assessment import Assessor
from delist.casework.views import Rules
from delist.errors import UsageError
from delist.model import Case, Decision, RulingKind, Verdict
from delist.store import appeals as table
from delist.store import audit, cases
from indexer.model import has_ended

_TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AppealFile:
    """What the person who decides an appeal needs to see.

    Attributes:
        seen: the bytes that are shown; to be handed back with the decision.
        references: how many case references stand behind the image now.
        decided_before: who cannot decide this appeal.
    """

    appeal: Appeal
    case: Case | None
    decisions: Sequence[Decision] = ()
    seen: str = ""
    references: int = 0
    decided_before: Sequence[str] = ()


def every(desk: AppealDesk, *, waiting: bool = True) -> list[Appeal]:
    """List the appeals that wait for a decision, or all, the next deadline first."""
    with desk.database.read() as connection:
        return table.every(connection, waiting=waiting)


def show(desk: AppealDesk, appeal_id: str, *, actor: str) -> AppealFile:
    """Load an appeal for whoever is to decide it; that they saw it is on record.

    What it is about are from now on the bytes that are shown here.

    Raises:
        UnknownAppealError: no such appeal.
    """
    actor, now = review.checked_actor(actor), desk.clock()
    with desk.database.write() as connection, desk.store.read() as txn:
        appeal = table.get(connection, appeal_id, now=now)
        audit.append(connection, actor=actor, act="appeal.viewed", subject=appeal.id, now=now)
        if appeal.case_id is None:
            return AppealFile(appeal=appeal, case=None)
        case = review.get_case(connection, appeal.case_id)
        if appeal.state is AppealState.OPEN and appeal.content_sha256 != case.content_sha256:
            appeal = replace(appeal, content_sha256=case.content_sha256)
            table.put(connection, appeal)
        return AppealFile(
            appeal=appeal,
            case=case,
            decisions=cases.decisions_of(connection, case.id),
            seen=review.content_token(case),
            references=_references(desk, txn, case),
            decided_before=sorted(_decided_before(connection, case)),
        )


def decide(
    desk: AppealDesk, appeal_id: str, finding: Finding, *, actor: str, reason: str, seen: str = ""
) -> Appeal:
    """Decide an appeal: verdict, ledger, feedback and appeal in one transaction.

    Returns:
        The appeal: ``upheld``, ``overturned``, or ``ended`` where nothing was left to decide.

    Raises:
        UnknownAppealError: no such appeal.
        UsageError: it is not open; the same person decided on these bytes before; somebody
            else is at work on the case; two people have to look first; or other bytes are
            there than those that it was shown with.
    """
    ruling = review.checked_ruling(
        review.Ruling(verdict=verdict_of(Asks.LIFT, finding), actor=actor, reason=reason)
    )
    now, rules = desk.clock(), desk.rules()
    with desk.database.write() as connection, desk.store.read() as txn:
        appeal = table.get(connection, appeal_id, now=now)
        target = after(appeal.state, step_of(finding))
        if target is None or appeal.case_id is None:
            raise UsageError(_not_open(appeal.state))
        case = review.get_case(connection, appeal.case_id)
        _check_bytes(desk, txn, case, appeal, seen)
        if is_settled(appeal.asks, case.state, case.verdict):
            target = AppealState.ENDED
        else:
            _check_person(connection, case, ruling.actor, rules, now=now)
            ruling = replace(ruling, verdict=verdict_of(appeal.asks, finding))
            assessor = Assessor(desk.store, txn, connection, rules=rules, now=now)
            review.rule(
                connection, assessor, case, ruling, kind=RulingKind.APPEAL, rules=rules, now=now
            )
            assessor.finish()
        appeal = replace(
            appeal,
            state=target,
            decided_by=ruling.actor,
            decided_at=now,
            reason=ruling.reason,
        )
        table.put(connection, appeal)
        table.note(connection, appeal, "appeal.decided", now=now, actor=ruling.actor)
    return appeal


def _references(desk: AppealDesk, txn: lmdb.Transaction, case: Case) -> int:
    found = [
        desk.store.signals.find(txn, bytes.fromhex(match.signal_key))
        for match in case.active_matches
    ]
    return len(
        {
            entry.case_ref
            for signal in found
            if signal is not None
            for entry in signal.cases
            if not has_ended(entry.status)
        }
    )


def _check_bytes(
    desk: AppealDesk, txn: lmdb.Transaction, case: Case, appeal: Appeal, seen: str
) -> None:
    record = desk.store.images.find(txn, bytes.fromhex(case.image_key))
    if record is not None and record.sha256.hex() != case.content_sha256:
        raise UsageError(
            "the image has changed since; run `delist intake`, look again and decide then"
        )
    if appeal.content_sha256 != case.content_sha256 or (
        seen and seen != review.content_token(case)
    ):
        raise UsageError(
            "the image has changed since the appeal; look again with `delist appeal show`"
        )


def _check_person(
    connection: Connection, case: Case, actor: str, rules: Rules, *, now: datetime
) -> None:
    claimant = case.claimant(now)
    if claimant and claimant != actor:
        raise UsageError(f"{claimant} is at work on this case; ask them, or wait")
    before = _decided_before(connection, case)
    if actor.casefold() in {name.casefold() for name in before}:
        raise UsageError("another person has to decide than one who decided on this image before")
    if case.verdict in {None, Verdict.UNSURE} and review.people_needed(case, rules) >= _TWO:
        # An appeal's decision counts by itself: it must not stand in for two first looks.
        raise UsageError("two people have to look at this image first; see `delist decide`")


def _decided_before(connection: Connection, case: Case) -> set[str]:
    """Name who decided on the bytes that are there now, blind reviews included."""
    content = case.content_sha256
    given = cases.rulings(connection, case.id, content_sha256=content)
    blind = table.blind_reviewers(connection, case.id, content_sha256=content)
    return {ruling.actor for ruling in given} | blind


def _not_open(state: AppealState) -> str:
    if state is AppealState.AWAITING_PROOF:
        return "control of the site is not proved yet; see `delist appeal prove`"
    if state is AppealState.NO_RECORD:
        return "there is nothing to decide: no record was in effect"
    return f"the appeal was decided already ({state.value}); it is not decided twice"
