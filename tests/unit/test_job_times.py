"""When jobs run: first, again, and whatever is done to the machine's clock."""

from datetime import UTC, datetime, timedelta

import pytest

from delist.running.jobs import Every, Job, Kind, Outcome, brought_forward, first_run, tried_again
from delist.store.jobs import JobState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def job(*, costly: bool = True, basis: str = "same") -> Job:
    return Job(
        id="job",
        kind=Kind.SCANS,
        interval_s=3600,
        call=lambda _stopped: True,
        limit_s=10,
        silence_s=10,
        costly=costly,
        basis=lambda: basis,
    )


def done(at: datetime, *, outcome: str = "done") -> JobState:
    return JobState(id="job", outcome=outcome, done_at=at, basis="same")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, NOW),
        (JobState(id="job", outcome="failed"), NOW),
        (done(NOW - HOUR / 4), NOW + HOUR * 3 / 4),
        (done(NOW - HOUR * 5), NOW),
        (done(NOW - HOUR / 4, outcome="stopped"), NOW),
        (done(NOW - HOUR / 4, outcome="cut_off"), NOW),
        (done(NOW + HOUR * 9), NOW),
    ],
)
def test_a_costly_job_goes_by_its_record(state: JobState | None, expected: datetime) -> None:
    """After a restart it is due when it would have been: at once if it was not whole.

    A record from the future was written under a wrong clock, and counts for nothing.
    """
    assert first_run(job(), state, now=NOW) == expected


def test_what_changed_beneath_it_makes_it_due_at_once() -> None:
    """A full scan under another threshold or hasher does not wait for its week."""
    assert first_run(job(basis="other"), done(NOW - HOUR / 4), now=NOW) == NOW


def test_other_jobs_begin_at_once() -> None:
    """Whatever is on record about them."""
    assert first_run(job(costly=False), done(NOW - HOUR / 4), now=NOW) == NOW


@pytest.mark.parametrize("late", [timedelta(), HOUR / 2, HOUR * 24 * 365 * 50])
def test_missed_runs_are_one(late: timedelta) -> None:
    """After a sleep, or a clock set fifty years ahead, the next run is an interval from now."""
    following = Every(3600, jitter=lambda: 0.5).get_next_fire_time(NOW, NOW + late)

    assert NOW + late < following <= NOW + late + HOUR


def test_an_interval_has_some_jitter() -> None:
    """A tenth of it in all, a minute at most, around the interval."""
    soon, late = (
        Every(60, jitter=lambda part=part: part).get_next_fire_time(NOW, NOW) for part in (0, 1)
    )
    assert ((soon - NOW).total_seconds(), (late - NOW).total_seconds()) == (57, 63)

    week, more = (
        Every(604_800, jitter=lambda part=part: part).get_next_fire_time(NOW, NOW)
        for part in (0, 1)
    )
    assert more - week == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("waits", "expected"),
    [(HOUR, None), (HOUR * 1.09, None), (HOUR * 30, NOW + HOUR), (-HOUR, None)],
)
def test_a_clock_that_is_set_back_holds_nothing_up(
    waits: timedelta, expected: datetime | None
) -> None:
    """No job waits for longer than its interval, whatever time it was planned for."""
    assert brought_forward(job(), NOW + waits, now=NOW) == expected


def test_a_backup_that_failed_does_not_wait_for_a_day() -> None:
    """What did not come to its end is tried again in ten minutes; what did, at its interval."""
    again = NOW + timedelta(minutes=10)
    assert {outcome: tried_again(job(), outcome, now=NOW) for outcome in Outcome} == {
        outcome: None if outcome is Outcome.DONE else again for outcome in Outcome
    }
