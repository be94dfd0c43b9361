"""The figures of an installation: what lies where, since when, how full. ``monitor`` reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from delist.consumers import Standing
from delist.store.jobs import JobState
from delist.store.queue import Counts
from indexer.settings import RESERVED_FEED
from indexer.store import Usage

APPEALS_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFigures:
    """One feed.

    Attributes:
        sync_age_s: since its last whole sync; None: never.
        signals: live ones that are matched.
        quarantined: entries that cannot be matched, by reason.
    """

    sync_age_s: float | None
    signals: int
    quarantined: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """What the LMDB store holds.

    Attributes:
        feeds: by configured name, and what people report to us directly under ``reserved``.
        restored: feeds not read from their beginning since the store was put back.
        index_age_s: since the index was published; None: there is none.
        log_ends: last numbers of the match log and the signal log.
    """

    feeds: Mapping[str, FeedFigures]
    reserved: str = RESERVED_FEED
    images: int
    restored: frozenset[str]
    index_age_s: float | None
    log_ends: Mapping[str, int]
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlQueueFigures:
    """The queue between crawlers and this store, as it last answered.

    Attributes:
        asked_age_s: since it was last asked; None: never.
        trouble: why it did not answer then; empty when it did.
        answer_age_s: since it last answered, which the rest is of; None: never.
        waiting: messages that were not taken in.
        oldest_s: how long the oldest of them had waited then; 0 of none.
        parked: messages that cannot be taken in.
    """

    asked_age_s: float | None = None
    trouble: str = ""
    answer_age_s: float | None = None
    waiting: int = 0
    oldest_s: float = 0.0
    parked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFigures:
    """What the case store holds.

    Attributes:
        queue_age_s: how long the oldest case has waited for a person; 0 of none.
        log_positions: how far the logs were taken in.
        reassessments: cases that wait to be looked at again by the machine.
        appeals_waiting: that a person has to decide; ``appeals_overdue`` of them.
        upheld, overturned: appeals decided so within ``APPEALS_DAYS``.
        stopped: brakes that the machine set and that no person has released.
        records: of the ledger; ``signed`` of them are under a checkpoint.
        feedback_waiting: words that a feed has not been told yet.
        consumers: where each stands; ``consumer_ages_s``: how long each has lacked something.
        jobs: what is on record about each periodic job, by id.
        led: whether some process does the periodic work.
        ledger_trouble: why nothing of the ledger can be signed; empty when all is well.
        crawl_queue: what crawlers on other machines found and nobody took in; None: there is no
            such queue.
    """

    queue: Counts
    queue_age_s: float
    log_positions: Mapping[str, int]
    reassessments: int
    appeals_waiting: int
    appeals_overdue: int
    upheld: int
    overturned: int
    stopped: int
    records: int
    signed: int
    feedback_waiting: int
    consumers: Sequence[Standing]
    consumer_ages_s: Mapping[str, float]
    jobs: Mapping[str, JobState]
    led: bool
    ledger_trouble: str
    crawl_queue: CrawlQueueFigures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One reading.

    Attributes:
        disk_free_bytes, disk_bytes: of the file system with the data directory.
        sinks: configured ones by name, with why each cannot be used; empty when it can.
    """

    at: datetime
    store: StoreFigures
    cases: CaseFigures
    disk_free_bytes: int
    disk_bytes: int
    sinks: Mapping[str, str] = field(default_factory=dict)
