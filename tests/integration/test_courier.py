"""Bringing sinks what is new, whatever the receiver does: order, retries, what is set aside."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delist.consumers import Instruction
from delist.consumers.keys import ConsumerKey
from delist.errors import SinkError, SinkRefusalError
from delist.model import RecordAction
from delist.sinks.courier import Courier, Delivery
from delist.store import Database, consumers, effects, ledger
from tests.fakes.delisting import Clock
from tests.integration.test_consumers import OTHER, REVOKE, SUPPRESS, URL, append

KEY = ConsumerKey(b"\1" * 32)


class Receiver:
    """A receiver that keeps what it took, and can be told to misbehave.

    Attributes:
        poison: addresses that it does not take.
        odd: numbers of records that it does not take, though others about the same address.
        names_it: whether it says which record it does not take, or refuses the whole batch.
        down: the codes of its next answers, the first first.
        dies: how many batches from now it takes one and the courier is cut off.
    """

    def __init__(self) -> None:
        self.got: list[Instruction] = []
        self.poison: set[str] = set()
        self.odd: set[int] = set()
        self.names_it = True
        self.down: list[str] = []
        self.dies = -1

    def deliver(self, batch: Sequence[Instruction]) -> Mapping[int, str]:
        assert [one.sequence for one in batch] == sorted({one.sequence for one in batch})
        if self.down:
            raise SinkError(self.down.pop(0), "it is down")
        bad = {
            one.sequence: "too_odd"
            for one in batch
            if one.record_url in self.poison or one.sequence in self.odd
        }
        if bad and not self.names_it:
            raise SinkRefusalError("bad_request", "no")
        self.got += [one for one in batch if one.sequence not in bad]
        if self.dies == 0:
            self.dies = -1
            raise KeyboardInterrupt
        self.dies -= 1
        return bad

    def close(self) -> None:
        """Nothing was opened."""

    @property
    def hidden(self) -> set[str]:
        """What it hides, having obeyed in the order of arrival."""
        state = {one.record_url: one.suppressed for one in self.got}
        return {url for url, suppressed in state.items() if suppressed}

    def sequences(self, url: str) -> list[int]:
        return [one.sequence for one in self.got if one.record_url == url]


class Stage:
    """A ledger, a receiver and the courier between them."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder)
        self.clock = Clock()
        self.receiver = Receiver()

    def run(self, *, batch: int = 3, force: bool = False) -> Delivery:
        courier = Courier(
            "engine", "test", self.receiver, self.database,
            key=KEY, plain=False, clock=self.clock, batch=batch,
        )  # fmt: skip
        return courier.run(force=force)

    def aside(self) -> list[tuple[int, str]]:
        with self.database.read() as connection:
            found = consumers.aside(connection, "engine")
        return [(entry.sequence, entry.reason) for entry in found]

    def in_effect(self) -> set[str]:
        with self.database.read() as connection:
            head = ledger.head(connection)[0]
            return {url for url, _ in effects.in_effect(connection, head)}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "data")
    yield made
    made.database.close()


def test_everything_comes_once_and_in_order(stage: Stage) -> None:
    """Batch after batch, each record once; a second run has nothing to bring."""
    for number in range(8):
        append(stage.database, SUPPRESS, f"https://example.org/{number}")
    assert stage.run().delivered == 8
    assert stage.run().delivered == 0
    assert [one.sequence for one in stage.receiver.got] == list(range(1, 9))


def test_a_receiver_that_is_down_loses_nothing(stage: Stage) -> None:
    """It is noted, tried again later and later, and everything comes when it is back."""
    append(stage.database, SUPPRESS)
    stage.receiver.down = ["unreachable"] * 3
    assert [stage.run().trouble for _ in range(3)] == ["unreachable"] * 3
    with stage.database.read() as connection:
        consumer = consumers.find(connection, "engine")
    assert consumer is not None
    assert (consumer.attempts, consumer.trouble, consumer.position) == (3, "unreachable", 0)
    assert consumer.next_attempt_at > stage.clock() + timedelta(seconds=2)

    assert stage.run() == Delivery(sink="engine", delivered=1)
    with stage.database.read() as connection:
        after = consumers.find(connection, "engine")
    assert after is not None
    assert (after.attempts, after.trouble) == (0, "")


@pytest.mark.parametrize("names_it", [True, False])
def test_a_poisonous_record_holds_up_its_address_only(stage: Stage, names_it: bool) -> None:
    """It waits with what follows about the same address; all others, later ones too, go on."""
    stage.receiver.poison, stage.receiver.names_it = {URL}, names_it
    for url in (OTHER, URL, "https://example.org/c.jpg"):
        append(stage.database, SUPPRESS, url)
    assert stage.run(batch=10).set_aside == 1
    append(stage.database, REVOKE)
    append(stage.database, REVOKE, OTHER)
    stage.run(batch=10)
    assert stage.receiver.hidden == {"https://example.org/c.jpg"}
    code = "too_odd" if names_it else "bad_request"
    assert stage.aside() == [(2, code), (4, "waits_behind_another")]

    stage.clock.advance(minutes=2)
    stage.run()
    assert stage.receiver.sequences(URL) == []
    stage.receiver.poison = set()
    stage.clock.advance(hours=2)
    stage.run()
    assert stage.receiver.sequences(URL) == [2, 4]
    assert stage.aside() == []


def test_a_late_record_does_not_undo_a_later_one(stage: Stage) -> None:
    """What was taken behind a refused record about the same address is brought again after it."""
    stage.receiver.odd = {1}
    append(stage.database, SUPPRESS)
    append(stage.database, SUPPRESS, OTHER)
    append(stage.database, REVOKE)
    stage.run()
    stage.receiver.odd = set()
    stage.clock.advance(hours=2)
    stage.run()

    assert stage.receiver.sequences(URL) == [3, 1, 3]
    assert stage.receiver.hidden == {OTHER}


def test_what_is_never_taken_keeps_nothing_else_from_the_receiver(stage: Stage) -> None:
    """What takes its place, and what ends it, arrives at once, each time behind it."""
    stage.receiver.odd = {1}
    append(stage.database, SUPPRESS)
    append(stage.database, SUPPRESS, OTHER)
    stage.run()
    append(stage.database, SUPPRESS)
    stage.run()
    assert stage.receiver.hidden == {URL, OTHER}

    append(stage.database, REVOKE)
    stage.run()
    assert stage.receiver.hidden == {OTHER}
    assert [sequence for sequence, _ in stage.aside()] == [1, 3, 4]


def test_a_receiver_that_takes_nothing_is_not_the_records_fault(stage: Stage) -> None:
    """Where each record is refused, nothing is set aside: the sink is in trouble, all waits."""
    stage.receiver.names_it = False
    urls = [f"https://example.org/{number}" for number in range(9)]
    stage.receiver.poison = set(urls)
    for url in urls:
        append(stage.database, SUPPRESS, url)
    done = stage.run(batch=9)
    assert (done.trouble, done.set_aside, done.waiting) == ("bad_request", 0, 9)
    assert stage.aside() == []

    stage.receiver.poison = set()
    assert stage.run(force=True).delivered == 9


def test_what_was_refused_before_does_not_stop_the_rest(stage: Stage) -> None:
    """A record that is refused again and again leaves the sink well for others."""
    stage.receiver.poison, stage.receiver.names_it = {URL}, False
    append(stage.database, SUPPRESS)
    append(stage.database, SUPPRESS, OTHER)
    stage.run()
    for _ in range(3):
        stage.clock.advance(hours=2)
        append(stage.database, SUPPRESS, OTHER)
        done = stage.run()
        assert (done.trouble, done.delivered) == ("", 1)
    assert stage.aside() == [(1, "bad_request")]


def test_a_name_is_not_taken_over(stage: Stage) -> None:
    """A sink of another type, or one that asks by itself, has had other things under this name."""
    with stage.database.write() as connection:
        consumers.add(connection, "engine", kind="pull", position=0, now=stage.clock())
    append(stage.database, SUPPRESS)
    assert stage.run().trouble == "name_taken"
    assert stage.receiver.got == []


URLS = [f"https://example.org/{name}.jpg" for name in "abcd"]
_records = st.tuples(
    st.sampled_from([SUPPRESS, REVOKE]), st.sampled_from(URLS), st.sampled_from(["one", "two"])
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), _records),
        st.tuples(st.just("run"), st.integers(1, 4)),
        st.tuples(st.just("die"), st.integers(0, 2)),
        st.tuples(st.just("down"), st.just("away")),
        st.tuples(st.just("poison"), st.sets(st.sampled_from(URLS), max_size=2)),
        st.tuples(st.just("names"), st.booleans()),
        st.tuples(st.just("later"), st.integers(1, 3000)),
    ),
    max_size=40,
)


def follow_steps(stage: Stage, steps: Sequence[tuple[str, object]]) -> None:
    receiver = stage.receiver
    for step, value in steps:
        if step == "record":
            action, url, case = value  # type: ignore[misc]
            assert isinstance(action, RecordAction)
            append(stage.database, action, url, case)
        elif step == "run":
            try:
                stage.run(batch=int(value))  # type: ignore[call-overload]
            except KeyboardInterrupt:
                continue
        elif step == "die":
            receiver.dies = int(value)  # type: ignore[call-overload]
        elif step == "down":
            receiver.down.append("away")
        elif step == "poison":
            receiver.poison = set(value)  # type: ignore[call-overload]
        elif step == "names":
            receiver.names_it = bool(value)
        else:
            stage.clock.advance(seconds=float(value))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_steps)
def test_whatever_happens_the_receiver_ends_as_the_ledger(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    """Crashes, refusals and absences in any order: all arrive, and about an address in order."""
    stage = Stage(tmp_path_factory.mktemp("courier") / "data")
    try:
        follow_steps(stage, steps)
        receiver = stage.receiver
        receiver.poison, receiver.down, receiver.dies = set(), [], -1
        while stage.run(force=True).waiting:
            stage.clock.advance(hours=2)

        with stage.database.read() as connection:
            head = ledger.head(connection)[0]
        assert {one.sequence for one in receiver.got} == set(range(1, head + 1))
        assert receiver.hidden == stage.in_effect()
        for url in URLS:
            first_seen = list(dict.fromkeys(receiver.sequences(url)))
            assert first_seen == sorted(first_seen)
    finally:
        stage.database.close()
