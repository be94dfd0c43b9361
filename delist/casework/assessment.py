"""Bringing one image's case in line with what is true now.

Intake, withdrawals, verdicts, policy changes and brakes all end here. ``looking`` says where a
case stands, in steps (1) to (4); here the difference is written, in one SQL transaction:

(5) The case, signals that have to be stopped, the policy's decision.
(6) The ledger.
(7) ``finish``, once for all images: what the feeds are to be told.

It compares states, not events. So it may be repeated at any time: what is in line already is
left as it is.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

import lmdb
from sqlalchemy import Connection

from delist import emission, feedback
from delist.casework import braking
from delist.casework.facts import Supposed
from delist.casework.looking import Looker
from delist.casework.views import Outcome, Rules, View
from delist.model import Action, Basis, Case, CaseState, Decision, RecordState, Support, Verdict
from delist.policy import Check, acts_until
from delist.store import acts, cases, ledger, reassessments
from indexer.model import ImageRecord
from indexer.store import Store

POLICY_ACTOR = "policy"


class Assessor(Looker):
    """Assesses cases: looks, and writes what follows. Raises as ``Looker``."""

    def __init__(
        self,
        store: Store,
        image_txn: lmdb.Transaction,
        connection: Connection,
        *,
        rules: Rules,
        now: datetime,
        supposed: Supposed | None = None,
    ) -> None:
        super().__init__(store, image_txn, connection, rules=rules, now=now, supposed=supposed)
        self._touched: dict[str, str] = {}

    def assess(self, image_key: bytes, *, ruling: Decision | None = None) -> Outcome | None:
        """Bring the case of an image in line with what is true now.

        Args:
            image_key: key of the image.
            ruling: what a person has just decided about the bytes that are there now. It is
                not stored here: its action is known only afterwards.

        Returns:
            What became of the case; None when there is none and nothing matches.
        """
        view = self.look(image_key, ruling=ruling)
        if view is None:
            return None
        held, case = view.held, view.case
        if case != held:
            cases.put(self._connection, case, before=held)
        for tripped in view.tripped:
            braking.stop(self._connection, tripped, now=self._now)
            self._supposed.stopped[tripped.signal_key] = tripped.code
        if held is not None and case.verdict is not held.verdict:
            self._note_first_confirmed(case)
        self._ask_near_duplicates(case, held)
        changed = (
            held is None
            or case.state is not held.state
            or case.content_sha256 != held.content_sha256
        )
        if changed and ruling is None:
            self._note_policy(view)
        if self._machine_acts(view):
            assert view.basis is not None  # noqa: S101 - a suppression rests on a match
            self._facts.count_act(view.basis)
        appended = self._emit(view)  # (6)
        self._touch(case, held)
        self._touched.update(self._giving_back.follow(case, view.record))
        return Outcome(before=None if held is None else held.state, case=case, records=appended)

    def finish(self) -> None:
        """Write what is written once for all assessed cases: to be called last."""  # (7)
        acts.add(self._connection, self._facts.take_acts(), now=self._now)
        for signal_key, feed in sorted(self._touched.items()):
            feedback.queue_for(self._connection, feed=feed, signal_key=signal_key, now=self._now)
        self._touched.clear()

    def _ask_near_duplicates(self, case: Case, held: Case | None) -> None:
        """What a person said of one speaks for or against its near-duplicates while it is one."""
        before = {} if held is None else {held.group_id: held.verdict}
        now = {case.group_id: case.verdict}
        for group_id in sorted(before.keys() | now.keys()):
            if before.get(group_id) is not now.get(group_id):
                reassessments.ask_for_group(
                    self._connection, group_id, reason="near_duplicate_decided", now=self._now
                )

    def _note_first_confirmed(self, case: Case) -> None:
        """Once an image of a site is confirmed, what its pages say of others is not believed."""
        if case.verdict is not Verdict.NCII:
            return
        counts = cases.site_verdicts(self._connection, case.site)
        if sum(count for (_, said), count in counts.items() if said is Verdict.NCII) == 1:
            reassessments.ask_for_open_of_site(
                self._connection, case.site, reason="site_confirmed", now=self._now
            )

    def _note_policy(self, view: View) -> None:
        """Append the policy's decision; a person's is appended by ``review``."""
        case, proposal = view.case, view.proposal
        acts = proposal is not None and proposal.action is Action.SUPPRESS
        if case.has_changed and not acts:
            action = Action.KEEP
            reason = "a person confirmed what was there before; a person has to look at what is now"
        elif proposal is None:
            kept = case.state is CaseState.SUPPRESSED
            action = Action.KEEP if kept else Action.LIFT
            reason = "no live signal matches the image any more"
            if kept:
                reason += "; the policy keeps what a person confirmed"
        elif case.state is CaseState.DISMISSED:
            action, reason = Action.KEEP, "a person has dismissed these bytes before"
        elif case.verdict is Verdict.NCII:
            action, reason = Action.SUPPRESS, "a person has confirmed these bytes before"
        else:
            action, reason = proposal.action, proposal.reason
        decision = Decision(
            case_id=case.id,
            verdict=None,
            action=action,
            actor=POLICY_ACTOR,
            policy_version=self._policy.version,
            reason=reason,
            content_sha256=case.content_sha256,
            decided_at=self._now,
            checks=checks_text(proposal.checks) if proposal else "",
        )
        cases.add_decision(self._connection, decision)

    def _emit(self, view: View) -> int:
        case, record, match = view.case, view.record, view.basis
        wanted = None
        if case.state is CaseState.SUPPRESSED and match is not None:
            # Nothing matches what is there now: the record says what was confirmed, as before.
            kept = case.has_changed and view.proposal is None
            confirmed = kept or case.verdict is Verdict.NCII
            until = None if confirmed or case.has_changed else self._acts_until(case)
            wanted = emission.Suppression(
                state=RecordState.CONFIRMED if confirmed else RecordState.PROVISIONAL,
                basis=Basis(
                    feed=match.feed,
                    signal=match.signal_key,
                    distance_bits=match.distance_bits,
                    hasher=match.hasher,
                    variant=match.variant,
                    policy_version=self._policy.version,
                ),
                image_urls=self._urls_of(case, record),
                document_id=(record.document_id if record else None) or "",
                content_sha256=case.confirmed_sha256 if kept else case.content_sha256,
                expires_at=until,
            )
        reason = _lift_reason(case, view.held)
        if reason == emission.REASON_NEEDS_REVIEW and self._has_expired(case):
            reason = emission.REASON_EXPIRED
        return emission.emit(self._connection, case.id, wanted, lift_reason=reason, now=self._now)

    def _acts_until(self, case: Case) -> datetime | None:
        return acts_until(self._facts.acted_at(case), self._policy)

    def _has_expired(self, case: Case) -> bool:
        until = self._acts_until(case)
        return until is not None and until <= self._now

    def _urls_of(self, case: Case, record: ImageRecord | None) -> list[str]:
        aliases = self._store.images.aliases(self._image_txn, bytes.fromhex(case.image_key))
        if record is None:  # it moved with all that led to it: kept is what was in effect
            aliases += emission.effective(ledger.of_case(self._connection, case.id))
        return list(dict.fromkeys([case.image_url, *aliases]))

    def _touch(self, case: Case, held: Case | None) -> None:
        before = () if held is None else held.active_matches
        self._touched.update({match.signal_key: match.feed for match in before})
        self._touched.update({match.signal_key: match.feed for match in case.active_matches})


def checks_text(checks: Iterable[Check]) -> str:
    """Write checks as JSON, to be kept with a decision."""
    return json.dumps([asdict(check) for check in checks])


def _lift_reason(case: Case, held: Case | None) -> str:
    if case.state is CaseState.DISMISSED:
        return emission.REASON_DISMISSED
    if case.state is CaseState.QUARANTINED:
        return emission.REASON_ON_HOLD
    if case.active_matches:
        return emission.REASON_NEEDS_REVIEW
    before = set() if held is None else {match.signal_key for match in held.active_matches}
    ended = [match for match in case.matches if match.signal_key in before]
    if held is not None and held.has_changed:
        ended = list(case.matches)
    if any(match.support is Support.ENDED for match in ended):
        return emission.REASON_CONTENT_CHANGED
    return emission.REASON_WITHDRAWN
