"""The clocks that run against us: what is overdue, counted.

A survivor has been promised 48 hours. What ran out is put on record, where ``delist doctor``,
``delist serve`` and its metrics find it, and is logged when it changes: counts, never which.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Connection, FromClause, func, select

from delist.appeal_record import AppealState
from delist.build import Delist
from delist.store import jobs
from delist.store.tables import appeals, cases

CASES, APPEALS, CONSUMERS, FEEDS, JOBS = (
    "cases_overdue",
    "appeals_overdue",
    "consumers_overdue",
    "feeds_stale",
    "jobs_failing",
)
FAILING_AFTER = 3
"""Runs in a row that fail before a job counts as failing: one may meet a store that is busy."""

_log = structlog.get_logger()


def look(delist: Delist, *, since: datetime) -> dict[str, int]:
    """Look at all clocks, put on record what they say, and log what has changed.

    Args:
        since: a feed that was never synced is waited for from then on.
    """
    now = delist.clock()
    counts = _counts(delist, since=since, now=now)
    with delist.database.write() as connection:
        changed = jobs.keep_alarms(connection, counts, now=now)
    for alarm in changed:
        if alarm.count:
            _log.warning("clock.overdue", clock=alarm.name, count=alarm.count)
        else:
            _log.info("clock.settled", clock=alarm.name)
    return counts


def _counts(delist: Delist, *, since: datetime, now: datetime) -> dict[str, int]:
    stale = timedelta(seconds=delist.settings.web.stale_s)
    consumers = sum(standing.overdue for standing in delist.sinks.followers.standings())
    with delist.database.read() as connection:
        late_cases = _count(connection, cases, cases.c.awaits_person, cases.c.deadline_at <= now)
        open_appeals = appeals.c.state == AppealState.OPEN.value
        late_appeals = _count(connection, appeals, open_appeals, appeals.c.deadline_at <= now)
        states = jobs.every(connection).values()
    return {
        CASES: late_cases,
        APPEALS: late_appeals,
        CONSUMERS: consumers,
        FEEDS: sum(now - at > stale for at in _last_syncs(delist, since).values()),
        JOBS: sum(state.failures >= FAILING_AFTER for state in states),
    }


def _last_syncs(delist: Delist, since: datetime) -> Mapping[str, datetime]:
    store = delist.indexer.store
    with store.read() as txn:
        return {
            feed.name: store.feed_cursors.load(txn, feed.name).synced_at or since
            for feed in delist.settings.indexer.feeds
        }


def _count(connection: Connection, table: FromClause, *which: ColumnElement[bool]) -> int:
    chosen = select(func.count()).select_from(table).where(*which)
    return int(connection.scalar(chosen) or 0)
