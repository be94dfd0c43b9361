"""The figures as Prometheus metrics: base units, and labels of which there are few.

Labels are names from the configuration, ids of jobs and constants; never a host or an address.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import isinf

from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from delist.errors import DelistError
from delist.monitoring.conditions import CODES, Limits
from delist.monitoring.figures import (
    CaseFigures,
    CrawlQueueFigures,
    Figures,
    StoreFigures,
)
from delist.monitoring.judging import conditions, intake_waiting
from delist.monitoring.monitor import Monitor
from delist.monitoring.waiting import Waits
from indexer.errors import IndexerError

UP = "delist_stores_up"
_JOB = "job_id"
"""Not ``job``: Prometheus gives every series a label of that name."""


class StandingCollector(Collector):
    """Reads when somebody asks. A store that fails is a metric, not an error."""

    def __init__(self, monitor: Monitor, limits: Limits) -> None:
        self._monitor = monitor
        self._limits = limits

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: the stores are not asked before somebody asks us."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read."""
        up = GaugeMetricFamily(UP, "Whether both stores can be read: 1 or 0.")
        try:
            found, waits = self._monitor.read(), self._monitor.waits()
        except (IndexerError, DelistError):
            up.add_metric([], 0.0)
            yield up
            return
        up.add_metric([], 1.0)
        yield up
        yield from _of_store(found.store)
        yield from _of_cases(found.cases)
        yield from _of_consumers(found.cases)
        yield from _of_crawl_queue(found.cases.crawl_queue)
        yield from _of_jobs(found.cases)
        yield from _of_waits(waits)
        yield from _of_machine(found)
        yield _of_conditions(found, self._limits)


def _of_store(store: StoreFigures) -> Iterator[Metric]:
    ages = {name: feed.sync_age_s for name, feed in store.feeds.items()}
    yield _labelled(
        "delist_feed_sync_age_seconds", "Time since a feed's last whole sync.", "feed", ages
    )
    signals = {name: feed.signals for name, feed in store.feeds.items()}
    yield _labelled("delist_signals", "Live signals of a feed that are matched.", "feed", signals)
    refused = GaugeMetricFamily(
        "delist_feed_quarantined_records",
        "Records of a feed that cannot be matched, by reason.",
        labels=["feed", "reason"],
    )
    for name, feed in store.feeds.items():
        for reason, number in feed.quarantined.items():
            refused.add_metric([name, reason], number)
    yield refused
    yield _gauge("delist_images", "Images whose hashes are held.", store.images)
    yield _gauge(
        "delist_index_generation_age_seconds",
        "Time since the signals' index was published.",
        store.index_age_s,  # a small feed has none
    )
    usage = store.usage
    yield _gauge("delist_store_map_bytes", "Most that the LMDB file can grow to.", usage.map_bytes)
    yield _gauge("delist_store_used_bytes", "Pages of the LMDB file in use.", usage.used_bytes)
    yield _gauge("delist_store_readers", "Transactions that read LMDB now.", usage.readers)
    yield _gauge(
        "delist_store_stale_readers",
        "Readers left behind by killed processes, found and cleared by this look.",
        usage.stale_readers,
    )
    yield _gauge(
        "delist_store_oldest_read_behind_transactions",
        "Transactions committed since the oldest reader's state.",
        usage.oldest_read_behind,
    )


def _of_cases(cases: CaseFigures) -> Iterator[Metric]:
    queue = cases.queue
    yield _gauge("delist_cases_awaiting_person", "Cases that wait for a person.", queue.waiting)
    yield _gauge("delist_cases_overdue", "Cases that waited longer than promised.", queue.overdue)
    yield _gauge(
        "delist_cases_awaiting_person_shown",
        "Cases that wait for a person with the image still in results.",
        queue.shown,
    )
    yield _gauge(
        "delist_queue_age_seconds",
        "How long the oldest case has waited for a person.",
        cases.queue_age_s,
    )
    yield _gauge("delist_appeals_waiting", "Appeals to decide.", cases.appeals_waiting)
    yield _gauge(
        "delist_appeals_overdue", "Appeals that waited longer than promised.", cases.appeals_overdue
    )
    outcomes = {"upheld": cases.upheld, "overturned": cases.overturned}
    yield _labelled(
        "delist_appeals_decided_30d",
        "Appeals decided in the last 30 days; overturned of both is the overturn rate.",
        "outcome",
        outcomes,
    )
    yield _gauge(
        "delist_reassessments_waiting",
        "Cases to be looked at again by the machine.",
        cases.reassessments,
    )
    yield _gauge(
        "delist_signals_stopped",
        "Signals that the machine stopped and no person released.",
        cases.stopped,
    )
    yield _gauge("delist_ledger_records", "Records of the ledger.", cases.records)
    yield _gauge(
        "delist_ledger_unsigned_records",
        "Records that no signed checkpoint covers.",
        max(0, cases.records - cases.signed),
    )
    yield _gauge(
        "delist_feedback_waiting", "Words that feeds were not told yet.", cases.feedback_waiting
    )


def _of_consumers(cases: CaseFigures) -> Iterator[Metric]:
    lags = {found.name: found.lag for found in cases.consumers}
    yield _labelled(
        "delist_consumer_lag_records", "Records that a consumer lacks.", "consumer", lags
    )
    yield _labelled(
        "delist_consumer_lag_seconds",
        "How long a consumer has lacked the oldest of them.",
        "consumer",
        cases.consumer_ages_s,
    )
    aside = {found.name: found.set_aside for found in cases.consumers}
    yield _labelled(
        "delist_consumer_set_aside_records",
        "Records that a consumer refused, and what waits behind them.",
        "consumer",
        aside,
    )
    overdue = {found.name: float(found.overdue) for found in cases.consumers}
    yield _labelled(
        "delist_consumer_overdue", "Whether a record is late: 1 or 0.", "consumer", overdue
    )
    attempts = {found.name: found.attempts for found in cases.consumers}
    yield _labelled(
        "delist_consumer_failed_attempts",
        "Tries in a row that did not reach it.",
        "consumer",
        attempts,
    )


def _of_crawl_queue(queue: CrawlQueueFigures | None) -> Iterator[Metric]:
    """Name them all; without a queue, or before its first answer, they have no value."""
    known = None if queue is None or queue.answer_age_s is None else queue
    yield _gauge(
        "delist_crawl_queue_waiting_messages",
        "Messages of crawlers that were not taken in, when the queue last answered.",
        None if known is None else known.waiting,
    )
    yield _gauge(
        "delist_crawl_queue_oldest_seconds",
        "How long the oldest of them had waited then.",
        None if known is None else known.oldest_s,
    )
    yield _gauge(
        "delist_crawl_queue_parked_messages",
        "Messages of crawlers that cannot be taken in, then.",
        None if known is None else known.parked,
    )
    yield _gauge(
        "delist_crawl_queue_answer_age_seconds",
        "Time since the queue last answered.",
        None if known is None else known.answer_age_s,
    )


def _of_jobs(cases: CaseFigures) -> Iterator[Metric]:
    done = {
        job.id: None if job.done_at is None else job.done_at.timestamp()
        for job in cases.jobs.values()
    }
    yield _labelled(
        "delist_job_last_success_timestamp_seconds", "When a job last ended well.", _JOB, done
    )
    failures = {job.id: job.failures for job in cases.jobs.values()}
    yield _labelled(
        "delist_job_failed_runs", "Runs in a row that did not end well.", _JOB, failures
    )
    yield _gauge(
        "delist_leader", "Whether some process does the periodic work: 1 or 0.", float(cases.led)
    )


def _of_waits(waits: Waits) -> Iterator[Metric]:
    yield GaugeHistogramMetricFamily(
        "delist_feed_to_suppression_seconds",
        "Time from when signal and image were both known to the record that hides the image, of"
        " images that went in the last 7 days. Ask histogram_quantile without rate.",
        buckets=[("+Inf" if isinf(le) else str(le), count) for le, count in waits.buckets],
        gsum_value=waits.sum_s,
    )
    exact = GaugeMetricFamily(
        "delist_feed_to_suppression_quantile_seconds",
        "Exact quantiles of the same.",
        labels=["quantile"],
    )
    for quantile, seconds in (("0.5", waits.p50_s), ("0.99", waits.p99_s)):
        if seconds is not None:
            exact.add_metric([quantile], seconds)
    yield exact


def _of_machine(found: Figures) -> Iterator[Metric]:
    yield _gauge(
        "delist_intake_waiting", "Log entries and cases not taken in yet.", intake_waiting(found)
    )
    yield _gauge(
        "delist_disk_free_bytes", "Free space beside the data directory.", found.disk_free_bytes
    )
    yield _gauge("delist_disk_bytes", "Size of that file system.", found.disk_bytes)


def _of_conditions(found: Figures, limits: Limits) -> Metric:
    on = dict.fromkeys(CODES, 0)
    for condition in conditions(found, limits):
        on[condition.code] += 1
    return _labelled(
        "delist_conditions",
        "How many things are as `delist doctor` says under this code.",
        "code",
        on,
    )


def _gauge(name: str, text: str, value: float | None) -> GaugeMetricFamily:
    """Make one of a value; None: it is named and has none."""
    family = GaugeMetricFamily(name, text)
    if value is not None:
        family.add_metric([], value)
    return family


def _labelled(
    name: str, text: str, label: str, values: Mapping[str, float | None]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        if value is not None:
            family.add_metric([key], value)
    return family
