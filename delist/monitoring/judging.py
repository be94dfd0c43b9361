"""What is stale or wrong, and what to do about it: one judgement of the figures, pure.

``doctor`` prints it, ``/readyz`` and ``/v1/status`` answer it, the metrics count it.
"""

from collections.abc import Callable, Iterator

from delist.monitoring.conditions import (
    APPEAL_OVERDUE,
    BACKUP_STALE,
    CASE_OVERDUE,
    CONSUMER_OVERDUE,
    CRAWL_QUEUE_BEHIND,
    CRAWL_QUEUE_PARKED,
    CRAWL_QUEUE_UNANSWERED,
    CRAWL_QUEUE_UNWATCHED,
    DISK_NEARLY_FULL,
    FEED_NEVER_SYNCED,
    FEED_RESTORED,
    FEED_STALE,
    INTAKE_BEHIND,
    JOB_FAILING,
    LEDGER_BROKEN,
    NO_FEED,
    NO_LEADER,
    SIGNAL_STOPPED,
    SINK_FAILING,
    SINK_MISCONFIGURED,
    STORE_NEARLY_FULL,
    STORE_READER_STUCK,
    Condition,
    Limits,
)
from delist.monitoring.figures import CaseFigures, Figures, StoreFigures

_GIB = 1024**3
_FAILED_JOBS = 3
"""Runs in a row: one may meet a store that is busy."""
_BACKUP = "backup"


def conditions(found: Figures, limits: Limits) -> list[Condition]:
    """Judge a reading; empty when all is well."""
    judged: tuple[Callable[[Figures, Limits], Iterator[Condition]], ...] = (
        lambda all_, limit: of_feeds(all_.store, limit),
        _of_store,
        _of_intake,
        lambda all_, _: _of_people(all_.cases),
        _of_consumers,
        _of_jobs,
        _of_disk,
        of_crawl_queue,
    )
    return [condition for judge in judged for condition in judge(found, limits)]


def of_feeds(found: StoreFigures, limits: Limits) -> Iterator[Condition]:
    """Judge the feeds alone."""
    from_outside = {name: feed for name, feed in found.feeds.items() if name != found.reserved}
    if not from_outside:
        yield Condition(
            code=NO_FEED, detail="no feed is configured", mend="add a [feeds.NAME] table"
        )
    for name in sorted(found.restored):
        yield Condition(
            code=FEED_RESTORED,
            subject=name,
            detail="the store was put back; nothing is decided before this feed was read whole",
            # What people report to us has no feed to read anew: a person says so.
            mend=f"delist accept-restored {name}"
            if name == found.reserved
            else f"delist feed sync {name} --full",
        )
    for name, feed in from_outside.items():
        if feed.sync_age_s is None:
            yield Condition(
                code=FEED_NEVER_SYNCED,
                subject=name,
                detail="never synced",
                mend=f"delist feed sync {name}",
            )
        elif feed.sync_age_s > limits.feed_s:
            yield Condition(
                code=FEED_STALE,
                subject=name,
                detail=f"last synced {_ago(feed.sync_age_s)}",
                mend="is `delist run` running, and does it say feed.failed?",
            )


def _of_store(found: Figures, limits: Limits) -> Iterator[Condition]:
    usage = found.store.usage
    share = usage.used_bytes / usage.map_bytes
    if share > limits.map_share:
        yield Condition(
            code=STORE_NEARLY_FULL,
            detail=f"{share:.0%} of the store's map is used",
            mend="raise [store] map_size_bytes and restart every process",
        )
    if usage.oldest_read_behind > limits.reader_behind:
        yield Condition(
            code=STORE_READER_STUCK,
            detail=f"a reader holds a state {usage.oldest_read_behind} transactions old",
            mend="restart the process that has read longest; the file grows meanwhile",
        )


def _of_intake(found: Figures, limits: Limits) -> Iterator[Condition]:
    waiting = intake_waiting(found)
    if waiting > limits.intake_events:
        yield Condition(
            code=INTAKE_BEHIND,
            detail=f"{waiting} entries of the logs were not taken in",
            mend="is `delist run` running? else: delist intake",
        )


def intake_waiting(found: Figures) -> int:
    """Count the log entries that were not taken in, and the cases to be looked at again."""
    taken = found.cases.log_positions
    behind = sum(max(0, end - taken.get(log, 0)) for log, end in found.store.log_ends.items())
    return behind + found.cases.reassessments


def _of_people(cases: CaseFigures) -> Iterator[Condition]:
    if cases.queue.overdue:
        yield Condition(
            code=CASE_OVERDUE,
            detail=f"{counted(cases.queue.overdue, 'case')} waited longer than promised",
            mend="delist cases list; call in reviewers",
        )
    if cases.appeals_overdue:
        yield Condition(
            code=APPEAL_OVERDUE,
            detail=f"{counted(cases.appeals_overdue, 'appeal')} waited longer than promised",
            mend="delist appeal list",
        )
    if cases.stopped:
        yield Condition(
            code=SIGNAL_STOPPED,
            detail=f"the machine stopped {counted(cases.stopped, 'signal')}",
            mend="look with `delist brakes list`; `delist brakes release` lets them go on",
        )
    if cases.ledger_trouble:
        yield Condition(
            code=LEDGER_BROKEN,
            detail=cases.ledger_trouble,
            mend="sign nothing, keep both stores as they are, see docs/operations.md",
        )


def _of_consumers(found: Figures, _limits: Limits) -> Iterator[Condition]:
    for consumer in found.cases.consumers:
        if consumer.overdue:
            yield Condition(
                code=CONSUMER_OVERDUE,
                subject=consumer.name,
                detail=f"lacks {counted(consumer.lag, 'record')}, some longer than promised",
                mend="delist consumers list; call whoever runs it",
            )
        if consumer.trouble:
            yield Condition(
                code=SINK_FAILING,
                subject=consumer.name,
                detail=f"cannot be reached ({consumer.trouble}), {consumer.attempts} times now",
                mend=f"delist sinks deliver {consumer.name}",
            )
    for name, trouble in found.sinks.items():
        if trouble:
            yield Condition(
                code=SINK_MISCONFIGURED,
                subject=name,
                detail=trouble,
                mend=f"correct [sinks.{name}]",
            )


def _of_jobs(found: Figures, limits: Limits) -> Iterator[Condition]:
    cases = found.cases
    backup = cases.jobs.get(_BACKUP)
    if backup is not None and (
        backup.done_at is None or (found.at - backup.done_at).total_seconds() > limits.backup_s
    ):
        yield Condition(
            code=BACKUP_STALE,
            detail="no backup was made lately",
            mend="look for job.failed of the job backup; then delist jobs run backup",
        )
    if cases.jobs and not cases.led:
        yield Condition(
            code=NO_LEADER, detail="no process does the periodic work", mend="start `delist run`"
        )
    for job in cases.jobs.values():
        if job.failures >= _FAILED_JOBS:
            yield Condition(
                code=JOB_FAILING,
                subject=job.id,
                detail=f"did not end well {job.failures} times in a row ({job.outcome})",
                mend="look for job.failed in the log of `delist run`",
            )


def _of_disk(found: Figures, limits: Limits) -> Iterator[Condition]:
    if found.disk_free_bytes < limits.free_bytes:
        yield Condition(
            code=DISK_NEARLY_FULL,
            detail=f"{found.disk_free_bytes / _GIB:.1f} GiB free",
            mend="free some space",
        )


def of_crawl_queue(found: Figures, limits: Limits) -> Iterator[Condition]:
    """Judge the queue between crawlers and this store alone, where there is one."""
    queue = found.cases.crawl_queue
    if queue is None:
        return
    if queue.asked_age_s is None or queue.asked_age_s > limits.crawl_queue_asked_s:
        asked = "yet" if queue.asked_age_s is None else f"for {lasting(queue.asked_age_s)}"
        yield Condition(
            code=CRAWL_QUEUE_UNWATCHED,
            detail=f"nobody has asked what waits in the crawlers' queue {asked}",
            mend="start `delist run`, with the same [queue] servers as here",
        )
    elif queue.trouble:
        never = queue.answer_age_s is None
        since = "never answered" if never else f"last answered {_ago(queue.answer_age_s or 0)}"
        yield Condition(
            code=CRAWL_QUEUE_UNANSWERED,
            detail=f"{queue.trouble}; {since}",
            mend="is the server of [queue] up, and does it let this machine in?",
        )
    if queue.oldest_s > limits.crawl_queue_s:
        yield Condition(
            code=CRAWL_QUEUE_BEHIND,
            detail=f"{counted(queue.waiting, 'message')} of crawlers not taken in,"
            f" the oldest for {lasting(queue.oldest_s)}",
            mend="is `delist index-from` running, and fast enough? nobody checks them meanwhile",
        )
    if queue.parked:
        yield Condition(
            code=CRAWL_QUEUE_PARKED,
            detail=f"{counted(queue.parked, 'message')} of crawlers cannot be taken in",
            mend="look for queue.parked in the log of `delist index-from`;"
            " then `delist index-from --parked`",
        )


def lasting(seconds: float) -> str:
    """Say how long something has lasted."""
    minutes = seconds / 60
    if seconds < 2 * 60:
        return counted(round(seconds), "second")
    return f"{minutes:.0f} minutes" if minutes < 2 * 60 else f"{minutes / 60:.0f} hours"


def _ago(seconds: float) -> str:
    return f"{lasting(seconds)} ago"


def counted(number: int, what: str) -> str:
    """Say how many of something there are."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
