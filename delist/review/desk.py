"""A reviewer's desk: take a case from the queue, look at it, decide, give it back.

Each method is one act of a person, in one transaction with its entry in the audit log.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Connection

from delist.casework.grouping import reach_of
from delist.casework.views import Rules
from delist.errors import UsageError
from delist.model import Case, CaseState, Decision, SuppressionRecord
from delist.review import blind, duplicates, undoing
from delist.review.blind import Agreement, BlindOutcome
from delist.review.deciding import (
    Ruling,
    checked_actor,
    content_token,
    get_case,
    people_needed,
)
from delist.review.duplicates import GroupDecision
from delist.rulings import person_key
from delist.settings import ReviewSettings
from delist.store import Database, audit, cases, ledger, queue
from delist.store.blind import CASE_VIEWED, open_for
from delist.store.queue import Counts
from indexer.store import Store

_MOST_MEMBERS = 1_000
_PAGE = 50
_TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFile:
    """Everything that a reviewer needs about one case."""

    case: Case
    decisions: Sequence[Decision]
    records: Sequence[SuppressionRecord]
    page_urls: Sequence[str]
    alias_urls: Sequence[str]
    provenance: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """A case as a person sees it.

    Attributes:
        file: with the reach as it is now.
        token: hand it back with the decision.
        needs_second: two people have to agree.
        members: near-duplicates, the case itself left out, the oldest first.
        blind_review: number of the blind second review that it is shown for: nothing of what
            was decided may be shown. None for an open view.
    """

    file: CaseFile
    token: str
    needs_second: bool
    members: Sequence[Case]
    blind_review: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A case in the queue."""

    case: Case
    claimed_by: str
    needs_second: bool
    group_size: int


class Desk:
    """What reviewers do, on the open stores."""

    def __init__(
        self,
        store: Store,
        database: Database,
        *,
        rules: Callable[[], Rules],
        settings: ReviewSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._database = database
        self._rules = rules
        self._settings = settings
        self._clock = clock

    def places(self, *, awaiting_person: bool = True) -> Iterator[Place]:
        """Iterate over the queue in its order, or over all cases by deadline; never all at once."""
        now, rules = self._clock(), self._rules()
        with self._database.read() as connection:
            found = cases.every(connection, awaiting_person=awaiting_person)
            while part := list(islice(found, _PAGE)):
                sizes = queue.group_sizes(connection, (case.group_id for case in part))
                for held in part:
                    size = max(1, sizes.get(held.group_id, 1))
                    # Copies that came since the case was looked at last count too.
                    case = replace(held, reach=max(held.reach, size))
                    yield Place(
                        case=case,
                        claimed_by=case.claimant(now),
                        needs_second=people_needed(case, rules) >= _TWO,
                        group_size=size,
                    )

    def counts(self) -> Counts:
        """Count what waits."""
        with self._database.read() as connection:
            return queue.counts(connection, now=self._clock())

    def held(self, actor: str) -> list[str]:
        """List the cases that a person is at work on now."""
        with self._database.read() as connection:
            return queue.held_by(connection, actor, now=self._clock())

    def claim_next(self, actor: str) -> CaseView | None:
        """Take the first case of the queue that this person can decide, and show it.

        None when nothing is left for them.
        """
        case_id = self.take_next(actor)
        return None if case_id is None else self.show(case_id, actor)

    def take_next(self, actor: str) -> str | None:
        """Take the first case of the queue that this person can decide; nothing is shown yet."""
        actor, now = checked_actor(actor), self._clock()
        with self._database.write() as connection:
            case_id = queue.find_next(connection, actor, now=now)
            if case_id is not None:
                self._claim(connection, case_id, actor, now)
        return case_id

    def peek(self, actor: str) -> Case | None:
        """Find what ``take_next`` would take now, for the program to prepare; no view."""
        actor, now = checked_actor(actor), self._clock()
        with self._database.read() as connection:
            case_id = queue.find_next(connection, actor, now=now)
            return None if case_id is None else get_case(connection, case_id)

    def claim(self, case_id: str, actor: str) -> Case:
        """Take a case, or keep it longer.

        Raises:
            UnknownCaseError: no case has this id.
            UsageError: somebody else is at work on it, or it has ended.
        """
        actor, now = checked_actor(actor), self._clock()
        with self._database.write() as connection:
            case = get_case(connection, case_id)
            claimant = case.claimant(now)
            if claimant and person_key(claimant) != person_key(actor):
                raise UsageError(f"{claimant} is at work on this case; ask them, or wait")
            if case.state is CaseState.WITHDRAWN:
                raise UsageError("the case has ended: no live signal matches its image any more")
            self._claim(connection, case_id, actor, now)
            return get_case(connection, case_id)

    def release(self, case_id: str, actor: str) -> Case:
        """Give a case back to the queue; nothing happens when nobody is at work on it.

        Raises:
            UnknownCaseError: no case has this id.
            UsageError: somebody else is at work on it.
        """
        actor, now = checked_actor(actor), self._clock()
        with self._database.write() as connection:
            case = get_case(connection, case_id)
            claimant = case.claimant(now)
            if claimant and person_key(claimant) != person_key(actor):
                raise UsageError(f"{claimant} is at work on this case, so only they can release it")
            if claimant:
                queue.set_claim(connection, case_id, "", None)
                audit.append(connection, actor=actor, act="case.released", subject=case_id, now=now)
            return replace(case, claimed_by="", claimed_until=None)

    def show(self, case_id: str, actor: str) -> CaseView:
        """Show everything about a case, and put on record who looked.

        Who has it for a blind second review sees nothing of what was decided.

        Raises:
            UnknownCaseError: no case has this id.
        """
        actor, now, rules = checked_actor(actor), self._clock(), self._rules()
        with self._database.write() as connection:
            held = open_for(connection, case_id, actor, now=now)
            view = self._view(connection, case_id, rules, blind_review=held)
            act = CASE_VIEWED if held is None else "case.viewed_blind"
            audit.append(connection, actor=actor, act=act, subject=case_id, now=now)
        return view

    def case_file(self, case_id: str) -> CaseFile:
        """Load everything about a case for the program itself; no view of a person.

        Raises:
            UnknownCaseError: no case has this id.
        """
        with self._database.read() as connection:
            return self._file(connection, case_id)

    def decide_group(self, case_id: str, ruling: Ruling) -> GroupDecision:
        """Decide on a case and its near-duplicates; see ``duplicates.decide_group``."""
        return duplicates.decide_group(
            self._store, self._database, case_id, ruling, rules=self._rules(), now=self._clock()
        )

    def undo(self, case_id: str, actor: str) -> Case:
        """Take back what a person has just decided; see ``undoing.undo``."""
        return undoing.undo(
            self._store,
            self._database,
            case_id,
            actor,
            within_s=self._settings.undo_s,
            rules=self._rules(),
            now=self._clock(),
        )

    def undo_left_s(self, case_id: str, actor: str) -> int:
        """Say for how many seconds a person can still take back their decision; 0: not at all.

        Raises:
            UnknownCaseError: no case has this id.
        """
        with self._database.read() as connection:
            case = get_case(connection, case_id)
            return undoing.left_s(
                connection, case, actor, within_s=self._settings.undo_s, now=self._clock()
            )

    def blind_next(self, actor: str) -> CaseView | None:
        """Give a person a decision to make again; None when there is none for them."""
        now, minutes = self._clock(), self._settings.claim_minutes
        found = blind.take_next(self._database, actor, minutes=minutes, now=now)
        if found is None:
            return None
        rules = self._rules()
        with self._database.read() as connection:
            return self._view(connection, found[1].id, rules, blind_review=found[0].id)

    def blind_decide(self, review_id: int, ruling: Ruling) -> BlindOutcome:
        """Put a second reviewer's verdict on record; see ``blind.decide``."""
        return blind.decide(
            self._store, self._database, review_id, ruling, rules=self._rules(), now=self._clock()
        )

    def agreement(self, since: datetime | None = None) -> Agreement:
        """Report how well first and second reviewers agree."""
        return blind.agreement(self._database, since)

    def _claim(self, connection: Connection, case_id: str, actor: str, now: datetime) -> None:
        until = now + timedelta(minutes=self._settings.claim_minutes)
        queue.set_claim(connection, case_id, actor, until)
        audit.append(connection, actor=actor, act="case.claimed", subject=case_id, now=now)

    def _file(self, connection: Connection, case_id: str) -> CaseFile:
        case = get_case(connection, case_id)
        counted = case.state is not CaseState.WITHDRAWN
        images, image_key = self._store.images, bytes.fromhex(case.image_key)
        with self._store.read() as txn:
            reach = reach_of(connection, self._store, txn, case, counted=counted)
            record = images.find(txn, image_key)
            return CaseFile(
                case=replace(case, reach=reach),
                decisions=cases.decisions_of(connection, case_id),
                records=ledger.of_case(connection, case_id),
                page_urls=images.pages(txn, image_key),
                alias_urls=images.aliases(txn, image_key),
                provenance=record.provenance if record else (),
            )

    def _view(
        self, connection: Connection, case_id: str, rules: Rules, *, blind_review: int | None
    ) -> CaseView:
        file = self._file(connection, case_id)
        members = cases.group(connection, file.case.group_id, limit=_MOST_MEMBERS)
        return CaseView(
            file=file,
            token=content_token(file.case),
            needs_second=people_needed(file.case, rules) >= _TWO,
            members=[member for member in members if member.id != case_id],
            blind_review=blind_review,
        )
