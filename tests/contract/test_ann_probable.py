"""Probable look-ups, on every index: all up to 31 bits, what was promised beyond, nothing wrong."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.ann import FlatIndex, MihIndex
from indexer.ann.generation import map_generation, write_generation
from indexer.ann.mih_arrays import BANDS
from indexer.ann.probable import limit_bits, meeting_probability
from indexer.errors import InvalidDigestError
from indexer.model import DIGEST_BITS, DIGEST_BYTES
from indexer.ports import MAX_PROBABLE_BITS, AnnIndex, Digests, Found

EXACT = 31
RADII = (0, 15, EXACT, 32, 40, 44, 60, MAX_PROBABLE_BITS)
MANY = 600
"""Queries enough for the kernel that walks whole bands; fewer go one by one."""

MakeIndex = Callable[[Digests], AnnIndex]


def mapped(held: Digests) -> AnnIndex:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "signals-1.idx"
        write_generation(path, held, {}, version=1)
        return map_generation(path)


indexes = pytest.mark.parametrize("make_index", [FlatIndex, MihIndex, mapped])
multi_indexes = pytest.mark.parametrize("make_index", [MihIndex, mapped])


def random_digests(rng: np.random.Generator, count: int) -> Digests:
    return rng.integers(0, 256, (count, DIGEST_BYTES), dtype=np.uint8)


def masks(rng: np.random.Generator, count: int, bits: int | NDArray[np.int64]) -> Digests:
    """Draw masks of so many bits, each place as likely as any other."""
    ranks = rng.random((count, DIGEST_BITS), np.float32).argsort(axis=1).argsort(axis=1)
    return np.packbits(ranks < np.reshape(bits, (-1, 1)), axis=1)


def differing(held: Digests, queries: Digests) -> NDArray[np.uint8]:
    """Count the bits in which each band of each pair differs, uint8[queries, held, 16]."""
    bits = np.bitwise_count(queries[:, None] ^ held[None])
    counts: NDArray[np.uint8] = bits.reshape(len(queries), len(held), BANDS, 2).sum(
        axis=3, dtype=np.uint8
    )
    return counts


def is_met(bands: NDArray[np.uint8], limit: int) -> NDArray[np.bool_]:
    """Say of pairs, given as ``differing`` counts, which the multi-index promises to meet."""
    three = bands + np.roll(bands, -1, axis=-1) + np.roll(bands, -2, axis=-1)
    met: NDArray[np.bool_] = ((bands <= 1) & (three <= limit)).any(axis=-1)
    return met


def in_order(rows: NDArray[np.int64], positions: NDArray[np.int64], distances: object) -> Found:
    bits = np.asarray(distances)[rows, positions].astype(np.int32)
    order = np.lexsort((positions, bits, rows))
    return rows[order].astype(np.int64), positions[order].astype(np.int64), bits[order]


def expected(held: Digests, queries: Digests, threshold_bits: int, *, flat: bool) -> Found:
    """Say what an index finds, by comparing everything with everything."""
    bands = differing(held, queries)
    distances = bands.sum(axis=2, dtype=np.int32)
    wanted = distances <= threshold_bits
    if threshold_bits > EXACT and not flat:
        wanted &= is_met(bands, limit_bits(threshold_bits))
        assert wanted[distances <= EXACT].all()
    return in_order(*np.nonzero(wanted), distances)


def assert_same(found: Found, wanted: Found) -> None:
    assert [part.dtype for part in found] == [np.int64, np.int64, np.int32]
    for part, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(part, other)


def check(make_index: MakeIndex, held: Digests, queries: Digests) -> None:
    """Compare with brute force at several thresholds, with few queries and with many."""
    index = make_index(held)
    again = -(-MANY // len(queries))
    for threshold_bits in RADII:
        wanted = expected(held, queries, threshold_bits, flat=make_index is FlatIndex)
        assert_same(index.find_probable(queries, threshold_bits=threshold_bits), wanted)
        rows, positions, distances = wanted
        shifts = np.repeat(np.arange(again) * len(queries), len(rows))
        repeated = (np.tile(rows, again) + shifts, np.tile(positions, again))
        assert_same(
            index.find_probable(np.tile(queries, (again, 1)), threshold_bits=threshold_bits),
            (*repeated, np.tile(distances, again)),
        )


@indexes
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 120),
    centres=st.integers(1, 20),
    most_bits=st.sampled_from([1, 31, 36, 50, 80, 120]),
)
def test_it_finds_what_is_promised_and_nothing_else(
    make_index: MakeIndex, seed: int, count: int, centres: int, most_bits: int
) -> None:
    """Every pair within 31 bits and every far one with a near band: once, with its distance."""
    rng = np.random.default_rng(seed)
    middle = random_digests(rng, centres)

    def near(some: int) -> Digests:
        bits = rng.integers(0, most_bits + 1, some)
        changed: Digests = middle[rng.integers(0, centres, some)] ^ masks(rng, some, bits)
        return changed

    check(make_index, near(count), near(7))


@indexes
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    parts=st.lists(st.integers(0, 6), min_size=BANDS, max_size=BANDS),
)
def test_any_spread_of_differences_over_the_bands(
    make_index: MakeIndex, seed: int, parts: list[int]
) -> None:
    """However the differing bits lie in the bands, all bands that meet a pair report it once."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((BANDS, 16), np.uint8)
    for band, share in enumerate(parts):
        bits[band, rng.permutation(16)[:share]] = 1
    query = random_digests(rng, 1)

    check(make_index, query ^ np.packbits(bits), query)


@indexes
def test_many_equal_digests_far_away(make_index: MakeIndex) -> None:
    """3,000 equal digests at 40 bits: more than any first guess of room, each reported once."""
    rng = np.random.default_rng(1)
    query = random_digests(rng, 1)
    held = np.repeat(query ^ masks(rng, 1, 40), 3_000, axis=0)
    found = make_index(held).find_probable(query, threshold_bits=60)

    assert_same(found, (np.zeros(3_000, np.int64), np.arange(3_000), np.full(3_000, 40, np.int32)))


@multi_indexes
def test_a_higher_threshold_loses_nothing(make_index: MakeIndex) -> None:
    """What a low threshold meets, every higher one meets too: so 'at least' holds."""
    rng = np.random.default_rng(2)
    held = random_digests(rng, 3_000)
    index = make_index(held)
    queries = held ^ masks(rng, len(held), rng.integers(30, 90, len(held)))
    pairs: set[tuple[int, int]] = set()
    for threshold_bits in range(MAX_PROBABLE_BITS + 1):
        rows, positions, _ = index.find_probable(queries, threshold_bits=threshold_bits)
        more = set(zip(rows.tolist(), positions.tolist(), strict=True))
        assert pairs <= more
        pairs = more


@indexes
@pytest.mark.parametrize("bits", [EXACT, 32, 36, 40, 44, 52, 60, 70, MAX_PROBABLE_BITS])
def test_planted_pairs_are_met_as_often_as_stated(make_index: MakeIndex, bits: int) -> None:
    """Of 20,000 signals, each asked for with so many bits flipped, the stated share is found."""
    rng = np.random.default_rng(bits)
    held = random_digests(rng, 20_000)
    index = make_index(held)
    asked = held[: 2_000 if make_index is FlatIndex else None]
    rows, positions, distances = index.find_probable(
        asked ^ masks(rng, len(asked), bits), threshold_bits=bits
    )
    share = (rows == positions).mean() * len(rows) / len(asked)
    stated = index.meeting_probability(bits)

    assert (distances[rows == positions] == bits).all()
    if stated == 1:
        assert share == 1
    else:
        assert share == pytest.approx(stated, abs=4.5 * (stated * (1 - stated) / 20_000) ** 0.5)


@pytest.mark.parametrize("bits", [33, 38, 42, 48, 56, 66, 76])
def test_the_stated_probability_is_that_of_uniform_flips(bits: int) -> None:
    """A simulation over 40,000 masks that knows only the rule comes to the same share."""
    drawn = masks(np.random.default_rng(bits), 40_000, bits)
    zero = np.zeros((1, DIGEST_BYTES), np.uint8)
    share = is_met(differing(zero, drawn)[:, 0], limit_bits(bits)).mean()
    stated = meeting_probability(bits)

    assert share == pytest.approx(stated, abs=4.5 * (stated * (1 - stated) / 40_000) ** 0.5 + 1e-4)


@multi_indexes
def test_what_the_deep_tier_counts_on(make_index: MakeIndex) -> None:
    """Sure up to 31 bits, 0.99 at 44, and never more for a pair that is farther."""
    index = make_index(np.zeros((1, DIGEST_BYTES), np.uint8))
    stated = [index.meeting_probability(bits) for bits in range(MAX_PROBABLE_BITS + 1)]

    assert stated[: EXACT + 1] == [1.0] * (EXACT + 1)
    assert stated == sorted(stated, reverse=True)
    assert stated[40] > 0.999
    assert stated[44] > 0.99
    assert stated[60] > 0.74
    assert stated[70] > 0.45


def test_a_flat_index_misses_nothing() -> None:
    """What compares everything meets everything, and says so."""
    index = FlatIndex(np.zeros((1, DIGEST_BYTES), np.uint8))

    assert {index.meeting_probability(bits) for bits in range(MAX_PROBABLE_BITS + 1)} == {1.0}


@indexes
def test_nothing_held_or_asked(make_index: MakeIndex) -> None:
    """No signal or no query: no match, and the types stay."""
    empty = np.empty((0, DIGEST_BYTES), np.uint8)
    some = np.zeros((3, DIGEST_BYTES), np.uint8)
    none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))

    for held, queries in ((empty, some), (some, empty), (empty, empty)):
        assert_same(make_index(held).find_probable(queries, threshold_bits=60), none)


@indexes
@pytest.mark.parametrize("bits", [-1, MAX_PROBABLE_BITS + 1, 256])
def test_what_lies_out_of_reach_is_refused(make_index: MakeIndex, bits: int) -> None:
    """Neither a threshold nor a distance may lie outside 0 to 80 bits."""
    index = make_index(np.zeros((1, DIGEST_BYTES), np.uint8))

    with pytest.raises(ValueError, match="0 to 80"):
        index.find_probable(np.zeros((1, DIGEST_BYTES), np.uint8), threshold_bits=bits)
    with pytest.raises(ValueError, match="0 to 80"):
        index.meeting_probability(bits)


@indexes
def test_other_shapes_are_refused(make_index: MakeIndex) -> None:
    """Only uint8[n, 32] are digests."""
    index = make_index(np.zeros((1, DIGEST_BYTES), np.uint8))

    with pytest.raises(InvalidDigestError):
        index.find_probable(np.zeros((1, 31), np.uint8), threshold_bits=44)
