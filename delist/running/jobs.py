"""What a job is, when it runs first, and when it runs again. No threads, no stores.

Times are of the machine's clock, which may be set at any moment: whatever it says, a job runs
once when it is due, however many runs were missed, and never later than its interval from now.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from apscheduler.triggers.base import BaseTrigger

from delist.store.jobs import JobState

Stopped = Callable[[], bool]

_JITTER = 0.1
_LONGEST_JITTER_S = 60.0
_RETRY_S = 600
LAZY_S = 10
"""Jobs that run more often than this are not put on record at each of their runs."""


class Kind(StrEnum):
    """Jobs of a kind run one after the other, on a thread of their own; sinks have one each."""

    FEEDS = "feeds"
    SCANS = "scans"
    STORE = "store"
    WEB = "web"
    TELLING = "telling"
    KEEPING = "keeping"
    CLOCKS = "clocks"
    QUEUE = "queue"
    SINKS = "sinks"


class Outcome(StrEnum):
    """How a run ended."""

    DONE = "done"
    STOPPED = "stopped"
    """It was asked to stop, and goes on at its next run."""
    FAILED = "failed"
    CRASHED = "crashed"
    HUNG = "hung"
    CUT_OFF = "cut_off"
    """Its process ended meanwhile; noted by the next one."""


def _same() -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One call into a use case, and how often.

    Attributes:
        call: does the work; is given what says whether to stop, which it asks often, and returns
            whether it came to the end of its work.
        limit_s: seconds after which it is asked to stop.
        silence_s: seconds without asking whether to stop after which it counts as hanging.
        costly: whether, when a process starts, the record of earlier runs says when it is due.
            Others run at once.
        basis: what its result rests on; where that differs from the record it is due at once.
    """

    id: str
    kind: Kind
    interval_s: float
    call: Callable[[Stopped], bool]
    limit_s: float
    silence_s: float
    costly: bool = False
    basis: Callable[[], str] = _same

    @property
    def is_lazy(self) -> bool:
        """Whether it runs too often to write down each run."""
        return self.interval_s < LAZY_S


def first_run(job: Job, state: JobState | None, *, now: datetime) -> datetime:
    """Say when a job runs first in a process that has just begun to lead."""
    if not job.costly or state is None or state.done_at is None:
        return now
    if state.outcome != Outcome.DONE or state.basis != job.basis() or state.done_at > now:
        return now
    return max(now, state.done_at + timedelta(seconds=job.interval_s))


def tried_again(job: Job, outcome: Outcome, *, now: datetime) -> datetime | None:
    """Say when a job runs again that did not come to its end; None: at its interval."""
    if outcome is Outcome.DONE or job.interval_s <= _RETRY_S:
        return None
    return now + timedelta(seconds=_RETRY_S)


def brought_forward(job: Job, next_run: datetime, *, now: datetime) -> datetime | None:
    """Say when a job that waits for too long is to run: the clock was set back. None: as it is."""
    longest = timedelta(seconds=job.interval_s * (1 + _JITTER) + 1)
    return now + timedelta(seconds=job.interval_s) if next_run - now > longest else None


class Every(BaseTrigger):  # type: ignore[misc] # the library has no types
    """Fires at an interval with some jitter, once for however many times were missed.

    APScheduler's own goes through the missed times one by one: years of seconds, where a clock
    is set right after a start.
    """

    def __init__(self, interval_s: float, *, jitter: Callable[[], float] = random.random) -> None:
        """Take the interval.

        Args:
            jitter: gives a number from 0 to 1, anew each time.
        """
        self._interval_s = interval_s
        self._jitter = jitter

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Say when to fire after ``previous``, which may be long ago; None: never before."""
        if previous is None:
            return now
        jitter_s = min(self._interval_s * _JITTER, _LONGEST_JITTER_S)
        wait = timedelta(seconds=self._interval_s + jitter_s * (self._jitter() - 0.5))
        due = previous + wait
        return due if due > now else now + wait
