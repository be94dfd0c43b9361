"""Periodic work: APScheduler jobs, each an id and one call, and the service around them.

One process at a time does the work; others stand by on a file lock, which the
system releases even when its holder is killed. SIGTERM asks the job under way to
stop between two steps; whatever it was doing is safe to be cut off.
"""

import fcntl
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from crawler.errors import CrawlerError
from delist.build import Delist, FailedSync
from delist.errors import DelistError
from delist.logs import configure_logs
from delist.serving import keep_snapshot
from indexer.errors import IndexerError

FEED_CYCLE = "feed-cycle"
FULL_SCAN = "full-scan"
COMPACTION = "compaction"
SNAPSHOT = "serving-snapshot"
SINK = "sink-"
"""Each sink's job is called so, with the sink's name behind."""
_SNAPSHOT_S = 60
"""How often it is seen whether the serving filter's snapshot is to be renewed."""
_SINK_S = 1
"""How often each sink is brought what is new."""
_COMPACTIONS_PER_PURGE = 4
_STANDBY_POLL_S = 0.5
_LOG_LEVEL_INFO = 20

_SINKS = "sinks"

_log = structlog.get_logger()


class Service:
    """The jobs of one process, and the wish to stop."""

    def __init__(self, delist: Delist) -> None:
        self._delist = delist
        self._stopping = threading.Event()
        self._idle = threading.Condition()
        self._running = 0
        self._troubles: dict[str, str] = {}

    def stop(self) -> None:
        """Ask whatever is under way to stop."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether stopping was asked for."""
        return self._stopping.is_set()

    def run(self) -> bool:
        """Stand by, then work until asked to stop; returns whether every job ended in time."""
        with _leadership(self._delist.settings.indexer.data_dir, self._stopping) as leads:
            if not leads:
                return True
            self._delist.create()
            self._delist.sinks.check_settings()
            _log.info("service.leading")
            scheduler = self._scheduler()
            scheduler.start()
            self._stopping.wait()
            scheduler.shutdown(wait=False)
            return self._wait_until_idle(self._delist.settings.jobs.stop_s)

    def feed_cycle(self) -> None:
        """Feeds, the re-scan for new signals, intake, feedback, indexes; last the ledger's head."""
        delist, stopped = self._delist, self._stopping.is_set
        for outcome in delist.sync_feeds(stopped=stopped):
            if isinstance(outcome, FailedSync):
                _log.error("feed.failed", feed=outcome.feed, reason=str(outcome.error))
                continue
            _log.info(
                "feed.synced",
                feed=outcome.feed,
                records=outcome.records,
                added=outcome.added,
                withdrawn=outcome.withdrawn,
                quarantined=outcome.quarantined,
                active=outcome.active,
            )
        self._keep_reports()
        scan = delist.scan_delta(stopped=stopped)
        _log.info("scan.delta", signals=scan.signals, images=scan.images, matches=scan.matches)
        self._take_in()
        delist.indexer.keep_indexes(stopped=stopped)
        self._attest()

    def full_scan(self) -> None:
        """Everything against everything, then intake."""
        scan = self._delist.scan_full(resume=True, stopped=self._stopping.is_set)
        _log.info("scan.full", signals=scan.signals, images=scan.images, matches=scan.matches)
        self._take_in()

    def compaction(self) -> None:
        """What has gone leaves the files, and gaps in the store are closed."""
        report = self._delist.compact(at_once=False, stopped=self._stopping.is_set)
        _log.info(
            "compaction",
            moved=report.moved,
            chunks_dropped=report.chunks_dropped,
            pages_overwritten=report.pages_overwritten,
            pages_pinned=report.pages_pinned,
            index_republished=report.index_republished,
            indexes_dropped=report.indexes_dropped,
            scan_open=report.scan_open,
        )

    def snapshot(self) -> None:
        """What the serving filter maps is built, or renewed when it is time."""
        report = keep_snapshot(self._delist.database, now=self._delist.clock())
        if report.refused:
            _log.warning("serving.snapshot_refused", reason=report.refused)
        _log.info(
            "serving.snapshot",
            built=report.built.value,
            urls=report.urls,
            sequence=report.sequence,
            size_bytes=report.size_bytes,
        )

    def sink(self, name: str) -> None:
        """One sink is brought what is new."""
        for done in self._delist.sinks.deliver([name], stopped=self._stopping.is_set):
            if done.delivered or done.set_aside:
                _log.info(
                    "sink.delivered",
                    sink=name,
                    delivered=done.delivered,
                    set_aside=done.set_aside,
                    waiting=done.waiting,
                )
            if done.trouble != self._troubles.get(name, ""):
                self._troubles[name] = done.trouble
                if done.trouble:
                    _log.warning(
                        "sink.failed", sink=name, reason=done.trouble, waiting=done.waiting
                    )
                else:
                    _log.info("sink.recovered", sink=name)

    def _keep_reports(self) -> None:
        """Take in direct reports that wait, and erase what they said long ago."""
        taken, erased = self._delist.reports.catch_up(), self._delist.reports.erase_old()
        if taken or erased:
            _log.info("reports", taken_in=taken, erased=erased)

    def _take_in(self) -> None:
        delist, stopped = self._delist, self._stopping.is_set
        report = delist.take_in(stopped=stopped)
        _log.info(
            "intake",
            cases=report.cases,
            suppressed=report.suppressed,
            review=report.review,
            revoked=report.revoked,
        )
        delivery = delist.send_feedback(stopped=stopped)
        for feed, reason in delivery.failed.items():
            _log.warning("feedback.failed", feed=feed, reason=reason, waiting=delivery.waiting)

    def _attest(self) -> None:
        """Sign and publish the ledger's head, if it has moved."""
        if self.stopping:
            return
        report = self._delist.ledger_log.checkpoint()
        if report.moved:
            _log.info("ledger.checkpoint", size=report.size, files=report.files)

    def _scheduler(self) -> BackgroundScheduler:
        # One thread: no two jobs overlap, and each is once in the queue at most. Sinks have one
        # each: none waits for a scan, nor for another that hangs.
        sinks = self._delist.sinks.names
        scheduler = BackgroundScheduler(
            executors={
                "default": ThreadPoolExecutor(1),
                _SINKS: ThreadPoolExecutor(max(1, len(sinks))),
            },
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        jobs = self._delist.settings.jobs
        purge_after_s = self._delist.settings.indexer.store.purge_after_s
        for job_id, call, seconds in (
            (FEED_CYCLE, self.feed_cycle, jobs.feed_sync_s),
            (FULL_SCAN, self.full_scan, jobs.full_scan_s),
            (COMPACTION, self.compaction, purge_after_s // _COMPACTIONS_PER_PURGE),
            (SNAPSHOT, self.snapshot, _SNAPSHOT_S),
        ):
            scheduler.add_job(
                self._guarded,
                "interval",
                args=(job_id, call),
                id=job_id,
                seconds=seconds,
                next_run_time=self._delist.clock(),
            )
        for name in sinks:
            scheduler.add_job(
                self._guarded,
                "interval",
                args=(SINK + name, partial(self.sink, name)),
                id=SINK + name,
                seconds=_SINK_S,
                executor=_SINKS,
                next_run_time=self._delist.clock(),
            )
        return scheduler

    def _guarded(self, job_id: str, call: Callable[[], None]) -> None:
        """Run one job; what fails is logged, and the next run starts afresh."""
        with self._idle:
            self._running += 1
        try:
            if not self.stopping:
                call()
        except (IndexerError, DelistError, CrawlerError) as error:
            _log.error("job.failed", job=job_id, error=type(error).__name__, reason=str(error))
        except Exception as error:  # noqa: BLE001 - the boundary of a job
            # Its message may hold anything, so only where it arose is written.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            _log.error("job.crashed", job=job_id, error=type(error).__name__, place=place)
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def _wait_until_idle(self, timeout_s: float) -> bool:
        with self._idle:
            return self._idle.wait_for(lambda: self._running == 0, timeout_s)


def run_service(delist: Delist) -> None:
    """Run the service in this process until SIGTERM or SIGINT.

    A job that does not stop in time is cut off: every step is a transaction, so the
    next start goes on from the last one.
    """
    configure_logs(_LOG_LEVEL_INFO)
    service = Service(delist)
    _stop_on_signals(service)
    in_time = service.run()
    _log.info("service.stopped", in_time=in_time)
    if in_time:
        delist.close()
    sys.stderr.flush()
    # Whatever thread of a library is still about must not hold up the end.
    os._exit(0)


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


@contextmanager
def _leadership(data_dir: Path, stopping: threading.Event) -> Iterator[bool]:
    """Wait until no other process leads; False when stopping was asked for before."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "run.lock").open("w") as lock:
        waiting = False
        while not stopping.is_set():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting:
                    _log.info("service.standing_by")
                waiting = True
                stopping.wait(_STANDBY_POLL_S)
                continue
            yield True
            return
        yield False
