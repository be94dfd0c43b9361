"""What of a figure may be published, so that nobody can be singled out.

(1) Counts are rounded down to tens, and fewer than ten is "<10", none at all too: that
    something happened once should not show. So each published count stands for ten values.
(2) A total is the sum of what is published of its parts, "at least": nothing can be
    subtracted from it that the parts do not say.
(3) A period is made of whole calendar months that are over. Reports of two periods can then be
    subtracted by months only, and a difference of two counts that are rounded says no more than
    that a month had some (never how many: it leaves nine values or more). Subtracting many
    overlapping periods could say more: publish on one grid, each month in one report.
(4) A median needs 20 values and a ninth decile 100, so that ten lie on each side of it; both
    are rounded to two digits.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from math import ceil, floor, log10

from delist.store.figures import Period

LEAST = 10
_MONTHS = 12


def publish(count: int) -> int | None:
    """Round a count down to tens; None for fewer than ten."""
    return None if count < LEAST else count - count % LEAST


def total(parts: Sequence[int | None]) -> int | None:
    """Sum up what is published of the parts: the total is at least that. None for nothing."""
    return sum(part or 0 for part in parts) or None


def quantile_s(times: Sequence[timedelta], share: float) -> int | None:
    """Say what a share of times does not exceed, in seconds to two digits.

    Args:
        share: 0.5 for the median.

    Returns:
        None where fewer than ten times lie on one side of it.
    """
    if len(times) * min(share, 1 - share) < LEAST - 1e-9:
        return None
    seconds = sorted(time.total_seconds() for time in times)
    value = max(0.0, seconds[ceil(len(seconds) * share - 1e-9) - 1])
    if value < 1:
        return 1
    step = 10 ** max(0, floor(log10(value)) - 1)
    return int(round(value / step) * step)


def whole_months(since: date | None, until: date | None, *, now: datetime) -> Period:
    """Make the period of a report: whole months that are over.

    Args:
        since: a day of the first month; by default 12 months before the end.
        until: the last day; a month that it is not the end of is left out. By default the
            last day of last month.

    Returns:
        The period, empty where no month is left.
    """
    end = _first(now.astimezone(UTC).date())
    if until is not None and until < end:
        end = _first(until + timedelta(days=1))
    start = _first(since) if since is not None else _months_before(end)
    return Period(start=_midnight(min(start, end)), end=_midnight(end))


def _first(day: date) -> date:
    return day.replace(day=1)


def _months_before(first: date) -> date:
    return first.replace(year=first.year - _MONTHS // 12)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
