"""Figures for those who run the service: exact, by day, over the last weeks. Not for the public.

Nothing is by person: how much one reviewer decides is no figure to live by.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil

from delist.model import Verdict
from delist.reporting.waits import Wait, feed_to_suppression
from delist.store import Database, figures, queue
from delist.store.figures import Period
from delist.store.queue import Counts
from indexer.store import Store

DAYS = 30
_AGES_H = (6, 12, 24, 36, 48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """How long something took, in seconds; None of nothing."""

    count: int
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One UTC day.

    Attributes:
        suppression: time from feed to suppression, of images that went that day.
        verdicts: decisions of people in review, by verdict.
    """

    day: date
    suppression: Quantiles
    verdicts: dict[Verdict, int]

    @property
    def decisions(self) -> int:
        """All of them."""
        return sum(self.verdicts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """Cases that have waited so long."""

    label: str
    count: int

    @property
    def shown(self) -> str:
        """The count as it is printed."""
        return f"{self.count:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """How the service does.

    Attributes:
        suppression: time from feed to suppression, of all these days.
        decision: time from match to the first decision of a person.
        ages: of cases that wait, and how long already.
        upheld: appeals decided so in these days; ``overturned`` too.
    """

    since: date
    generated_at: datetime
    suppression: Quantiles
    decision: Quantiles
    days: Sequence[Day]
    queue: Counts
    ages: Sequence[Aged]
    upheld: int
    overturned: int

    @property
    def overturn_rate(self) -> float | None:
        """Share of decided appeals that were overturned; None of none."""
        decided = self.upheld + self.overturned
        return self.overturned / decided if decided else None


def operations(store: Store, database: Database, *, now: datetime) -> Operations:
    """Collect the figures of the last ``DAYS`` days, today included."""
    today = now.astimezone(UTC).date()
    first_day = today - timedelta(days=DAYS - 1)
    start = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC)
    period = Period(start=start, end=now + timedelta(seconds=1))
    with store.read() as txn, database.read() as connection:
        waits = list(feed_to_suppression(store, txn, figures.first_records(connection, period)))
        decided = figures.appeals_decided(connection, period)
        days = list(_days(first_day, waits, figures.reviewed_at(connection, period)))
        return Operations(
            since=first_day,
            generated_at=now,
            suppression=quantiles([wait.time for wait in waits]),
            decision=quantiles(figures.times_to_decision(connection, period)),
            days=days,
            queue=queue.counts(connection, now=now),
            ages=_ages(queue.opened_at(connection), now),
            upheld=decided.get("upheld", 0),
            overturned=decided.get("overturned", 0),
        )


def quantiles(times: Sequence[timedelta]) -> Quantiles:
    """Return median and 99th percentile: the least time that such a share does not exceed."""
    seconds = sorted(time.total_seconds() for time in times)
    return Quantiles(
        count=len(seconds), p50_s=_quantile(seconds, 0.5), p99_s=_quantile(seconds, 0.99)
    )


def as_csv(found: Operations) -> str:
    """Write the days as CSV, one a line; times in seconds, empty where nothing stands behind."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [verdict.value for verdict in Verdict]
    writer.writerow(("day", "suppressed", "p50_s", "p99_s", *names))
    for day in found.days:
        took = day.suppression
        counts = [day.verdicts[verdict] for verdict in Verdict]
        writer.writerow((day.day.isoformat(), took.count, took.p50_s, took.p99_s, *counts))
    return text.getvalue()


def _days(
    first: date, waits: Sequence[Wait], reviewed: Sequence[tuple[datetime, Verdict]]
) -> Iterator[Day]:
    times: dict[date, list[timedelta]] = {}
    for wait in waits:
        times.setdefault(wait.until.astimezone(UTC).date(), []).append(wait.time)
    counted = Counter((at.astimezone(UTC).date(), verdict) for at, verdict in reviewed)
    for number in range(DAYS):
        day = first + timedelta(days=number)
        verdicts = {verdict: counted[day, verdict] for verdict in Verdict}
        yield Day(day=day, suppression=quantiles(times.get(day, ())), verdicts=verdicts)


def _ages(opened: Sequence[datetime], now: datetime) -> list[Aged]:
    hours = [(now - at) / timedelta(hours=1) for at in opened]
    found, low = [], 0
    for high in _AGES_H:
        count = sum(low <= age < high for age in hours)
        found.append(Aged(label=f"{low} to {high} hours", count=count))
        low = high
    count = sum(age >= low for age in hours)
    return [*found, Aged(label=f"over {low} hours", count=count)]


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[ceil(len(ordered) * share - 1e-9) - 1] if ordered else None
