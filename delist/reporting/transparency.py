"""The transparency report: what came in, what was done, how long it took; see ``disclosure``.

Figures are over the whole service. None is by host, feed, reason of a person or reviewer.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import lmdb

from delist import emission
from delist.model import RecordState, Verdict
from delist.reporting import charts, pages
from delist.reporting.disclosure import LEAST, publish, quantile_s, total, whole_months
from delist.reporting.languages import language
from delist.reporting.waits import feed_to_suppression
from delist.store import Database, figures
from delist.store.figures import FirstRecord, Period
from indexer.model import SignalEventKind
from indexer.store import Store

_BATCH = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One published count.

    Attributes:
        count: rounded down to tens; None for fewer than ten.
    """

    key: str
    label: str
    count: int | None

    @property
    def shown(self) -> str:
        """The count as it is printed."""
        return f"<{LEAST}" if self.count is None else f"{self.count:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Figures that belong together.

    Attributes:
        at_least: total of the figures, or None where they do not add up or nothing is known.
    """

    key: str
    title: str
    note: str
    figures: tuple[Figure, ...]
    at_least: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long something took, in seconds; None where too few values stand behind it."""

    key: str
    label: str
    median_s: int | None
    p90_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransparencyReport:
    """What is published about a period: ``since`` is in it, ``before`` is not."""

    since: date
    before: date
    generated_on: date
    groups: tuple[Group, ...]
    times: tuple[Times, ...]


def transparency_report(
    store: Store,
    database: Database,
    *,
    since: date | None = None,
    until: date | None = None,
    now: datetime,
) -> TransparencyReport:
    """Report on whole months; see ``disclosure.whole_months``."""
    period = whole_months(since, until, now=now)
    with store.read() as txn, database.read() as connection:
        events = _signals(store, txn, period)
        first = list(figures.first_records(connection, period))
        lifted = figures.lifted(connection, period)
        reviewed = figures.reviewed(connection, period)
        appealed = figures.appealed(connection, period)
        decided = figures.appeals_decided(connection, period)
        groups = (
            _signals_group(events, figures.matched(connection, period)),
            _suppressed_group(first, figures.confirmed(connection, period)),
            _group(
                "reviewed",
                "Decisions of people",
                "Decisions in review, without those on appeals. One image may have several.",
                {
                    "ncii": ("Intimate image without consent", reviewed.get(Verdict.NCII, 0)),
                    "not_ncii": ("Something else", reviewed.get(Verdict.NOT_NCII, 0)),
                    "unsure": ("Not sure", reviewed.get(Verdict.UNSURE, 0)),
                },
            ),
            _group(
                "appealed",
                "Appeals",
                "Requests to look again by people who proved that they may ask.",
                {
                    "site_owner": ("By owners of websites", appealed.get("site_owner", 0)),
                    "survivor": ("By people who reported", appealed.get("survivor", 0)),
                },
            ),
            _group(
                "appeals_decided",
                "Appeals decided",
                "Decided in this period, whenever they were opened.",
                {
                    "upheld": ("The decision stayed", decided.get("upheld", 0)),
                    "overturned": ("The decision was reversed", decided.get("overturned", 0)),
                },
            ),
            _lifted_group(lifted),
        )
        waits = [wait.time for wait in feed_to_suppression(store, txn, first)]
        times = (
            _times("feed_to_suppression", "From report to out of results", waits),
            _times(
                "time_to_decision",
                "From match to the decision of a person",
                figures.times_to_decision(connection, period),
            ),
        )
    return TransparencyReport(
        since=period.start.date(),
        before=period.end.date(),
        generated_on=now.date(),
        groups=groups,
        times=times,
    )


def as_json(report: TransparencyReport) -> dict[str, Any]:
    """Turn a report into JSON values; a count that is null is fewer than ten."""
    return {
        "since": report.since.isoformat(),
        "before": report.before.isoformat(),
        "generated_on": report.generated_on.isoformat(),
        "rounded_down_to": LEAST,
        "figures": {
            group.key: {
                figure.key: {"count": figure.count, "shown": figure.shown}
                for figure in group.figures
            }
            for group in report.groups
        },
        "at_least": {
            group.key: group.at_least for group in report.groups if group.at_least is not None
        },
        "times": {
            times.key: {"median_s": times.median_s, "p90_s": times.p90_s} for times in report.times
        },
    }


def as_csv(report: TransparencyReport) -> str:
    """Write a report as CSV: since, before, group, figure, value, unit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("since", "before", "group", "figure", "value", "unit"))
    head = (report.since.isoformat(), report.before.isoformat())
    for group in report.groups:
        for figure in group.figures:
            value = f"<{LEAST}" if figure.count is None else figure.count
            writer.writerow((*head, group.key, figure.key, value, "count, rounded down to tens"))
    for times in report.times:
        for name, seconds in (("median", times.median_s), ("p90", times.p90_s)):
            writer.writerow((*head, times.key, name, seconds, "seconds"))
    return text.getvalue()


def as_html(report: TransparencyReport) -> str:
    """Write a report as a page with charts that are drawn here, as SVG."""
    return pages.render(
        "transparency.html",
        language("en"),
        report=report,
        last_day=report.before - timedelta(days=1),
        bars=charts.bars,
        duration=_duration,
        least=LEAST,
    )


def _signals(store: Store, txn: lmdb.Transaction, period: Period) -> dict[SignalEventKind, int]:
    """Count signals by what happened to them in the period, each once."""
    keys: dict[SignalEventKind, set[bytes]] = {kind: set() for kind in SignalEventKind}
    sequence = 0
    while events := list(store.signals.log.after(txn, sequence, limit=_BATCH)):
        for event in events:
            if period.start <= event.at < period.end:
                keys[event.kind].add(event.signal_key)
        sequence = events[-1].sequence
    return {kind: len(found) for kind, found in keys.items()}


def _signals_group(events: Mapping[SignalEventKind, int], matched: int) -> Group:
    return _group(
        "received",
        "What came in",
        "A signal is the code of one image or video that somebody reported.",
        {
            "signals": ("Signals received", events[SignalEventKind.ADDED]),
            "signals_withdrawn": ("Signals withdrawn", events[SignalEventKind.WITHDRAWN]),
            "images_matched": ("Images in our index that matched", matched),
        },
        adds_up=False,
    )


def _suppressed_group(first: Sequence[FirstRecord], confirmed: int) -> Group:
    by_machine = sum(record.state is RecordState.PROVISIONAL for record in first)
    return _group(
        "suppressed",
        "Images taken out of results",
        "An image counts when it is taken out first. A person confirms what was automatic later,"
        " so the last figure has images of the first in it.",
        {
            "automatic": ("At first automatically", by_machine),
            "by_person": ("At once by a person", len(first) - by_machine),
            "confirmed": ("Confirmed by a person", confirmed),
        },
        adds_up=False,
    )


def _lifted_group(lifted: Mapping[str, int]) -> Group:
    known = {
        "withdrawal": ("Because a report was withdrawn", {emission.REASON_WITHDRAWN}),
        "review": ("Because a person decided so", {emission.REASON_DISMISSED}),
        "needs_review": (
            "Because a person has to look first",
            {emission.REASON_NEEDS_REVIEW, emission.REASON_ON_HOLD},
        ),
        "content": (
            "Because the image at the address changed",
            {emission.REASON_CONTENT_CHANGED},
        ),
    }
    rest = sum(lifted.values()) - lifted.get(emission.REASON_URL_MOVED, 0)
    parts = {}
    for key, (label, reasons) in known.items():
        count = sum(lifted.get(reason, 0) for reason in reasons)
        parts[key] = (label, count)
        rest -= count
    parts["other"] = ("For another reason", rest)
    note = "An image that came back for two reasons, one after the other, counts for both."
    return _group("lifted", "Images shown in results again", note, parts)


def _group(
    key: str,
    title: str,
    note: str,
    parts: Mapping[str, tuple[str, int]],
    *,
    adds_up: bool = True,
) -> Group:
    published = tuple(
        Figure(key=name, label=label, count=publish(count))
        for name, (label, count) in parts.items()
    )
    at_least = total([figure.count for figure in published]) if adds_up else None
    return Group(key=key, title=title, note=note, figures=published, at_least=at_least)


def _times(key: str, label: str, times: Sequence[timedelta]) -> Times:
    return Times(
        key=key, label=label, median_s=quantile_s(times, 0.5), p90_s=quantile_s(times, 0.9)
    )


def _duration(seconds: int | None) -> str:
    """Write a duration in the largest unit that it has two of."""
    if seconds is None:
        return "too few to say"
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds} seconds"
