"""What can be stale or wrong: the codes, how bad each is, and from where on.

``docs/operations.md`` has a runbook for each alarm that rests on one.
"""

from dataclasses import dataclass
from enum import StrEnum

_GIB = 1024**3
_HOURS = 3600

# Codes. They are labels of metrics, so there are no others.
NO_FEED = "no_feed"
FEED_NEVER_SYNCED = "feed_never_synced"
FEED_STALE = "feed_stale"
FEED_RESTORED = "feed_restored"
STORE_NEARLY_FULL = "store_nearly_full"
STORE_READER_STUCK = "store_reader_stuck"
INTAKE_BEHIND = "intake_behind"
CASE_OVERDUE = "case_overdue"
APPEAL_OVERDUE = "appeal_overdue"
SIGNAL_STOPPED = "signal_stopped"
LEDGER_BROKEN = "ledger_broken"
CONSUMER_OVERDUE = "consumer_overdue"
SINK_FAILING = "sink_failing"
SINK_MISCONFIGURED = "sink_misconfigured"
NO_LEADER = "no_leader"
JOB_FAILING = "job_failing"
BACKUP_STALE = "backup_stale"
DISK_NEARLY_FULL = "disk_nearly_full"
CRAWL_QUEUE_BEHIND = "crawl_queue_behind"
CRAWL_QUEUE_PARKED = "crawl_queue_parked"
CRAWL_QUEUE_UNANSWERED = "crawl_queue_unanswered"
CRAWL_QUEUE_UNWATCHED = "crawl_queue_unwatched"


class Health(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


CODES: dict[str, Health] = {
    NO_FEED: Health.WARNING,
    FEED_NEVER_SYNCED: Health.WARNING,
    FEED_STALE: Health.WARNING,
    FEED_RESTORED: Health.FAILED,
    STORE_NEARLY_FULL: Health.WARNING,
    STORE_READER_STUCK: Health.WARNING,
    INTAKE_BEHIND: Health.WARNING,
    CASE_OVERDUE: Health.WARNING,
    APPEAL_OVERDUE: Health.WARNING,
    SIGNAL_STOPPED: Health.WARNING,
    LEDGER_BROKEN: Health.FAILED,
    CONSUMER_OVERDUE: Health.WARNING,
    SINK_FAILING: Health.WARNING,
    SINK_MISCONFIGURED: Health.FAILED,
    NO_LEADER: Health.WARNING,
    JOB_FAILING: Health.WARNING,
    BACKUP_STALE: Health.WARNING,
    DISK_NEARLY_FULL: Health.WARNING,
    CRAWL_QUEUE_BEHIND: Health.WARNING,
    CRAWL_QUEUE_PARKED: Health.WARNING,
    CRAWL_QUEUE_UNANSWERED: Health.WARNING,
    CRAWL_QUEUE_UNWATCHED: Health.WARNING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is not as it should be.

    Attributes:
        code: one of ``CODES``.
        subject: name of the feed, sink, consumer or job; empty where there is only one.
        detail: what is so, in words, without names.
        mend: what to do.
    """

    code: str
    detail: str
    mend: str
    subject: str = ""

    @property
    def health(self) -> Health:
        """How bad it is."""
        return CODES[self.code]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on figures are not as they should be.

    Attributes:
        feed_s: age of a feed's last sync.
        intake_events: log entries that were not taken in.
        map_share: of the LMDB map that is used.
        free_bytes: of the disk.
        reader_behind: transactions that were committed since a reader began.
        backup_s: age of the last backup that `delist run` made.
        crawl_queue_s: how long a message from a crawler has waited to be taken in.
        crawl_queue_asked_s: time since the crawlers' queue was asked.
    """

    feed_s: float = 1 * _HOURS
    intake_events: int = 10_000
    map_share: float = 0.9
    free_bytes: int = 2 * _GIB
    reader_behind: int = 10_000
    backup_s: float = 48 * _HOURS
    crawl_queue_s: float = 15 * 60
    crawl_queue_asked_s: float = 5 * 60
