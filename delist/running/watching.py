"""What looks after the jobs once a second: hangs, clocks that are set, requests, the lease.

A thread cannot be ended from outside. So a job that has taken its time is asked to stop; one that
does not answer ends the process, whose next start goes on from the last step that was committed.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from delist.errors import DelistError
from delist.running.jobs import Job, brought_forward
from delist.running.leader import Leader, briefly
from delist.running.runs import Run, Runs
from delist.store import Database, jobs

_log = structlog.get_logger()


class Verdict(StrEnum):
    """What a look finds."""

    WELL = "well"
    LEASE_LOST = "lease_lost"
    HUNG = "hung"


class Watch:
    """Looks after the jobs of one term of leading."""

    def __init__(
        self,
        *,
        table: Mapping[str, Job],
        runs: Runs,
        scheduler: BackgroundScheduler,
        leader: Leader,
        database: Database,
        stop_s: float,
    ) -> None:
        self._table = table
        self._runs = runs
        self._scheduler = scheduler
        self._leader = leader
        self._database = database
        self._stop_s = stop_s

    def look(self) -> Verdict:
        """Look at everything once."""
        if not self._leader.is_sure:
            _log.error("service.lease_lost")
            return Verdict.LEASE_LOST
        for run in self._runs.under_way():
            if self._hangs(run):
                _log.critical("job.hung", job=run.job.id)
                briefly(partial(self._runs.note_hung, run))
                return Verdict.HUNG
        self._runs.note_long()
        self._bring_forward()
        self._start_requested()
        # The machine may have slept, or its clock been set: the scheduler counts other seconds.
        self._scheduler.wakeup()
        return Verdict.WELL

    def _hangs(self, run: Run) -> bool:
        """Ask a run that takes too long to stop; returns whether it was asked and does not."""
        now, job = time.monotonic(), run.job
        if run.asked is None:
            if now - run.began > job.limit_s or now - run.heard > job.silence_s:
                _log.warning("job.overdue", job=job.id, seconds=round(now - run.began))
                run.asked = now
                run.stop.set()
            return False
        return now - run.asked > self._stop_s

    def _bring_forward(self) -> None:
        for planned in self._scheduler.get_jobs():
            # The clock is read behind the plan: one made since would seem too far ahead.
            next_run = planned.next_run_time
            sooner = brought_forward(self._table[planned.id], next_run, now=datetime.now(UTC))
            if sooner is not None:
                _log.warning("job.brought_forward", job=planned.id)
                planned.modify(next_run_time=sooner)

    def _start_requested(self) -> None:
        try:
            with self._database.read() as connection:
                asked = jobs.asked(connection)
        except DelistError:
            return  # whatever is wrong with the store, the jobs say so
        for job_id, asked_at in asked.items():
            if job_id not in self._table:
                continue
            if self._runs.request(job_id, asked_at):
                _log.info("job.requested", job=job_id)
            # At every look: where the run before is just ending, the scheduler leaves one out.
            if self._runs.is_awaited(job_id):
                self._scheduler.modify_job(job_id, next_run_time=datetime.now(UTC))


def watch(look: Callable[[], Verdict], stop: Callable[[float], bool], *, every_s: float) -> Verdict:
    """Look again and again until something is found, or until stopping was asked for.

    Args:
        stop: waits for so many seconds at most, and says whether stopping was asked for.
    """
    while not stop(every_s):
        found = look()
        if found is not Verdict.WELL:
            return found
    return Verdict.WELL
