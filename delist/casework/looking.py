"""Looking at one image's case in the light of what is true now; nothing is written.

(1) Take what the image matches now from the indexer's store; what no longer
    matches has ended or was withdrawn. See what is there now (``confirmed``).
(2) See what people's decisions on the bytes that are there now come to.
(3) Collect the facts, find signals that do what no true signal does, ask the policy.
(4) Say where the case stands by the table of ``workflow``.

It is told nothing but the image. What explains and simulates a policy asks the very same as what
puts it into effect (``assessment``).
"""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

import lmdb
from sqlalchemy import Connection

from delist.casework import braking, confirmed
from delist.casework.facts import FactsReader, Supposed
from delist.casework.grouping import find_group, reach_of
from delist.casework.matching import with_matches
from delist.casework.risk import queue_place, risk_of
from delist.casework.views import Rules, View
from delist.errors import PolicyChangedError
from delist.feedback.giving_back import GivingBack
from delist.model import Action, Case, CaseMatch, CaseState, Decision, Support, Verdict
from delist.policy import CaseFacts, ConfirmedRule, Proposal, propose, urgency
from delist.rulings import standing_of
from delist.sites import place_of, site_of
from delist.store import cases, policies
from delist.workflow import Standpoint, next_state
from indexer.model import ImageRecord, Signal
from indexer.store import Store


class Looker:
    """Looks at cases in one consistent state of the indexer's store.

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

    def look(self, image_key: bytes, *, ruling: Decision | None = None) -> View | None:
        """See where the case of an image would stand; nothing is written.

        Args:
            image_key: key of the image.
            ruling: what a person has just decided about the bytes that are there now.
        """
        record = self._store.images.find(self._image_txn, image_key)
        matches = self._store.images.matches(self._image_txn, image_key)
        held = cases.find_by_image(self._connection, image_key.hex())
        if held is not None and held.image_key in self._supposed.states:
            held = replace(held, state=self._supposed.states[held.image_key])
        content = record.sha256.hex() if record else ""
        matches, idle = self._giving_back.split(matches, held, content)
        if held is None and (record is None or not matches):
            return None
        case = held if held is not None else self._new_case(image_key, record)
        case = with_matches(  # (1)
            case,
            record,
            matches.values(),
            find_signal=self._signal,
            idle=idle,
            now=self._now,
        )
        there = confirmed.content_there(self._store, self._image_txn, case.image_url, record)
        case = confirmed.follow_content(case, there, self._policy)
        case = confirmed.with_confirmed(self._with_standing(case, ruling), self._policy)  # (2)
        case = self._with_group(case, held, record)
        return self._decided(case, held, record, there)  # (3), (4)

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

    def _signal(self, key: bytes) -> Signal | None:
        return self._store.signals.find(self._image_txn, key)

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

    def _decided(
        self, case: Case, held: Case | None, record: ImageRecord | None, there: str
    ) -> View:
        """Ask the policy, and say where the case stands."""
        active = case.active_matches
        newest = max((match.matched_at for match in active), default=None)
        covers = case.decided_at is not None and (newest is None or newest <= case.decided_at)
        facts = self._facts_of(case, held, record) if active else None
        proposal, tripped = self._proposed(case, facts) if facts else (None, ())
        kept = None if active else self._kept(case, record, there)
        state = next_state(
            Standpoint(
                supported=bool(active),
                verdict=case.verdict,
                verdict_covers_matches=covers,
                proposed=proposal.action if proposal else None,
                kept=kept is not None,
                changed=case.has_changed,
            )
        )
        if state is not case.state:
            case = replace(case, changed_at=self._now)
        case = confirmed.with_state(case, state)
        if held is not None and case.awaits_person and not held.awaits_person:
            # A person is asked again, and has the whole time again.
            case = replace(case, deadline_at=self._now + timedelta(hours=self._review_hours))
        basis = proposal.match if proposal else kept
        return View(
            held=held,
            case=self._in_queue(case, basis, facts),
            record=record,
            proposal=proposal,
            basis=basis,
            tripped=tripped,
        )

    def _facts_of(self, case: Case, held: Case | None, record: ImageRecord | None) -> CaseFacts:
        acted = (
            held is not None
            and held.state is CaseState.SUPPRESSED
            and held.content_sha256 == case.content_sha256
        )
        return self._facts.of_case(case, record, acted_before=acted)

    def _proposed(
        self, case: Case, facts: CaseFacts
    ) -> tuple[Proposal, tuple[braking.Tripped, ...]]:
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

    def _kept(self, case: Case, record: ImageRecord | None, there: str) -> CaseMatch | None:
        """Find what a confirmed image rests on when nothing matches it any more, or None."""
        moved = record is None and there != "" and there == case.confirmed_sha256
        if case.has_changed or moved:
            return confirmed.basis_of(case)
        if case.verdict is not Verdict.NCII or record is None or there != case.content_sha256:
            return None
        seen = [match for match in case.matches if match.content_sha256 == case.content_sha256]
        changed = [match for match in seen if match.support is Support.ENDED]
        rules = self._policy.confirmed
        rule = rules.after_change if changed else rules.after_withdrawal
        if rule != ConfirmedRule.KEEP or not seen:
            return None
        return min(changed or seen, key=lambda match: (match.distance_bits, match.signal_key))

    def _in_queue(self, case: Case, basis: CaseMatch | None, facts: CaseFacts | None) -> Case:
        nearest = basis or min(case.matches, key=lambda match: match.distance_bits)
        hidden = case.state is CaseState.SUPPRESSED
        risk = risk_of(
            case.state,
            nearest,
            reach=case.reach,
            disputed=case.disputed,
            urgency=urgency(facts, self._policy.pages, hidden=hidden) if facts else 0,
        )
        place = queue_place(case.deadline_at, risk, review_hours=self._review_hours)
        return replace(case, risk=risk, queue_at=place)

    def _machine_acts(self, view: View) -> bool:
        """Whether the machine, not a person, suppresses these bytes, and did not before."""
        held, case = view.held, view.case
        if case.state is not CaseState.SUPPRESSED or case.verdict is Verdict.NCII:
            return False
        if view.proposal is None or view.proposal.action is not Action.SUPPRESS:
            return False  # what a person confirmed before is kept
        return (
            held is None
            or held.state is not CaseState.SUPPRESSED
            or held.content_sha256 != case.content_sha256
        )
