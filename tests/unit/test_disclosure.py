"""What may be published: nobody can be singled out by a count, a total, a period or a time."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.reporting.disclosure import publish, quantile_s, total, whole_months

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
COUNTS = st.integers(0, 10_000)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, None), (1, None), (9, None), (10, 10), (19, 10), (20, 20), (12_345, 12_340)],
)
def test_counts_are_rounded_down_to_tens(count: int, shown: int | None) -> None:
    """Fewer than ten is not told from none."""
    assert publish(count) == shown


@given(st.lists(COUNTS, min_size=1, max_size=8), st.data())
def test_a_total_gives_nothing_away(parts: Sequence[int], data: st.DataObject) -> None:
    """Any other count behind the same published part leads to the same page."""
    published = [publish(part) for part in parts]
    other = [
        data.draw(st.integers(0, 9) if shown is None else st.integers(shown, shown + 9))
        for shown in published
    ]

    assert [publish(part) for part in other] == published
    assert total([publish(part) for part in other]) == total(published)
    assert (total(published) or 0) <= sum(parts)


@given(COUNTS, st.integers(0, 9))
def test_a_difference_of_two_periods_leaves_many_values(before: int, small: int) -> None:
    """What came to be between two reports is known to be one of nine values, at the least."""
    shown = (publish(before) or 0, publish(before + small) or 0)
    possible = {
        more
        for first in range(shown[0], shown[0] + 10)
        for more in range(10)
        if (publish(first + more) or 0) == shown[1]
    }

    assert small in possible
    assert len(possible) >= 9


@pytest.mark.parametrize(
    ("since", "until", "start", "end"),
    [
        (None, None, "2025-11-01", "2026-11-01"),
        ("2026-03-15", None, "2026-03-01", "2026-11-01"),
        ("2026-03-15", "2026-04-30", "2026-03-01", "2026-05-01"),
        ("2026-03-15", "2026-04-29", "2026-03-01", "2026-04-01"),
        (None, "2026-02-28", "2025-03-01", "2026-03-01"),
        ("2026-11-02", None, "2026-11-01", "2026-11-01"),
        ("2026-03-15", "2030-01-31", "2026-03-01", "2026-11-01"),
        ("2030-01-01", "2030-01-31", "2026-11-01", "2026-11-01"),
        ("2026-05-01", "2026-01-31", "2026-02-01", "2026-02-01"),
    ],
)
def test_periods_are_whole_months_that_are_over(
    since: str | None, until: str | None, start: str, end: str
) -> None:
    """The month under way is never in it: two reports on two days of it could be subtracted."""
    days = [None if day is None else date.fromisoformat(day) for day in (since, until)]
    period = whole_months(*days, now=NOW)

    assert (f"{period.start:%Y-%m-%d}", f"{period.end:%Y-%m-%d}") == (start, end)


@pytest.mark.parametrize(("number", "share"), [(19, 0.5), (0, 0.5), (99, 0.9), (20, 0.9)])
def test_times_of_few_are_not_told(number: int, share: float) -> None:
    """Ten have to lie on each side."""
    assert quantile_s([timedelta(hours=1)] * number, share) is None


def test_times_are_rounded_to_two_digits() -> None:
    """So the time of one case is not to be read off."""
    times = [timedelta(seconds=1234 + second) for second in range(100)]

    assert quantile_s(times, 0.5) == 1300
    assert quantile_s(times, 0.9) == 1300
    assert quantile_s([timedelta(seconds=7)] * 20, 0.5) == 7
    assert quantile_s([timedelta()] * 20, 0.5) == 1
