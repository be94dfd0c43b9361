"""What every sink does, whatever it brings instructions to.

The receivers beside this file, ``sinks/*.py``, are found by themselves: a new sink is held to all
of this by one module with a class ``Receiver``.
"""

import importlib
import json
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from delist import sinks
from delist.build import Delist
from delist.consumers import ConsumerKey, Standing
from delist.model import Basis, RecordAction, RecordDraft, RecordState, SuppressionRecord
from delist.schemas import INSTRUCTION, load
from delist.sinks import Delivery
from delist.store import consumers, ledger
from tests.contract.sinks.crash import STEPS, settings_of, start
from tests.contract.sinks.harness import (
    BUSY_S,
    POISON_ID,
    TIMEOUT_S,
    Capability,
    Document,
    Failure,
    Harness,
)
from tests.fakes.delisting import FEED, World, digest_of, image_near

NAME = "engine"
PLACES = [f"https://site.example/{number}.jpg" for number in range(5)]
POISONOUS = "https://site.example/poison.jpg"
DOCUMENTS = (
    *(Document(id=f"doc{number}", url=url) for number, url in enumerate(PLACES)),
    Document(id=POISON_ID, url=POISONOUS),
)
IDS = {document.url: document.id for document in DOCUMENTS}
A, B, C, D, E = PLACES
SCHEMA = jsonschema.Draft202012Validator(json.loads(load(INSTRUCTION)))
KINDS = sorted(
    path.stem for path in (Path(__file__).parent / "sinks").glob("*.py") if path.stem in sinks.TYPES
)


@pytest.fixture(scope="module", params=KINDS)
def started(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """One receiver for all tests of a kind."""
    module = importlib.import_module(f"tests.contract.sinks.{request.param}")
    with module.Receiver() as receiver:
        yield receiver


class Stage:
    """A ledger, a sink and its receiver."""

    def __init__(self, folder: Path, receiver: Harness) -> None:
        self.receiver = receiver
        self.world = World(folder / "data")
        self.data_dir = folder / "data"
        (folder / "receiver").mkdir()
        key = ConsumerKey.load(self.data_dir, NAME)
        receiver.reset(folder / "receiver", key, DOCUMENTS)
        self.tables: dict[str, dict[str, Any]] = {NAME: receiver.settings()}

    def append(self, *said: tuple[str, str, bool], supersedes: str = "") -> list[SuppressionRecord]:
        """Append records: of a case, about an address, whether it is to be hidden."""
        with self.world.delist.database.write() as connection:
            return [
                ledger.append(connection, _draft(*entry, supersedes), now=self.world.clock())
                for entry in said
            ]

    @cached_property
    def delist(self) -> Delist:
        """The store with the sinks that are configured by now."""
        return Delist(settings_of(self.data_dir, self.tables), clock=self.world.clock)

    def deliveries(self, *, force: bool = False) -> list[Delivery]:
        return list(self.delist.sinks.deliver(force=force))

    def deliver(self) -> Delivery:
        return self.deliveries()[0]

    def standing(self) -> Standing:
        found = self.delist.sinks.followers.standings()
        return next(standing for standing in found if standing.name == NAME)

    def set_back(self, position: int) -> None:
        """Let the sink bring again what follows a number."""
        with self.world.delist.database.write() as connection:
            now = self.world.clock()
            consumers.move(connection, NAME, position=position, handed=position, now=now)

    def can(self, capability: Capability) -> bool:
        return capability in self.receiver.capabilities

    def ids(self) -> list[str]:
        """The ids that arrived, in order of the first time, where the receiver can tell."""
        return list(dict.fromkeys(record["id"] for record in self.receiver.received()))


def _draft(case: str, url: str, hide: bool, supersedes: str) -> RecordDraft:
    return RecordDraft(
        action=RecordAction.SUPPRESS if hide else RecordAction.REVOKE,
        state=RecordState.CONFIRMED,
        case_id=case,
        image_url=url,
        document_id=IDS[url],
        content_sha256="ab" * 32,
        reason_code="because",
        basis=Basis(
            feed=FEED,
            signal="cd" * 16,
            distance_bits=7,
            hasher="cpp",
            variant="upright",
            policy_version="1",
        ),
        supersedes=supersedes,
    )


@pytest.fixture
def stage(started: Harness, tmp_path: Path) -> Iterator[Stage]:
    opened = Stage(tmp_path, started)
    with opened.world:
        yield opened
        opened.delist.close()


def ids_of(records: Sequence[SuppressionRecord]) -> list[str]:
    return [record.id for record in records]


def test_what_the_ledger_says_arrives_once_and_in_order(stage: Stage) -> None:
    """Hidden, shown again, hidden by two cases of which one ends: results follow the ledger."""
    told = stage.append(("a", A, True), ("b", B, True), ("c", C, True), ("c2", C, True))
    first = stage.deliver()

    assert (first.delivered, first.waiting, first.trouble) == (4, 0, "")
    assert stage.receiver.hidden() == {A, B, C}

    told += stage.append(("a", A, False), ("c", C, False), ("d", D, True), ("d", D, False))
    assert stage.deliver().delivered == 4
    assert stage.deliver().delivered == 0

    assert stage.receiver.hidden() == {B, C}
    told += stage.append(("c2", C, False), ("a", A, True))
    assert stage.deliver().delivered == 2
    assert stage.receiver.hidden() == {A, B}
    if stage.can(Capability.RECEIVES):
        assert [record["id"] for record in stage.receiver.received()] == ids_of(told)
        for record in stage.receiver.received():
            SCHEMA.validate(record)


def test_what_comes_again_changes_nothing(stage: Stage) -> None:
    """The same batch, and an older part of it, may come again: the outcome is that of once."""
    told = stage.append(("a", A, True), ("b", B, True), ("a", A, False), ("c", C, True))
    stage.deliver()
    for position in (0, 2, 3):
        stage.set_back(position)
        assert stage.deliver().delivered == 4 - position
        assert stage.receiver.hidden() == {B, C}
    told += stage.append(("b", B, False))
    stage.deliver()

    assert stage.receiver.hidden() == {C}
    if stage.can(Capability.RECEIVES):
        assert stage.ids() == ids_of(told)


def test_a_killed_process_loses_nothing(stage: Stage) -> None:
    """Killed between any two steps: what was under way comes again, in order, and is as once."""
    told = stage.append(("a", A, True), ("b", B, True), ("a", A, False), ("c", C, True))
    killed = 0
    for step in STEPS:
        child = start(stage.data_dir, stage.tables, step)
        child.join(20)
        killed += child.exitcode == -signal.SIGKILL
        told += stage.append(("e", E, len(told) % 2 == 0))
    assert stage.deliveries(force=True)[0].trouble == ""

    assert killed >= len(STEPS) - 1
    assert stage.standing().lag == 0
    assert stage.receiver.hidden() == {B, C}
    if stage.can(Capability.RECEIVES):
        assert stage.ids() == ids_of(told)


def test_a_receiver_that_fails_catches_up(
    stage: Stage,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Trouble is noted, within the time-out; other sinks go on; a day later all of it arrives.

    Nothing that is said of it holds an address, a document's id or a secret.
    """
    caplog.set_level(logging.DEBUG)
    other = tmp_path / "other"
    stage.tables["other"] = {"type": "files", "folder": str(other)}
    told = stage.append(("a", A, True))
    stage.deliver()
    said: list[str] = []
    for failure in sorted(stage.receiver.failures, key=lambda failure: failure.value):
        told += stage.append(("b", B, True), ("c", C, len(told) % 2 == 0))
        stage.receiver.fail(failure)
        began = time.monotonic()
        delivery, beside = stage.deliveries()

        assert delivery.trouble, failure
        assert time.monotonic() - began < 3 * TIMEOUT_S + 1
        assert (delivery.delivered, delivery.waiting) == (0, 2)
        assert (beside.trouble, beside.waiting) == ("", 0)
        standing = stage.standing()
        assert (standing.trouble, standing.lag) == (delivery.trouble, 2)
        assert standing.next_attempt_at is not None
        if failure is Failure.BUSY:
            wait_s = (standing.next_attempt_at - stage.world.clock()).total_seconds()
            assert BUSY_S - 30 <= wait_s <= BUSY_S
        said += [repr(delivery), repr(standing)]
        stage.world.clock.advance(days=1)
        stage.receiver.fail(None)
        assert stage.deliver().waiting == 0
        assert stage.standing().trouble == ""

    hidden = {A, B} | ({C} if told[-1].action is RecordAction.SUPPRESS else set())
    assert stage.receiver.hidden() == hidden
    if stage.can(Capability.RECEIVES):
        assert stage.ids() == ids_of(told)
    said += [caplog.text, *capfd.readouterr()]
    key = ConsumerKey.load(stage.data_dir, NAME)
    secrets = [key.secret.hex(), *(key.of_url(url) for url in PLACES), *ids_of(told)]
    assert not [word for word in ("site.example", "doc0", "whsec", *secrets) if word in str(said)]


def test_one_record_that_is_refused_holds_up_only_its_address(stage: Stage) -> None:
    """It is set aside, with what follows about its address; the others go on, and it does later."""
    if not stage.can(Capability.REFUSES):
        return
    stage.receiver.refuse(poison=True)
    first = stage.append(("a", A, True), ("p", POISONOUS, True), ("b", B, True))
    delivery = stage.deliver()
    second = stage.append(("p", POISONOUS, False), ("c", C, True), ("p", POISONOUS, True))
    later = stage.deliver()

    assert (delivery.delivered, delivery.set_aside, delivery.trouble) == (2, 1, "")
    assert (later.delivered, later.set_aside, later.waiting) == (1, 2, 3)
    assert stage.receiver.hidden() == {A, B, C}
    assert stage.standing().lag == 3

    stage.receiver.refuse(poison=False)
    stage.world.clock.advance(hours=2)
    assert stage.deliver().waiting == 0
    assert stage.receiver.hidden() == {A, B, C, POISONOUS}
    if stage.can(Capability.RECEIVES):
        about = [first[1].id, second[0].id, second[2].id]
        assert [record for record in stage.ids() if record in about] == about


def test_an_erased_record_ends_what_it_hid(stage: Stage) -> None:
    """Whoever hides because of a record whose end was erased shows the address again."""
    first, _ = stage.append(("a", A, True), ("b", B, True))
    stage.deliver()
    gone = stage.append(("a", A, False), supersedes=first.id)
    gone += stage.append(("d", D, True), ("d", D, False))
    stage.world.delist.erase_records(
        [1, *(record.sequence for record in gone)], actor="Robin", reason="by law", at_once=True
    )
    stage.append(("c", C, True))

    assert stage.deliver().delivered == 4
    assert stage.receiver.hidden() == {B, C}
    if stage.can(Capability.RECEIVES):
        *_, left, _ = stage.receiver.received()
        SCHEMA.validate(left)
        assert (left["erased"], left["url_key"], left["document_id"]) == (True, "", "")
        assert not SCHEMA.is_valid(left | {"suppressed": True, "because": left["id"]})


def test_a_receiver_learns_no_more_than_it_needs(stage: Stage) -> None:
    """Of a real case: no feed, no case, no signal, no digest, no distance, and no address."""
    near = digest_of("near")
    world = stage.world
    world.offer(near, cases={"reference-of-a-person": "Active"})
    world.visit(A, image_near({near: 17}), document_id=IDS[A], page_urls=("https://page.example/",))
    world.take_in()
    case = world.case_of(A)
    stage.deliver()
    traces = stage.receiver.traces()

    assert stage.receiver.hidden() == {A}
    record = world.ledger()[-1]
    secret = [
        *(FEED, "reference-of-a-person", case.id, near.hex(), record.basis.signal, "page.example"),
        *(record.commitment, record.hash, record.content_sha256, record.reason_code, "upright"),
        ConsumerKey.load(stage.data_dir, NAME).secret.hex(),
    ]
    assert record.basis.distance_bits == 17
    assert "distance" not in traces
    if stage.can(Capability.KEYED):
        secret.append("site.example")
        assert IDS[A] in traces
    assert [word for word in secret if word in traces] == []
