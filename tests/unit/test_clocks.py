"""What the service tells of what is overdue, stale or wrong."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from delist.monitoring import Condition
from delist.monitoring.conditions import CASE_OVERDUE, CONSUMER_OVERDUE
from delist.running.clocks import Clocks

CASES = Condition(code=CASE_OVERDUE, detail="2 cases waited longer than promised", mend="review")
SINK = Condition(code=CONSUMER_OVERDUE, detail="is late", mend="look", subject="engine")


@pytest.fixture
def said() -> Iterator[list[Any]]:
    structlog.reset_defaults()
    with capture_logs() as entries:
        yield entries


def test_what_stands_is_told_once_and_when_it_is_over(said: list[Any]) -> None:
    """Not at the first look, nor at each; with what it is about, and no more."""
    clocks = Clocks()
    looks = [[CASES], [CASES, SINK], [CASES, SINK], [SINK], [SINK], [], [CASES]]
    told = []
    for found in looks:
        said.clear()
        clocks.tell(found)
        told.append([(entry["event"], entry["code"], entry["subject"]) for entry in said])

    assert told == [
        [],
        [("condition.standing", CASE_OVERDUE, "")],
        [("condition.standing", CONSUMER_OVERDUE, "engine")],
        [("condition.settled", CASE_OVERDUE, "")],
        [],
        [("condition.settled", CONSUMER_OVERDUE, "engine")],
        [],
    ]
