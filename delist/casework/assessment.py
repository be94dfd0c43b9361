"""Looking at one image's case in the light of what is true now.

Intake, withdrawals, verdicts, policy changes and brakes all end here. The steps, in one SQL
transaction:

(1) Take what the image matches now from the indexer's store; what no longer
    matches has ended or was withdrawn.
(2) See what people's decisions on the bytes that are there now come to.
(3) Collect the facts, stop signals that do what no true signal does, ask the policy.
(4) Say where the case stands by the table of ``workflow``.
(5) Bring the ledger in line.
(6) ``finish``, once for all images: queue what the feeds are to be told.

It is told nothing but the image, and compares states, not events. So it may be
repeated at any time: what is in line already is left as it is.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

import lmdb
from sqlalchemy import Connection

from delist import emission, feedback
from delist.casework import braking
from delist.casework.facts import FactsReader, Sources, Supposed
from delist.casework.grouping import find_group, reach_of
from delist.casework.risk import queue_place, risk_of
from delist.errors import PolicyChangedError
from delist.feedback.giving_back import GivingBack
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
from delist.policy import Check, ConfirmedRule, Policy, Proposal, propose
from delist.rulings import standing_of
from delist.sites import place_of, site_of
from delist.store import acts, cases, policies, reassessments
from delist.workflow import Standpoint, next_state
from indexer.model import ImageRecord, Match
from indexer.store import Store

POLICY_ACTOR = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What assessing follows beside the two stores.

    Attributes:
        policy: in force.
        policy_id: its number among those that were applied, 0 where none was. What was asked for
            when another one was applied must not be done under this one. None: as if in force.
        review_hours: that a person has to decide.
        sources: of facts.
        sample_key: secret that draws decisions for a blind second review; empty: none is drawn.
    """

    policy: Policy
    policy_id: int | None = None
    review_hours: int
    sources: Sources
    sample_key: bytes = field(default=b"", repr=False)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where a case would stand, before anything is written.

    Attributes:
        held: the case as it is stored, None when it is new.
        proposal: of the policy; None when no live signal matches.
        basis: the match that a suppression would rest on, or None.
        tripped: signals that have to be stopped.
    """

    held: Case | None
    case: Case
    record: ImageRecord | None
    proposal: Proposal | None
    basis: CaseMatch | None
    tripped: tuple[braking.Tripped, ...] = ()


class Assessor:
    """Assesses cases against one consistent state of the indexer's store.

    Raises:
        PolicyChangedError: the rules' policy is no longer the one in force.
    """

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
        self._store = store
        self._image_txn = image_txn
        self._connection = connection
        self._policy = rules.policy
        self._review_hours = rules.review_hours
        self._now = now
        if rules.policy_id not in {None, policies.newest_id(connection)}:
            raise PolicyChangedError
        self._supposed = Supposed() if supposed is None else supposed
        self._facts = FactsReader(
            store,
            image_txn,
            connection,
            rules.sources,
            policy=rules.policy,
            now=now,
            supposed=self._supposed,
        )
        self._breaker = braking.Breaker(connection, policy=rules.policy, now=now)
        self._giving_back = GivingBack(store, image_txn, connection, policy=rules.policy, now=now)
        self._idle: frozenset[str] = frozenset()
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
            # What a person said of one speaks for or against its near-duplicates.
            reassessments.ask_for_group(
                self._connection, case.group_id, reason="near_duplicate_decided", now=self._now
            )
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
        appended = self._emit(view)  # (5)
        self._touch(case, held)
        self._touched.update(self._giving_back.follow(case, view.record))
        return Outcome(before=None if held is None else held.state, case=case, records=appended)

    def look(self, image_key: bytes, *, ruling: Decision | None = None) -> View | None:
        """See where the case of an image would stand; nothing is written. Args as ``assess``."""
        record = self._store.images.find(self._image_txn, image_key)
        matches = self._store.images.matches(self._image_txn, image_key)
        held = cases.find_by_image(self._connection, image_key.hex())
        if held is not None and held.image_key in self._supposed.states:
            held = replace(held, state=self._supposed.states[held.image_key])
        content = record.sha256.hex() if record else ""
        matches, self._idle = self._giving_back.split(matches, held, content)
        if held is None and (record is None or not matches):
            return None
        case = held if held is not None else self._new_case(image_key, record)
        case = self._with_matches(case, record, matches.values())  # (1)
        case = self._with_standing(case, ruling)  # (2)
        case = self._with_group(case, held, record)
        return self._decided(case, held, record)  # (3), (4)

    def suppose(self, view: View) -> None:
        """Take what a view leads to for granted in the next ones; nothing is written."""
        if view.held is None or view.case.state is not view.held.state:
            self._supposed.states[view.case.image_key] = view.case.state
        self._supposed.stopped.update({entry.signal_key: entry.code for entry in view.tripped})
        if self._machine_acts(view):
            assert view.basis is not None  # noqa: S101 - a suppression rests on a match
            self._supposed.acts.update(self._facts.scopes(view.basis))

    def budget(self, view: View) -> dict[str, tuple[int, int]]:
        """Say how many automatic acts were counted today beside a view's basis, and the caps."""
        return self._facts.budget(view.basis) if view.basis is not None else {}

    def with_reach(self, case: Case) -> Case:
        """Return a stored case with its reach as it is now: near-duplicates may have come since."""
        counted = case.state is not CaseState.WITHDRAWN
        reach = reach_of(self._connection, self._store, self._image_txn, case, counted=counted)
        return replace(case, reach=reach)

    def finish(self) -> None:
        """Write what is written once for all assessed cases: to be called last."""  # (6)
        acts.add(self._connection, self._facts.take_acts(), now=self._now)
        for signal_key, feed in sorted(self._touched.items()):
            feedback.queue_for(self._connection, feed=feed, signal_key=signal_key, now=self._now)
        self._touched.clear()

    def _new_case(self, image_key: bytes, record: ImageRecord | None) -> Case:
        assert record is not None  # noqa: S101 - a new case needs an image, see assess()
        return Case(
            id=secrets.token_hex(8),
            site=site_of(record.image_url),
            path=place_of(record.image_url),
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
        """Bring the matches up to date; those of other bytes have ended."""
        held = {match.signal_key: match for match in case.matches}
        merged = [self._merged(held.pop(m.signal_key.hex(), None), m) for m in matches]
        merged += [self._ended(match) for match in held.values()]
        merged.sort(key=lambda match: (match.distance_bits, match.signal_key))
        # Bytes that nothing matches are nobody's: the case keeps what it was last about.
        supported = any(match.support is Support.ACTIVE for match in merged)
        content = record.sha256.hex() if record and supported else case.content_sha256
        return replace(case, content_sha256=content, matches=tuple(merged))

    def _with_standing(self, case: Case, ruling: Decision | None) -> Case:
        """Bring the verdict up to date: it counts for the bytes it was given on."""
        content = case.content_sha256
        given = cases.rulings(self._connection, case.id, content_sha256=content)
        standing = standing_of([*given, ruling] if ruling is not None else given)
        return replace(
            case,
            verdict=standing.verdict,
            decided_at=standing.ruling.decided_at if standing.ruling else None,
            pending=standing.pending,
            pending_by=standing.pending_by,
            disputed=standing.disputed,
        )

    def _with_group(self, case: Case, held: Case | None, record: ImageRecord | None) -> Case:
        """Find the near-duplicates, for bytes that are new here, and how far the image reaches."""
        if record is None:
            return case
        new = held is None or held.content_sha256 != case.content_sha256 or not held.site
        if new:
            keys = [match.signal_key for match in case.active_matches]
            leader = find_group(self._connection, self._store, self._image_txn, record, keys)
            case = replace(
                case,
                group_id=leader or cases.own_group(case),
                site=site_of(record.image_url),
                path=place_of(record.image_url),
            )
        counted = not new and case.state is not CaseState.WITHDRAWN
        reach = reach_of(self._connection, self._store, self._image_txn, case, counted=counted)
        return replace(case, reach=reach)

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
            weighted_bits=match.weighted_bits,
        )
        if (
            held is not None
            and held.support is Support.ACTIVE
            and held.content_sha256 == fresh.content_sha256
        ):
            # The same bytes under another threshold, say, are no new match: dated anew, it would
            # ask people again, and count for the blast radius.
            return replace(fresh, matched_at=held.matched_at)
        return fresh

    def _ended(self, match: CaseMatch) -> CaseMatch:
        if match.support is not Support.ACTIVE:
            return match
        live = self._store.signals.find(self._image_txn, bytes.fromhex(match.signal_key))
        # One that was added since has returned from a withdrawal, and waits for its re-scan.
        withdrawn = live is None or live.added_at > match.matched_at
        # A hash of our own ends with what it was derived from, though its feed still lists it.
        withdrawn = withdrawn or match.signal_key in self._idle
        return replace(match, support=Support.WITHDRAWN if withdrawn else Support.ENDED)

    def _decided(self, case: Case, held: Case | None, record: ImageRecord | None) -> View:
        """Ask the policy, and say where the case stands."""
        active = case.active_matches
        newest = max((match.matched_at for match in active), default=None)
        covers = case.decided_at is not None and (newest is None or newest <= case.decided_at)
        proposal, tripped = self._proposed(case, held, record) if active else (None, ())
        kept = None if active or record is None else self._kept(case, record)
        state = next_state(
            Standpoint(
                supported=bool(active),
                verdict=case.verdict,
                verdict_covers_matches=covers,
                proposed=proposal.action if proposal else None,
                kept=kept is not None,
            )
        )
        if state is not case.state:
            case = replace(case, state=state, changed_at=self._now)
        if held is not None and case.awaits_person and not held.awaits_person:
            # A person is asked again, and has the whole time again.
            case = replace(case, deadline_at=self._now + timedelta(hours=self._review_hours))
        basis = proposal.match if proposal else kept
        return View(
            held=held,
            case=self._in_queue(case, basis),
            record=record,
            proposal=proposal,
            basis=basis,
            tripped=tripped,
        )

    def _proposed(
        self, case: Case, held: Case | None, record: ImageRecord | None
    ) -> tuple[Proposal, tuple[braking.Tripped, ...]]:
        acted = (
            held is not None
            and held.state is CaseState.SUPPRESSED
            and held.content_sha256 == case.content_sha256
        )
        facts = self._facts.of_case(case, record, acted_before=acted)
        tripped = self._breaker.find_tripped(facts, case.site)
        stopped = {entry.signal_key: entry.code for entry in tripped}
        facts = replace(
            facts,
            matches=tuple(
                replace(
                    found,
                    signal=replace(
                        found.signal, brake=stopped.get(found.match.signal_key, found.signal.brake)
                    ),
                )
                for found in facts.matches
            ),
        )
        return propose(facts, self._policy), tuple(tripped)

    def _kept(self, case: Case, record: ImageRecord) -> CaseMatch | None:
        """Find what a confirmed image rests on when nothing matches it any more, or None."""
        if case.verdict is not Verdict.NCII or record.sha256.hex() != case.content_sha256:
            return None
        seen = [match for match in case.matches if match.content_sha256 == case.content_sha256]
        changed = [match for match in seen if match.support is Support.ENDED]
        rules = self._policy.confirmed
        rule = rules.after_change if changed else rules.after_withdrawal
        if rule != ConfirmedRule.KEEP or not seen:
            return None
        return min(changed or seen, key=lambda match: (match.distance_bits, match.signal_key))

    def _in_queue(self, case: Case, basis: CaseMatch | None) -> Case:
        nearest = basis or min(case.matches, key=lambda match: match.distance_bits)
        risk = risk_of(case.state, nearest, reach=case.reach, disputed=case.disputed)
        place = queue_place(case.deadline_at, risk, review_hours=self._review_hours)
        return replace(case, risk=risk, queue_at=place)

    def _machine_acts(self, view: View) -> bool:
        """Whether the machine, not a person, suppresses these bytes, and did not before."""
        held, case = view.held, view.case
        if case.state is not CaseState.SUPPRESSED or case.verdict is Verdict.NCII:
            return False
        return (
            held is None
            or held.state is not CaseState.SUPPRESSED
            or held.content_sha256 != case.content_sha256
        )

    def _note_policy(self, view: View) -> None:
        """Append the policy's decision; a person's is appended by ``review``."""
        case, proposal = view.case, view.proposal
        if proposal is None:
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
        reason = _lift_reason(case, view.held)
        return emission.emit(self._connection, case.id, wanted, lift_reason=reason, now=self._now)

    def _urls_of(self, case: Case) -> list[str]:
        aliases = self._store.images.aliases(self._image_txn, bytes.fromhex(case.image_key))
        return [case.image_url, *aliases]

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
    if any(match.support is Support.ENDED for match in ended):
        return emission.REASON_CONTENT_CHANGED
    return emission.REASON_WITHDRAWN
