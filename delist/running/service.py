"""`delist run`: the service around the jobs, and how it ends.

1. Wait until this process leads (``leader``).
2. Begin each job at once, or, if it is costly and its record is fresh, when it is due.
3. Watch (``watching``) until stopping is asked for, the lease is lost, or a job hangs.
4. Ask what is under way to stop. After a lost lease, begin again at 1.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import IntEnum
from functools import partial

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from delist.build import Delist
from delist.errors import UsageError
from delist.logs import configure_logs
from delist.running.jobs import Every, Job, Kind, Outcome, first_run, tried_again
from delist.running.leader import Leader, leading
from delist.running.manager import told
from delist.running.runs import Runs
from delist.running.watching import Verdict, Watch, watch
from delist.running.work import Work
from delist.store import jobs
from delist.store.jobs import JobState

_LOG_LEVEL_INFO = 20
_LOOK_S = 0.5

_log = structlog.get_logger()


class End(IntEnum):
    """How a service ended."""

    IN_TIME = 0
    CUT_OFF = 1
    """Asked to stop, with a job still under way: it goes on at the next start."""
    BROKEN = 2
    """A job hangs, or does not stop after the lease was lost: start the process again."""


class Service:
    """The jobs of one process, and the wish to stop."""

    def __init__(
        self,
        delist: Delist,
        *,
        work: Work | None = None,
        end_now: Callable[[], None] = lambda: os._exit(1),
    ) -> None:
        """Take the whole.

        Args:
            end_now: ends the process before another begins with what its jobs are still at.
        """
        self._end_now = end_now
        self._delist = delist
        self._settings = delist.settings.jobs
        self._stopping = threading.Event()
        self._work = Work(delist) if work is None else work

    def stop(self) -> None:
        """Ask whatever is under way to stop."""
        self._stopping.set()

    def run(self) -> End:
        """Stand by, then work until asked to stop.

        Raises:
            DatabaseError: the case store cannot be opened.
            SettingsError: a sink's settings are wrong.
        """
        has_led = False
        while True:
            leader = Leader(self._delist.database, self._settings)
            # A store that is away at the start is a mistake to tell; later it comes back.
            with leading(leader, self._stopping, patient=has_led) as leads:
                if not leads:
                    return End.IN_TIME
                has_led = True
                end = self._term(leader)
            if end is not None:
                return end

    def run_job(self, job_id: str) -> JobState:
        """Run one job here and now; the caller must lead, or be alone.

        Raises:
            UsageError: no job has this id.
        """
        job = self.job(job_id)
        runs = Runs(self._delist.database, self._delist.clock)
        runs.open()
        with self._delist.database.read() as connection:
            asked_at = jobs.asked(connection).get(job_id, self._delist.clock())
        if runs.request(job_id, asked_at):
            runs.run(job)
        return runs.states[job_id]

    def job(self, job_id: str) -> Job:
        """Return a job of this configuration.

        Raises:
            UsageError: there is none with this id.
        """
        table = self._work.jobs()
        if job_id not in table:
            raise UsageError(f"no job is called {job_id}; known are: {', '.join(table)}")
        return table[job_id]

    def _term(self, leader: Leader) -> End | None:
        """Work until stopping is asked for (how it ended) or the lease is lost (None)."""
        self._delist.create()
        self._delist.sinks.check_settings()
        _log.info("service.leading")
        table = self._work.jobs()
        runs = Runs(self._delist.database, self._delist.clock)
        runs.open(table)
        scheduler = _scheduler(table, runs)
        look = Watch(
            table=table,
            runs=runs,
            scheduler=scheduler,
            leader=leader,
            database=self._delist.database,
            stop_s=self._settings.stop_s,
        ).look
        scheduler.start()
        over = threading.Event()
        threading.Thread(target=self._guard, args=(leader, runs, over), daemon=True).start()
        try:
            found = watch(look, self._stopping.wait, every_s=_LOOK_S)
            return self._end_of(found, runs, scheduler)
        finally:
            over.set()

    def _end_of(self, found: Verdict, runs: Runs, scheduler: BackgroundScheduler) -> End | None:
        runs.close()
        scheduler.shutdown(wait=False)
        if found is Verdict.HUNG:
            return End.BROKEN
        in_time = runs.wait_until_idle(self._settings.stop_s)
        if found is Verdict.LEASE_LOST:
            return None if in_time else End.BROKEN
        return End.IN_TIME if in_time else End.CUT_OFF

    def _guard(self, leader: Leader, runs: Runs, over: threading.Event) -> None:
        """End the work when the lease is lost; asks no store, which may be what is not there."""
        while leader.is_sure:
            if over.wait(_LOOK_S):
                return
        runs.close()
        if not runs.wait_until_idle(self._settings.stop_s) and not over.is_set():
            _log.critical("service.ended_at_once")
            self._end_now()


def _scheduler(table: dict[str, Job], runs: Runs) -> BackgroundScheduler:
    """Give every kind of job a thread of its own, and every sink one.

    None waits for a scan or a transfer of another kind; two of one kind are never at the stores
    at the same time. Both stores let one write at a time anyway, in short transactions.
    """
    # That a run is skipped while the last one goes on is no warning here: sinks are often slow.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
    sinks = sum(job.kind is Kind.SINKS for job in table.values())
    scheduler = BackgroundScheduler(
        executors={
            kind.value: ThreadPoolExecutor(max(1, sinks) if kind is Kind.SINKS else 1)
            for kind in Kind
        },
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone="UTC",
    )
    now = datetime.now(UTC)

    def next_run(job: Job, outcome: Outcome) -> datetime | None:
        planned = scheduler.get_job(job.id)
        sooner = tried_again(job, outcome, now=datetime.now(UTC))
        if planned is not None and sooner is not None and sooner < planned.next_run_time:
            with suppress(JobLookupError):  # the scheduler is just being shut down
                planned.modify(next_run_time=sooner)
        return None if planned is None else planned.next_run_time

    for job in table.values():
        scheduler.add_job(
            runs.run,
            Every(job.interval_s),
            args=(job, partial(next_run, job)),
            id=job.id,
            executor=job.kind.value,
            next_run_time=first_run(job, runs.states.get(job.id), now=now),
        )
    return scheduler


def run_service(delist: Delist) -> None:
    """Run the service in this process until SIGTERM or SIGINT, and end the process.

    A job that does not stop in time is cut off: every step is a transaction, so the
    next start goes on from the last one. Where nobody asked to stop, the exit code is 1.
    """
    configure_logs(_LOG_LEVEL_INFO)
    service = Service(delist)
    _stop_on_signals(service)
    with told():
        end = service.run()
    _log.info("service.stopped", in_time=end is End.IN_TIME)
    if end is End.IN_TIME:
        delist.close()
    sys.stderr.flush()
    # Whatever thread of a library is still about must not hold up the end.
    os._exit(1 if end is End.BROKEN else 0)


def _stop_on_signals(service: Service) -> None:
    """Stop the service on SIGTERM and SIGINT.

    Python runs its handlers in the main thread, between two instructions: late when that
    thread waits, and perhaps while it holds the lock of the very event that stops it. So
    the interpreter itself writes to a pipe when the signal comes, in whichever thread it
    comes, and a thread of its own does the rest.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        os.read(reading, 1)
        service.stop()

    threading.Thread(target=wait, daemon=True).start()
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
