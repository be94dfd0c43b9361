"""Probable look-ups over base and delta, and through the public ``Indexer``."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer import Indexer
from indexer.ann import FlatIndex, MihIndex
from indexer.errors import InvalidDigestError
from indexer.ports import MAX_PROBABLE_BITS, Digests
from indexer.store import Store
from indexer.view import SignalView, SignalViews
from tests.fakes.signals import (
    NOW,
    SETTINGS,
    InMemory,
    add_signals,
    flip,
    key_of,
    make_digest,
    make_record,
    sync,
    withdraw,
)

BASE, DELTA = range(30), range(30, 36)
FAR_BITS = (0, 31, 32, 44, 60, MAX_PROBABLE_BITS, MAX_PROBABLE_BITS + 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data", SETTINGS) as opened:
        yield opened


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Indexer]:
    with Indexer.open(data_dir=tmp_path / "data") as held:
        yield held


def view_of(store: Store, folder: Path, *, delta: type[FlatIndex | MihIndex]) -> SignalView:
    """View a mapped generation and a delta of that kind in memory."""
    add_signals(store, map(make_digest, BASE))
    SignalViews(store, InMemory(delta), folder, publish_from=1).publish_if_due(now=NOW)
    add_signals(store, map(make_digest, DELTA))
    view = SignalViews(store, InMemory(delta), folder, publish_from=1).newest()
    assert [len(part.index) for part in view.parts] == [len(BASE), len(DELTA)]
    return view


def as_queries(digests: list[bytes]) -> Digests:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)


@pytest.mark.parametrize("delta", [FlatIndex, MihIndex])
@pytest.mark.parametrize("threshold_bits", [0, 31, 32, 44, 60, MAX_PROBABLE_BITS])
def test_base_and_delta_answer_together(
    store: Store, tmp_path: Path, delta: type[FlatIndex | MihIndex], threshold_bits: int
) -> None:
    """Signals of both parts, with their keys, by row and then by distance; none too far."""
    view = view_of(store, tmp_path / "index", delta=delta)
    # The lowest bits differ: whole bands are equal, so no multi-index can miss these.
    asked = [(seed, bits) for seed in (2, 33) for bits in FAR_BITS]
    queries = as_queries([flip(make_digest(seed), bits) for seed, bits in asked])
    rows, keys, distances = view.find_probable(queries, threshold_bits=threshold_bits)

    found = [
        (row, key_of(store, make_digest(seed)), bits)
        for row, (seed, bits) in enumerate(asked)
        if bits <= threshold_bits
    ]
    assert found == [
        (row, key.tobytes(), bits)
        for row, key, bits in zip(rows.tolist(), keys, distances.tolist(), strict=True)
    ]


def test_a_signal_that_came_back_is_found_once(store: Store, tmp_path: Path) -> None:
    """A signal that base and delta both hold, as it was withdrawn between, is one match."""
    view_of(store, tmp_path / "index", delta=MihIndex)
    withdraw(store, make_digest(3), at=5_000)
    sync(store, [make_record(make_digest(3), modified_at=6_000)])
    view = SignalViews(store, InMemory(MihIndex), tmp_path / "index", publish_from=1).newest()
    queries = as_queries([flip(make_digest(3), 40)])

    hits = [part.index.find_probable(queries, threshold_bits=44)[2].tolist() for part in view.parts]
    assert hits == [[40], [40]]
    rows, keys, distances = view.find_probable(queries, threshold_bits=44)
    assert (rows.tolist(), distances.tolist()) == ([0], [40])
    assert keys[0].tobytes() == key_of(store, make_digest(3))


def test_up_to_31_bits_it_is_the_exact_look_up(store: Store, tmp_path: Path) -> None:
    """Within 31 bits ``find`` and ``find_probable`` say the same, in the same order."""
    view = view_of(store, tmp_path / "index", delta=MihIndex)
    queries = as_queries([flip(make_digest(seed), seed) for seed in range(36)])

    exact = view.find(queries, threshold_bits=31)
    for some, other in zip(exact, view.find_probable(queries, threshold_bits=31), strict=True):
        np.testing.assert_array_equal(some, other)
    assert len(exact[0]) == 32


def test_the_weakest_part_states_the_probability(store: Store, tmp_path: Path) -> None:
    """A flat delta misses nothing, but the base may: the lower of both holds."""
    view = view_of(store, tmp_path / "index", delta=FlatIndex)

    assert view.meeting_probability(31) == 1.0
    assert view.meeting_probability(60) == view.parts[0].index.meeting_probability(60) < 0.8
    assert view.parts[1].index.meeting_probability(60) == 1.0


def test_near_digests_of_the_indexer(opened: Indexer) -> None:
    """``near_digests``: hundreds of guesses in one batch; only signals that are live now."""
    held = [make_digest(seed) for seed in range(4)]
    add_signals(opened.store, held)
    asked = [flip(held[seed % 4], seed % 90) for seed in range(400)]
    before = opened.near_digests(as_queries(asked), threshold_bits=60)
    withdraw(opened.store, held[1])
    rows, keys, distances = opened.near_digests(as_queries(asked), threshold_bits=60)

    def wanted(seeds: set[int]) -> list[int]:
        return [seed for seed in range(400) if seed % 4 in seeds and seed % 90 <= 60]

    assert before[0].tolist() == wanted({0, 1, 2, 3})
    assert rows.tolist() == wanted({0, 2, 3})
    assert distances.tolist() == [row % 90 for row in rows]
    assert [key.tobytes() for key in keys] == [key_of(opened.store, held[row % 4]) for row in rows]


def test_near_digests_say_how_probable_they_are(opened: Indexer) -> None:
    """The indexer states the probability of the view that it asks."""
    assert opened.near_probability(31) == 1.0
    assert opened.near_probability(60) == 1.0  # few signals: every pair is compared


def test_nothing_asked_or_held(opened: Indexer) -> None:
    """No signals, no queries: empty answers of the right shape."""
    for count in (0, 3):
        queries = np.zeros((count, 32), np.uint8)
        rows, keys, distances = opened.near_digests(queries, threshold_bits=60)
        assert (rows.shape, keys.shape, distances.shape) == ((0,), (0, 16), (0,))


@pytest.mark.parametrize("bits", [-1, MAX_PROBABLE_BITS + 1])
def test_what_cannot_be_asked(opened: Indexer, bits: int) -> None:
    """Thresholds and distances out of reach, and other shapes, are errors."""
    with pytest.raises(ValueError, match="0 to 80"):
        opened.near_digests(np.zeros((1, 32), np.uint8), threshold_bits=bits)
    with pytest.raises(ValueError, match="0 to 80"):
        opened.near_probability(bits)
    with pytest.raises(InvalidDigestError):
        opened.near_digests(np.zeros((1, 31), np.uint8), threshold_bits=44)
