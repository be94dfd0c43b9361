"""Looking at one image's case in the light of what is true now.

Intake, withdrawals and verdicts all end here. The steps, in one SQL transaction:

(1) Take what the image matches now from the indexer's store; what no longer
    matches has ended or was withdrawn.
(2) Ask the policy, and a person's verdict on the bytes that are there now.
(3) Move the case along the table of ``workflow``.
(4) Bring the ledger in line.
(5) Queue what the feeds are to be told, once for all images: ``tell_feeds``.

It is told nothing but the image, and compares states, not events. So it may be
repeated at any time: what is in line already is left as it is.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import lmdb
from sqlalchemy import Connection

from delist import emission, feedback
from delist.model import (
    Action,
    Basis,
    Case,
    CaseMatch,
    CaseState,
    Decision,
    RecordState,
    Support,
    Verdict,
)
from delist.policy import Policy, Proposal, propose
from delist.store import cases
from delist.workflow import check_step, next_state
from indexer.model import ImageRecord, Match
from indexer.store import Store

POLICY_ACTOR = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a case.

    Attributes:
        before: its state before, None when it is new.
        records: records that were appended to the ledger.
    """

    before: CaseState | None
    case: Case
    records: int


class Assessor:
    """Assesses cases against one consistent state of the indexer's store."""

    def __init__(
        self,
        store: Store,
        image_txn: lmdb.Transaction,
        connection: Connection,
        *,
        policy: Policy,
        review_hours: int,
        now: datetime,
    ) -> None:
        self._store = store
        self._image_txn = image_txn
        self._connection = connection
        self._policy = policy
        self._review_hours = review_hours
        self._now = now
        self._touched: dict[str, str] = {}

    def assess(self, image_key: bytes, *, verdict: Verdict | None = None) -> Outcome | None:
        """Bring the case of an image in line with what is true now.

        Args:
            image_key: key of the image.
            verdict: what a person has just decided about the bytes that are there now.

        Returns:
            What became of the case; None when there is none and nothing matches.
        """
        record = self._store.images.find(self._image_txn, image_key)
        matches = self._store.images.matches(self._image_txn, image_key)
        held = cases.find_by_image(self._connection, image_key.hex())
        if held is None and (record is None or not matches):
            return None
        case = held if held is not None else self._new_case(image_key, record)
        case = self._with_matches(case, record, matches.values())  # (1)
        if verdict is not None:
            case = replace(case, verdict=verdict, decided_at=self._now)
        case, proposal = self._decided(case, held, by_person=verdict is not None)  # (2), (3)
        if case != held:
            cases.put(self._connection, case)
        if (
            held is None
            or case.state is not held.state
            or case.content_sha256 != held.content_sha256
        ):
            self._note_policy(case, proposal, by_person=verdict is not None)
        appended = self._emit(case, record, proposal, held)  # (4)
        self._touch(case, held)
        return Outcome(before=None if held is None else held.state, case=case, records=appended)

    def tell_feeds(self) -> None:
        """Queue what the feeds are to be told of the signals of all assessed cases."""  # (5)
        for signal_key, feed in sorted(self._touched.items()):
            feedback.queue_for(self._connection, feed=feed, signal_key=signal_key, now=self._now)
        self._touched.clear()

    def _new_case(self, image_key: bytes, record: ImageRecord | None) -> Case:
        assert record is not None  # noqa: S101 - a new case needs an image, see assess()
        return Case(
            id=secrets.token_hex(8),
            image_key=image_key.hex(),
            image_url=record.image_url,
            content_sha256=record.sha256.hex(),
            state=CaseState.OPEN,
            opened_at=self._now,
            deadline_at=self._now + timedelta(hours=self._review_hours),
            changed_at=self._now,
        )

    def _with_matches(
        self, case: Case, record: ImageRecord | None, matches: Iterable[Match]
    ) -> Case:
        """Bring the matches up to date; a verdict counts for the bytes it was given on."""
        held = {match.signal_key: match for match in case.matches}
        merged = [self._merged(held.pop(m.signal_key.hex(), None), m) for m in matches]
        merged += [self._ended(match) for match in held.values()]
        merged.sort(key=lambda match: (match.distance_bits, match.signal_key))
        content = case.content_sha256 if record is None else record.sha256.hex()
        if content != case.content_sha256:
            ruling = cases.last_ruling(self._connection, case.id, content_sha256=content)
            case = replace(
                case,
                content_sha256=content,
                verdict=ruling.verdict if ruling else None,
                decided_at=ruling.decided_at if ruling else None,
            )
        return replace(case, matches=tuple(merged))

    def _merged(self, held: CaseMatch | None, match: Match) -> CaseMatch:
        fresh = CaseMatch(
            signal_key=match.signal_key.hex(),
            feed=match.feed,
            distance_bits=match.distance_bits,
            threshold_bits=match.threshold_bits,
            hasher=match.hasher.value if match.hasher else "",
            variant=match.variant or "",
            quality=match.quality or 0,
            content_sha256=match.content_sha256.hex(),
            support=Support.ACTIVE,
            matched_at=self._now,
        )
        if held is not None and replace(fresh, matched_at=held.matched_at) == held:
            return held
        return fresh

    def _ended(self, match: CaseMatch) -> CaseMatch:
        if match.support is not Support.ACTIVE:
            return match
        live = self._store.signals.find(self._image_txn, bytes.fromhex(match.signal_key))
        # One that was added since has returned from a withdrawal, and waits for its re-scan.
        withdrawn = live is None or live.added_at > match.matched_at
        return replace(match, support=Support.WITHDRAWN if withdrawn else Support.ENDED)

    def _decided(
        self, case: Case, held: Case | None, *, by_person: bool
    ) -> tuple[Case, Proposal | None]:
        """Ask policy and verdict, and take the step that follows."""
        active = case.active_matches
        newest = max((match.matched_at for match in active), default=None)
        covers = by_person or (
            case.decided_at is not None and (newest is None or newest <= case.decided_at)
        )
        dismissed = case.verdict is Verdict.NOT_NCII
        proposal = propose(active, self._policy, dismissed_before=dismissed) if active else None
        state = next_state(
            supported=bool(active),
            verdict=case.verdict,
            verdict_covers_matches=covers,
            proposed=proposal.action if proposal else None,
        )
        check_step(case.state, state)
        if state is not case.state:
            case = replace(case, state=state, changed_at=self._now)
        if held is not None and case.awaits_person and not held.awaits_person:
            # A person is asked again, and has the whole time again.
            case = replace(case, deadline_at=self._now + timedelta(hours=self._review_hours))
        return case, proposal

    def _note_policy(self, case: Case, proposal: Proposal | None, *, by_person: bool) -> None:
        """Append the policy's decision; a person's is appended by ``review``."""
        if by_person:
            return
        if proposal is None:
            action, reason = Action.LIFT, "no live signal matches the image any more"
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
        )
        cases.add_decision(self._connection, decision)

    def _emit(
        self,
        case: Case,
        record: ImageRecord | None,
        proposal: Proposal | None,
        held: Case | None,
    ) -> int:
        wanted = None
        if case.state is CaseState.SUPPRESSED and proposal is not None:
            match = proposal.match
            confirmed = case.verdict is Verdict.NCII
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
                image_urls=self._urls_of(case),
                document_id=(record.document_id if record else None) or "",
                content_sha256=case.content_sha256,
            )
        reason = _lift_reason(case, held)
        return emission.emit(self._connection, case.id, wanted, lift_reason=reason, now=self._now)

    def _urls_of(self, case: Case) -> list[str]:
        aliases = self._store.images.aliases(self._image_txn, bytes.fromhex(case.image_key))
        return [case.image_url, *aliases]

    def _touch(self, case: Case, held: Case | None) -> None:
        before = () if held is None else held.active_matches
        self._touched.update({match.signal_key: match.feed for match in before})
        self._touched.update({match.signal_key: match.feed for match in case.active_matches})


def _lift_reason(case: Case, held: Case | None) -> str:
    if case.state is CaseState.DISMISSED:
        return emission.REASON_DISMISSED
    if case.active_matches:
        return emission.REASON_NEEDS_REVIEW
    before = set() if held is None else {match.signal_key for match in held.active_matches}
    ended = [match for match in case.matches if match.signal_key in before]
    if any(match.support is Support.ENDED for match in ended):
        return emission.REASON_CONTENT_CHANGED
    return emission.REASON_WITHDRAWN
