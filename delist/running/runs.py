"""Runs under way: each in its thread, asked to stop, and put on record when it has ended."""

import threading
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import structlog

from crawler.errors import CrawlerError
from delist.errors import DelistError
from delist.running.jobs import Job, Outcome
from delist.store import Database, jobs
from delist.store.jobs import JobState
from indexer.errors import IndexerError

_LONG_RUN_S = 2.0
_RECORD_S = 60.0

_log = structlog.get_logger()


def _never(_outcome: Outcome) -> None:
    return None


@dataclass(eq=False)
class Run:
    """One run of a job.

    Attributes:
        began, heard, asked: seconds of a clock that nobody sets: when it began, when it last
            asked whether to stop, when it was asked to stop by us for taking too long.
        noted: whether it is on record that it runs, or will be.
        requested: when somebody asked for it; None: nobody did.
        over: whether its call has ended.
    """

    job: Job
    began_at: datetime
    began: float
    heard: float
    asked: float | None = None
    noted: bool = False
    requested: datetime | None = None
    over: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def stopped(self) -> bool:
        """What the job asks; that it asks is its sign of life."""
        self.heard = time.monotonic()
        return self.stop.is_set()


class Runs:
    """The runs of one process. Thread-safe."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._changed = threading.Condition()
        self._under_way: dict[str, Run] = {}
        self._requested: dict[str, datetime] = {}
        self._closed = False
        self._recorded: dict[str, float] = {}
        self.states: dict[str, JobState] = {}

    def open(self, known: Collection[str] | None = None) -> None:
        """Begin anew: load what is on record; what its process did not end was cut off.

        Args:
            known: ids of all jobs that there are: of others nothing is kept, or what failed
                before it was taken out of the configuration would fail for ever.
        """
        with self._database.write() as connection:
            if known is not None:
                jobs.drop_others(connection, known)
            cut = jobs.end_all(connection)
            self.states = jobs.every(connection)
        for job_id in cut:
            _log.warning("job.cut_off", job=job_id)
        self._closed = False

    def close(self) -> None:
        """Ask all runs to stop, and let none begin."""
        with self._changed:
            self._closed = True
            for run in self._under_way.values():
                run.stop.set()

    def under_way(self) -> list[Run]:
        """List what runs now."""
        with self._changed:
            return list(self._under_way.values())

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until nothing runs; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout_s)

    def request(self, job_id: str, asked_at: datetime) -> bool:
        """Note that the next run is the one somebody asked for; False if that is known.

        And while one is under way, which began before it was asked for.
        """
        with self._changed:
            if job_id in self._under_way:
                return False
            is_new = job_id not in self._requested
            self._requested[job_id] = asked_at
            return is_new

    def is_awaited(self, job_id: str) -> bool:
        """Say whether somebody asked for a run that has not begun."""
        with self._changed:
            return job_id in self._requested and job_id not in self._under_way

    def run(self, job: Job, next_run: Callable[[Outcome], datetime | None] = _never) -> None:
        """Run one job; what fails is logged, and its next run starts afresh.

        Args:
            next_run: says, after a run that ended so, when the next one is.
        """
        began = time.monotonic()
        run = Run(job=job, began_at=self._clock(), began=began, heard=began)
        with self._changed:
            if self._closed or job.id in self._under_way:
                return
            run.requested = self._requested.pop(job.id, None)
            self._under_way[job.id] = run
        try:
            outcome, error, basis = _call(run)
            run.over = True
            self._record(run, self._ended(run, outcome, error, basis, next_run(outcome)))
        finally:
            with self._changed:
                del self._under_way[job.id]
                self._changed.notify_all()

    def note_long(self) -> None:
        """Put on record what has been running for a while; waits for nobody who writes."""
        for run in self.under_way():
            if not run.noted and time.monotonic() - run.began > _LONG_RUN_S:
                run.noted = True
                threading.Thread(target=self._note_running, args=(run,), daemon=True).start()

    def _note_running(self, run: Run) -> None:
        state = self.states.get(run.job.id, JobState(id=run.job.id))
        self._write(replace(state, running_since=run.began_at))
        if run.over:  # its end may have been written before
            self._write(self.states.get(run.job.id, state))

    def note_hung(self, run: Run) -> None:
        """Put on record that a run hangs."""
        self._write(self._ended(run, Outcome.HUNG, "", "", None), answered=run.requested)

    def _ended(
        self, run: Run, outcome: Outcome, error: str, basis: str, next_run: datetime | None
    ) -> JobState:
        now = self._clock()
        before = self.states.get(run.job.id, JobState(id=run.job.id))
        done = outcome is Outcome.DONE
        failed = outcome not in {Outcome.DONE, Outcome.STOPPED}
        return replace(
            before,
            started_at=run.began_at,
            ended_at=now,
            done_at=now if done else before.done_at,
            outcome=outcome.value,
            error=error,
            failures=before.failures + 1 if failed else 0,
            running_since=None,
            next_run_at=next_run,
            basis=basis if done else before.basis,
        )

    def _record(self, run: Run, state: JobState) -> None:
        before = self.states.get(state.id)
        self.states[state.id] = state
        due = time.monotonic() - self._recorded.get(state.id, float("-inf")) > _RECORD_S
        told = before is None or (before.outcome, before.error) != (state.outcome, state.error)
        if due or told or run.noted or run.requested or not run.job.is_lazy:
            self._write(state, answered=run.requested)

    def _write(self, state: JobState, *, answered: datetime | None = None) -> None:
        self._recorded[state.id] = time.monotonic()
        try:
            with self._database.write() as connection:
                jobs.note(connection, state, answered=answered)
        except DelistError as error:
            _log.warning("job.not_recorded", job=state.id, error=type(error).__name__)


def _call(run: Run) -> tuple[Outcome, str, str]:
    """Do the work; returns how it ended, the type of an error, and what the result rests on."""
    job = run.job
    try:
        basis = job.basis()
        whole = job.call(run.stopped)
    except (IndexerError, DelistError, CrawlerError) as error:
        _log.error("job.failed", job=job.id, error=type(error).__name__, reason=str(error))
        return Outcome.FAILED, type(error).__name__, ""
    except Exception as error:  # noqa: BLE001 - the boundary of a job
        # Its message may hold anything, so only where it arose is written.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        _log.error("job.crashed", job=job.id, error=type(error).__name__, place=place)
        return Outcome.CRASHED, type(error).__name__, ""
    return (Outcome.DONE if whole else Outcome.STOPPED), "", basis
