"""Processes that are killed at any moment leave no trace in what is decided and told.

A sample of what ``python -m tests.soak`` does with hundreds of kills.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from delist.model import Verdict
from tests.soak.conduct import Disturbance
from tests.soak.outside import Outside
from tests.soak.report import Trial, document, run_trial, run_undisturbed, table
from tests.soak.script import KINDS, Life, write_script
from tests.soak.state import State, differences

FEW = ("found", "withdrawn", "confirmed")


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    with Outside() as found:
        yield found


@pytest.fixture(scope="module")
def ended(outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trial, State]:
    """Run a short script twice, undisturbed and with kills."""
    script = write_script(7, kinds=FEW)
    disturbance = Disturbance(seed=7, kills=1, longest_s=1.0, service_s=2.0, services=1)
    folder = tmp_path_factory.mktemp("soak")
    calm = run_undisturbed(folder, outside, script)
    return run_trial(folder, outside, script, disturbance, calm), calm.state


def test_a_killed_run_ends_as_an_undisturbed_one(ended: tuple[Trial, State]) -> None:
    """Crawl, sync, scans, intake, decisions, emission and upkeep are killed; nothing differs."""
    trial, state = ended

    assert trial.differences == []
    assert trial.killed >= 3
    # And something happened: each kind of picture has come to what it should.
    told = [[entry[:2] for entry in records] for records in state["ledger"].values()]
    assert sorted(told) == sorted(
        [
            [["suppress", "provisional"]],
            [["suppress", "provisional"], ["revoke", "provisional"]],
            [["suppress", "provisional"], ["suppress", "confirmed"]],
        ]
    )


def lose_a_record(state: State) -> None:
    next(iter(state["ledger"].values())).pop()


def double_a_record(state: State) -> None:
    records = next(iter(state["ledger"].values()))
    records.append(records[-1])


def swap_records(state: State) -> None:
    next(records for records in state["ledger"].values() if len(records) > 1).reverse()


def leave_a_file(state: State) -> None:
    state["files"].append("secrets/tmpN")


def lose_an_image(state: State) -> None:
    state["images"].popitem()


def leave_a_reader(state: State) -> None:
    state["problems"].append("1 readers of processes that are gone")


@pytest.mark.parametrize(
    "harm",
    [
        lose_a_record,
        double_a_record,
        swap_records,
        leave_a_file,
        lose_an_image,
        leave_a_reader,
    ],
)
def test_what_differs_is_seen(ended: tuple[Trial, State], harm: Callable[[State], Any]) -> None:
    """Whatever is lost, doubled, out of order or left behind is a difference."""
    _, state = ended
    other = copy.deepcopy(state)
    assert differences(state, other) == []
    harm(other)

    assert differences(state, other) != []


def test_a_script_changes_each_picture_once_a_round() -> None:
    """Else a disturbed run could lawfully end otherwise; equal seeds give equal scripts."""
    script, again = write_script(3, starts=3), write_script(3, starts=3)

    assert script == again
    assert set(script.kinds.values()) == set(KINDS)
    shown = [[show.path for show in part.shows] for part in script.rounds]
    assert all(len(paths) == len(set(paths)) for paths in shown)
    said = [word.verdict for part in script.rounds for word in part.words]
    assert set(said) == {Verdict.NCII, Verdict.NOT_NCII}
    assert Life(1, 2).show() == Life(1, 2).show()


def test_a_report_names_every_difference() -> None:
    """The table and the document say how many kills, which seeds, and what differs."""
    trial = Trial(
        seed=4,
        disturbed_by=5,
        rounds=1,
        records=2,
        repeated=0,
        kills=Counter({"intake at a time": 3}),
        seconds=1.0,
        undisturbed_seconds=1.0,
        differences=["ledger, /i/1.jpg: expected [], found [1]"],
    )

    assert "/i/1.jpg" in "\n".join(table([trial]))
    found = document([trial])
    assert (found["kills"], found["seeds"], found["differences"]) == (3, [5], 1)
