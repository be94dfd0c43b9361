"""The table of jobs: each an id and one call into a use case, with what it says afterwards.

Every call asks ``stopped`` where the use case does, and says whether it came to its end.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial

import structlog

from delist.build import Delist, FailedSync
from delist.errors import BackupStoppedError
from delist.monitoring import conditions
from delist.running.clocks import Clocks
from delist.running.jobs import Job, Kind, Stopped
from indexer.model import HASHER_VERSION

FEED_CYCLE = "feed-cycle"
FULL_SCAN = "full-scan"
INDEX_MERGE = "index-merge"
COMPACTION = "compaction"
SNAPSHOT = "serving-snapshot"
CHECKPOINT = "checkpoint"
CLOCKS = "clocks"
FEEDBACK = "feedback"
RECRAWL = "recrawl"
RETENTION = "retention"
BACKUP = "backup"
CRAWL_QUEUE = "crawl-queue"
SINK = "sink-"
"""Each sink's job is called so, with the sink's name behind."""

_SINK_S = 1
_FEEDBACK_S = 2
_MINUTE_S = 60
_RECRAWL_S = 300
_DAY_S = 24 * 3600
_LONG_S = 6 * 3600
_COMPACTIONS_PER_PURGE = 4

_log = structlog.get_logger()


class Work:
    """The jobs of one process."""

    def __init__(self, delist: Delist) -> None:
        self._delist = delist
        self._clocks = Clocks()
        self._monitor = delist.monitor()
        self._troubles: dict[str, str] = {}

    def jobs(self) -> dict[str, Job]:
        """List all jobs of this configuration by id, in the order in which they begin."""
        settings = self._delist.settings
        often = settings.jobs
        rows: list[tuple[str, Kind, float, Callable[[Stopped], bool]]] = [
            (FEED_CYCLE, Kind.FEEDS, often.feed_sync_s, self.feed_cycle),
            (FEEDBACK, Kind.TELLING, _FEEDBACK_S, self.feedback),
            (SNAPSHOT, Kind.CLOCKS, _MINUTE_S, self.snapshot),
            (CHECKPOINT, Kind.CLOCKS, min(_MINUTE_S, often.feed_sync_s), self.checkpoint),
            (CLOCKS, Kind.CLOCKS, _MINUTE_S, self.clocks),
            (INDEX_MERGE, Kind.STORE, _MINUTE_S, self.index_merge),
            (
                COMPACTION,
                Kind.STORE,
                settings.indexer.store.purge_after_s // _COMPACTIONS_PER_PURGE,
                self.compaction,
            ),
            (RECRAWL, Kind.WEB, _RECRAWL_S, self.recrawl),
            *((SINK + name, Kind.SINKS, _SINK_S, partial(self.sink, name)) for name in self.sinks),
        ]
        found = {
            job_id: self._job(job_id, kind, interval_s, call)
            for job_id, kind, interval_s, call in rows
        }
        found[FULL_SCAN] = Job(
            id=FULL_SCAN,
            kind=Kind.SCANS,
            interval_s=often.full_scan_s,
            call=self.full_scan,
            limit_s=max(often.full_scan_s, often.limit_s),
            silence_s=often.limit_s,
            costly=True,
            basis=self._scan_basis,
        )
        found |= {job.id: job for job in self._keeping()}
        if self._delist.crawl_queue.is_configured:
            # Of a kind of its own: a server that is away costs a time-out, and what waits for a
            # crawl to end would be asked too late.
            asking = self._job(CRAWL_QUEUE, Kind.QUEUE, _MINUTE_S, self.crawl_queue)
            found[CRAWL_QUEUE] = asking
        return found

    @property
    def sinks(self) -> list[str]:
        """Names of the configured sinks."""
        return self._delist.sinks.names

    def feed_cycle(self, stopped: Stopped) -> bool:
        """Feeds, direct reports that wait, the re-scan for new signals, intake."""
        delist = self._delist
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
        try:
            self._keep_reports()
        finally:  # what is wrong with a report must not keep everybody else shown
            scan = delist.scan_delta(stopped=stopped)
            _log.info("scan.delta", signals=scan.signals, images=scan.images, matches=scan.matches)
            self._take_in(stopped)
        return scan.complete and not stopped()

    def _keep_reports(self) -> None:
        """Take in direct reports that wait, and erase what was said long ago."""
        taken = 0
        try:
            taken = self._delist.reports.catch_up()
        finally:
            erased = self._delist.reports.erase_old()
        if taken or erased:
            _log.info("reports", taken_in=taken, erased=erased)

    def full_scan(self, stopped: Stopped) -> bool:
        """Everything against everything, then intake."""
        scan = self._delist.scan_full(resume=True, stopped=stopped)
        _log.info("scan.full", signals=scan.signals, images=scan.images, matches=scan.matches)
        self._take_in(stopped)
        return scan.complete

    def feedback(self, stopped: Stopped) -> bool:
        """What the feeds are to be told."""
        delivery = self._delist.send_feedback(stopped=stopped)
        for feed, reason in delivery.failed.items():
            _log.warning("feedback.failed", feed=feed, reason=reason, waiting=delivery.waiting)
        return not stopped()

    def index_merge(self, stopped: Stopped) -> bool:
        """What came after the newest index of signals goes into it; so of stored hashes."""
        published = self._delist.indexer.publish_index()
        built = self._delist.indexer.keep_indexes(stopped=stopped)
        if published or built:
            _log.info("index.merged", published=published, built=built)
        return not stopped()

    def compaction(self, stopped: Stopped) -> bool:
        """What has gone leaves the files, and gaps in the store are closed."""
        report = self._delist.compact(at_once=False, stopped=stopped)
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
        return not stopped()

    def snapshot(self, _stopped: Stopped) -> bool:
        """What the serving filter maps is built, or renewed when it is time."""
        report = self._delist.keep_snapshot()
        if report.refused:
            _log.warning("serving.snapshot_refused", reason=report.refused)
        _log.info(
            "serving.snapshot",
            built=report.built.value,
            urls=report.urls,
            sequence=report.sequence,
            size_bytes=report.size_bytes,
        )
        return True

    def checkpoint(self, _stopped: Stopped) -> bool:
        """The ledger's head is signed and published, if it has moved."""
        report = self._delist.ledger_log.checkpoint()
        if report.moved:
            _log.info("ledger.checkpoint", size=report.size, files=report.files)
        return True

    def clocks(self, _stopped: Stopped) -> bool:
        """What is overdue, stale or wrong is told."""
        self._clocks.tell(conditions(self._monitor.read(), self._delist.limits))
        return True

    def recrawl(self, stopped: Stopped) -> bool:
        """Suppressed URLs that are due are looked at again, then intake."""
        report = self._delist.recrawl(stopped=stopped)
        if report.looked:
            _log.info(
                "recrawl",
                looked=report.looked,
                gone=report.gone,
                unchanged=report.unchanged,
                changed=report.changed,
                moved=report.moved,
                refused=report.refused,
                due=report.due,
            )
        return report.complete and not stopped()

    def crawl_queue(self, _stopped: Stopped) -> bool:
        """The queue that crawlers fill is asked; one that does not answer is a condition."""
        self._delist.crawl_queue.ask()
        return True

    def retention(self, stopped: Stopped) -> bool:
        """What has been kept long enough goes."""
        _log.info("retention", **asdict(self._delist.retain(stopped=stopped)))
        return not stopped()

    def backup(self, stopped: Stopped) -> bool:
        """A copy of everything is taken; one that is stopped leaves nothing, and begins anew."""
        try:
            report = self._delist.backup(stopped=stopped)
        except BackupStoppedError:
            return False
        _log.info(
            "backup",
            size_bytes=report.size_bytes,
            seconds=report.seconds,
            held_ms=report.held_ms,
            encrypted=report.encrypted,
        )
        return True

    def sink(self, name: str, stopped: Stopped) -> bool:
        """One sink is brought what is new."""
        for done in self._delist.sinks.deliver([name], stopped=stopped):
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
        return not stopped()

    def _take_in(self, stopped: Stopped) -> None:
        report = self._delist.take_in(stopped=stopped)
        _log.info(
            "intake",
            cases=report.cases,
            suppressed=report.suppressed,
            review=report.review,
            revoked=report.revoked,
        )

    def _scan_basis(self) -> str:
        """What stored matches rest on; a policy only judges them, and is followed at once."""
        threshold_bits = self._delist.settings.indexer.matching.threshold_bits
        return f"threshold {threshold_bits}, hasher {HASHER_VERSION}"

    def _job(
        self, job_id: str, kind: Kind, interval_s: float, call: Callable[[Stopped], bool]
    ) -> Job:
        limit_s = self._delist.settings.jobs.limit_s
        return Job(
            id=job_id,
            kind=kind,
            interval_s=interval_s,
            call=call,
            limit_s=max(limit_s, interval_s),
            silence_s=limit_s,
        )

    def _costly(
        self, job_id: str, interval_s: float, call: Callable[[Stopped], bool], silence_s: float
    ) -> Job:
        job = self._job(job_id, Kind.KEEPING, interval_s, call)
        return replace(job, costly=True, silence_s=silence_s)

    def _keeping(self) -> Iterator[Job]:
        """What is removed in time and copied: both take long, a single statement of SQL may too."""
        silence_s = max(_LONG_S, self._delist.settings.jobs.limit_s)
        yield self._costly(RETENTION, _DAY_S, self.retention, silence_s)
        if self._delist.settings.backup.folder is not None:
            yield self._costly(BACKUP, _DAY_S, self.backup, silence_s)
