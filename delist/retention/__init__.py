"""What is kept how long, and what goes when its time is over; the table is docs/retention.md.

Each rule is a function of facts and of the time, so repeating it changes nothing. A rule that
cannot act yet (a consumer is behind, an appeal is open) leaves it for the next run.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from delist.backup.taking import prune
from delist.retention import contacts, endings, logs, queues
from delist.settings import DelistSettings
from delist.store import Database, audit
from indexer.store import Store

ACT, SUBJECT, ACTOR = "retention.run", "store", "delist"
_COUNTED_DAYS = 7
"""Caps look at a day; a clock that was set back by some days changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """What went, or with a dry run what would go.

    Attributes:
        cases: withdrawn cases, with matches, decisions and what else hung on them.
        records: of the ledger, whose payloads were erased with those cases.
        cases_waiting: withdrawn cases that have to wait: for an appeal, a consumer, a feed.
        appeals: decided ones whose contact and text went.
        unproved: appeals whose time to be proved is over; nothing of them stays.
        counts: of what the machine did by itself, by day and feed or case reference.
        access_codes: of case references that nothing live is behind.
        feedback: words to feeds that were sent.
        match_log, signal_log: entries.
        backups: archives in the configured folder.
    """

    dry_run: bool
    cases: int
    records: int
    cases_waiting: int
    appeals: int
    unproved: int
    counts: int
    access_codes: int
    feedback: int
    match_log: int
    signal_log: int
    backups: int


def run(
    store: Store,
    database: Database,
    settings: DelistSettings,
    *,
    now: datetime,
    dry_run: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> RetentionReport:
    """Remove what has been kept long enough.

    Args:
        stopped: asked between parts that are whole in themselves; the next run goes on.

    Raises:
        StoreError, DatabaseError: what was done before is done; the next run goes on.
    """
    kept = settings.retention

    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    ended = endings.erase(
        store,
        database,
        before=before(kept.withdrawn_days),
        now=now,
        dry_run=dry_run,
        stopped=stopped,
    )
    report = RetentionReport(
        dry_run=dry_run,
        cases=ended.cases,
        records=ended.records,
        cases_waiting=ended.waiting,
        appeals=contacts.erase_appeals(database, before=before(kept.appeal_days), dry_run=dry_run),
        unproved=contacts.drop_unproved(database, now=now, dry_run=dry_run),
        counts=contacts.drop_counts(database, before=before(_COUNTED_DAYS), dry_run=dry_run),
        access_codes=contacts.drop_codes(
            store, database, before=before(kept.access_code_days), dry_run=dry_run, stopped=stopped
        ),
        feedback=queues.drop_feedback(
            store, database, before=before(kept.feedback_days), dry_run=dry_run, stopped=stopped
        ),
        match_log=logs.forget_matches(
            store, database, before=before(kept.match_log_days), dry_run=dry_run, stopped=stopped
        ),
        signal_log=logs.forget_signals(
            store, database, before=before(kept.signal_log_days), dry_run=dry_run, stopped=stopped
        ),
        backups=_prune(settings, now=now, dry_run=dry_run),
    )
    counts = {name: count for name, count in asdict(report).items() if count}
    if counts and not dry_run and counts.keys() != {"cases_waiting"}:
        with database.write() as connection:
            audit.append(connection, actor=ACTOR, act=ACT, subject=SUBJECT, now=now, detail=counts)
    return report


def _prune(settings: DelistSettings, *, now: datetime, dry_run: bool) -> int:
    folder = settings.backup.folder
    if folder is None:
        return 0
    keep = timedelta(days=settings.backup.keep_days)
    return prune(folder, keep=keep, now=now, dry_run=dry_run)
