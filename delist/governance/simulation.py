"""What a changed policy would do to the stored cases, before it is put in force.

Each case is looked at as intake would look at it after ``policy apply``, in the same order, with
what it leads to (acts that caps count, signals that brakes stop) taken for granted in the next
ones. Nothing is written but backgrounds of signals that had to be measured. Matches that intake
has not taken in yet are not in it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from delist.casework.facts import Supposed
from delist.casework.looking import Looker
from delist.casework.views import Rules, View
from delist.model import CaseState, Verdict
from delist.store import Database, cases
from indexer.store import Store

_BATCH = 200
"""As many as intake looks at in one transaction."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A case that would not stay as it is.

    Attributes:
        before: its state now.
        after: its state under the changed policy.
        reason: why, as a constant.
    """

    case_id: str
    before: CaseState
    after: CaseState
    reason: str


@dataclass(slots=True, kw_only=True)
class SimulationReport:
    """What a changed policy would do.

    Attributes:
        version: of the changed policy.
        cases: that were looked at.
        moves: how many would go from which state to which, also those that would stay.
        reasons: how many changes for which reason.
        stopped: signals that brakes would stop, by code.
        changes: cases that would change, by image key.
        complete: False when it was stopped.
    """

    version: str
    cases: int = 0
    moves: Counter[tuple[CaseState, CaseState]] = field(default_factory=Counter)
    stopped: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    complete: bool = True

    @property
    def reasons(self) -> Counter[str]:
        """Count the changes by reason."""
        return Counter(change.reason for change in self.changes.values())


class Simulation:
    """One run of a changed policy over all cases."""

    def __init__(self, store: Store, database: Database, *, rules: Rules, now: datetime) -> None:
        """Prepare the run; ``rules`` hold the changed policy."""
        self._store = store
        self._database = database
        self._rules = rules
        self._now = now
        self._supposed = Supposed()
        self._report = SimulationReport(version=rules.policy.version)
        self._seen: set[str] = set()
        self._again: set[str] = set()

    def run(
        self,
        *,
        stopped: Callable[[], bool] = lambda: False,
        on_progress: Progress = lambda _done, _all: None,
    ) -> SimulationReport:
        """Look at every case."""
        with self._database.read() as connection:
            total = cases.total(connection)
        for keys in self._batches():
            if stopped():
                self._report.complete = False
                break
            self._look_at(keys)
            on_progress(self._report.cases, max(total, self._report.cases))
        self._report.stopped = dict(self._supposed.stopped)
        return self._report

    def _batches(self) -> Iterator[list[str]]:
        """Every case, by key; then those again whose signals were stopped on the way."""
        keys = self._after("")
        while keys:
            yield keys
            keys = self._after(keys[-1])
        while self._again:
            keys = sorted(self._again)[:_BATCH]
            self._again.difference_update(keys)
            yield keys

    def _after(self, key: str) -> list[str]:
        with self._database.read() as connection:
            return cases.image_keys_after(connection, key, limit=_BATCH)

    def _look_at(self, keys: Iterable[str]) -> None:
        with self._database.read() as connection, self._store.read() as txn:
            looker = Looker(
                self._store,
                txn,
                connection,
                rules=self._rules,
                now=self._now,
                supposed=self._supposed,
            )
            for key in keys:
                view = looker.look(bytes.fromhex(key))
                if view is None or view.held is None:  # it has gone meanwhile
                    continue
                looker.suppose(view)
                self._count(key, view, view.held.state)
                tripped = [entry.signal_key for entry in view.tripped]
                seen = cases.images_supported_by(connection, tripped) if tripped else []
                # Those that were not looked at yet will be, in the first round.
                self._again.update(other for other in seen if other in self._seen)

    def _count(self, key: str, view: View, held: CaseState) -> None:
        report, earlier = self._report, self._report.changes.pop(key, None)
        before, after = earlier.before if earlier else held, view.case.state
        if key in self._seen:
            report.moves[before, held] -= 1
        else:
            self._seen.add(key)
            report.cases += 1
        report.moves[before, after] += 1
        if after is not before:
            report.changes[key] = Change(
                case_id=view.case.id, before=before, after=after, reason=reason_of(view)
            )


def reason_of(view: View) -> str:
    """Name why a case would stand where it would, as a constant."""
    case, proposal = view.case, view.proposal
    if proposal is None:
        return "kept" if case.state is CaseState.SUPPRESSED else "no_live_signal"
    if case.verdict is Verdict.NCII:
        return "confirmed"
    if case.state is CaseState.DISMISSED:
        return "dismissed"
    return next((check.name for check in proposal.checks if check.text == proposal.reason), "band")
