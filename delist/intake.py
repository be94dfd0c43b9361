"""From the logs of the indexer to cases: matches that are new, changed or ended.

Cases that a policy, a brake, a verdict elsewhere or what a feed says of a signal has changed
something for follow.

The log's position is written in the transaction that assesses the cases, so an
entry counts once however often intake is killed; and since assessment compares
states, taking an entry in twice would change nothing either.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import lmdb
from sqlalchemy import Connection

from delist.casework.assessment import Assessor
from delist.casework.confirmed import content_there
from delist.casework.views import Outcome, Rules
from delist.model import CaseState
from delist.store import Database, cases, positions, reassessments, submissions
from indexer.model import MatchEventKind, SignalEvent, SignalEventKind
from indexer.store import Store
from indexer.tracing import INTAKE_BATCH, span

_FIRST_BATCH, _LEAST_BATCH, _MOST_BATCH = 25, 5, 400
_LONGEST_S = 1.0
"""Seconds after which a transaction should be over: whoever else writes waits for it."""
_MOST_IMAGES = 100_000
_ASKED_FOR = "reassessments"
_CHANGED = "signal_changed"


@dataclass(slots=True, kw_only=True)
class IntakeReport:
    """What an intake did.

    Attributes:
        matches: entries of the match log that were taken in, but for what pages say.
        cases: new cases.
        suppressed: cases that came to be suppressed.
        review: cases that came to wait for a person without being suppressed.
        held: cases that came to be on hold, since a brake is on for all their signals.
        revoked: cases whose suppression was lifted.
        reassessed: cases that were looked at again, since what they rest on had changed.
        complete: False when it was stopped.
    """

    matches: int = 0
    cases: int = 0
    suppressed: int = 0
    review: int = 0
    held: int = 0
    revoked: int = 0
    reassessed: int = 0
    complete: bool = True

    def count(self, outcome: Outcome) -> None:
        """Add what became of one case."""
        self.cases += outcome.before is None
        if outcome.before is outcome.case.state:
            return
        self.suppressed += outcome.case.state is CaseState.SUPPRESSED
        self.review += outcome.case.state is CaseState.OPEN
        self.held += outcome.case.state is CaseState.QUARANTINED
        self.revoked += outcome.before is CaseState.SUPPRESSED


class _Pace:
    """How many entries one transaction takes in, by how long the last one took.

    A case costs a hundred times what an entry costs that changes nothing, and machines differ.
    """

    def __init__(self) -> None:
        self.limit = _FIRST_BATCH
        self._began = 0.0

    def begin(self) -> None:
        """Note that the transaction has begun: waiting for it is not its own length."""
        self._began = time.monotonic()

    def end(self) -> None:
        """Take fewer from now on where it was too long, more where it was short by far."""
        seconds = time.monotonic() - self._began
        if seconds > _LONGEST_S:
            self.limit = max(_LEAST_BATCH, self.limit // 2)
        elif seconds < _LONGEST_S / 4:
            self.limit = min(_MOST_BATCH, self.limit * 2)


@dataclass(slots=True, kw_only=True)
class _Followed:
    """How far a stretch of the signal log is followed whose cases are too many for one transaction.

    Attributes:
        position: before the stretch.
        last: its last entry; what was logged since may concern the same cases again.
        keys: of the images whose cases have been assessed.
    """

    position: int = -1
    last: int = 0
    keys: set[bytes] = field(default_factory=set)


class Intake:
    """Takes the logs of one indexer's store into the cases of one database."""

    def __init__(self, store: Store, database: Database, *, rules: Rules) -> None:
        self._store = store
        self._database = database
        self._rules = rules
        self._followed = _Followed()

    def run(
        self,
        *,
        now: datetime,
        stopped: Callable[[], bool] = lambda: False,
        report: IntakeReport | None = None,
    ) -> IntakeReport:
        """Take in everything that the logs hold.

        Args:
            report: of an intake that this one goes on with.

        Raises:
            StoreError, DatabaseError, PolicyChangedError: the batch under way was rolled back.
        """
        report = IntakeReport() if report is None else report
        self._ask_for_expired(now)
        self._ask_for_replaced(now)
        # Withdrawals first: what is lifted anyway should not be suppressed before.
        # What a match changes (a brake, a verdict on a near-duplicate) is looked at last.
        for log, take in (
            (positions.SIGNAL_LOG, self._take_signals),
            (positions.MATCH_LOG, self._take_matches),
            (_ASKED_FOR, self._take_reassessments),
        ):
            more, pace = True, _Pace()
            while more:
                with span(INTAKE_BATCH, log=log):
                    more = take(report, pace, now=now)
                pace.end()
                if more and stopped():
                    report.complete = False
                    return report
        return report

    def _ask_for_expired(self, now: datetime) -> None:
        """Have those cases looked at again in which time has changed a fact."""
        days = self._rules.policy.people.provisional_days
        if days:
            with self._database.write() as connection:
                reassessments.ask_for_expired(
                    connection, before=now - timedelta(days=days), now=now
                )

    def _ask_for_replaced(self, now: datetime) -> None:
        """Have cases looked at again whose bytes were replaced once more since a person is asked.

        That bytes which match nothing were replaced by others is in no log.
        """
        with self._database.read() as connection, self._store.read() as txn:
            keys = []
            for key, url, held in cases.replaced(connection):
                record = self._store.images.find(txn, bytes.fromhex(key))
                if content_there(self._store, txn, url, record) not in {"", held}:
                    keys.append(key)
        if keys:
            with self._database.write() as connection:
                reassessments.ask_for_images(connection, keys, reason="changed", now=now)

    def _take_signals(self, report: IntakeReport, pace: _Pace, *, now: datetime) -> bool:
        """Take in a batch of the signal log: cases of signals that were withdrawn or changed.

        One signal may stand behind any number of cases: then the position waits for the last.
        """
        with self._database.write() as connection, self._store.read() as txn:
            pace.begin()
            position = positions.load(connection, positions.SIGNAL_LOG)
            events = list(self._store.signals.log.after(txn, position, limit=pace.limit))
            if not events:
                return False
            followed = self._followed
            if followed.position == position:
                events = [event for event in events if event.sequence <= followed.last]
            else:
                followed = _Followed(position=position, last=events[-1].sequence)
            concerned = [*self._lost(connection, events), *self._echoes(connection, txn, events)]
            keys = [key for key in dict.fromkeys(concerned) if key not in followed.keys]
            self._assess(report, connection, txn, keys[: pace.limit], now=now)
            if len(keys) <= pace.limit:
                # What other platforms say of a signal speaks for or against all that it matches.
                reassessments.ask_for_signals(
                    connection, _keys_of(events, SignalEventKind.CHANGED), reason=_CHANGED, now=now
                )
                positions.put(connection, positions.SIGNAL_LOG, events[-1].sequence)
            taken = keys[: pace.limit]
        followed.keys.update(taken)
        self._followed = followed
        return True

    def _take_matches(self, report: IntakeReport, pace: _Pace, *, now: datetime) -> bool:
        """Take in a batch of the match log."""
        with self._database.write() as connection, self._store.read() as txn:
            pace.begin()
            position = positions.load(connection, positions.MATCH_LOG)
            events = list(self._store.images.log.after(txn, position, limit=pace.limit))
            if not events:
                return False
            keys = [event.match.image_key for event in events]
            self._assess(report, connection, txn, keys, now=now)
            positions.put(connection, positions.MATCH_LOG, events[-1].sequence)
        report.matches += sum(event.kind is not MatchEventKind.PAGES for event in events)
        return True

    def _take_reassessments(self, report: IntakeReport, pace: _Pace, *, now: datetime) -> bool:
        """Look at a batch of the cases again that something has changed for."""
        with self._database.write() as connection, self._store.read() as txn:
            pace.begin()
            keys = reassessments.take(connection, limit=pace.limit)
            if not keys:
                return False
            self._assess(report, connection, txn, map(bytes.fromhex, keys), now=now)
        report.reassessed += len(keys)
        return True

    def _lost(self, connection: Connection, events: Sequence[SignalEvent]) -> list[bytes]:
        """Find the images of cases that withdrawn signals stood behind."""
        withdrawn = _keys_of(events, SignalEventKind.WITHDRAWN)
        return [bytes.fromhex(key) for key in cases.images_supported_by(connection, withdrawn)]

    def _echoes(
        self, connection: Connection, txn: lmdb.Transaction, events: Sequence[SignalEvent]
    ) -> list[bytes]:
        """Find the images whose own hashes, which we gave back, events say something about."""
        if not submissions.exists(connection):
            return []
        keys = {event.signal_key.hex() for event in events}
        found = [bytes.fromhex(key) for key in submissions.images_about(connection, keys)]
        for key in submissions.of_signals(connection, keys):
            found += self._store.images.matching_images(
                txn, bytes.fromhex(key), start=bytes(16), most=_MOST_IMAGES
            )
        return found

    def _assess(
        self,
        report: IntakeReport,
        connection: Connection,
        txn: lmdb.Transaction,
        image_keys: Iterable[bytes],
        *,
        now: datetime,
    ) -> None:
        assessor = Assessor(self._store, txn, connection, rules=self._rules, now=now)
        keys = list(dict.fromkeys(image_keys))
        # Before, not after: what one of them asks for, such as a brake, is still to be done.
        reassessments.drop(connection, [key.hex() for key in keys])
        for image_key in keys:
            outcome = assessor.assess(image_key)
            if outcome is not None:
                report.count(outcome)
        assessor.finish()


def _keys_of(events: Iterable[SignalEvent], kind: SignalEventKind) -> list[str]:
    return list(dict.fromkeys(event.signal_key.hex() for event in events if event.kind is kind))
