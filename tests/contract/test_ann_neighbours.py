"""The index of few signals for many queries finds what comparing everything with everything finds.

The contract of all indexes is in ``test_ann.py``; here is what is special to this one: its
three forms (compared with all, with bitmaps, without), groups of every size, long streams, and
room that fills up.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.ann import NeighbourIndex
from indexer.ann.mih_arrays import BANDS
from indexer.ann.neighbour_arrays import (
    BITMAPS_UP_TO,
    COMPARED_UP_TO,
    LINE,
    LONG_FROM,
    MAX_SIGNALS,
    group_bits_for,
)
from indexer.ann.neighbours import load_kernels
from indexer.errors import InvalidDigestError
from indexer.ports import Digests, Found

RADII = (0, 1, 15, 16, 31)
FORMS = (COMPARED_UP_TO, COMPARED_UP_TO + 1, BITMAPS_UP_TO + 1)
"""Digests for each of the three forms."""

changes_of_group = [
    count for count in range(1, 40_000) if group_bits_for(count) != group_bits_for(count + 1)
]


@pytest.fixture(autouse=True, scope="module")
def _kernels() -> None:
    """Load them, so that no small look-up is left to the flat index."""
    load_kernels()


def in_order(rows: np.ndarray, positions: np.ndarray, distances: np.ndarray) -> Found:
    order = np.lexsort((positions, distances, rows))
    return (
        rows[order].astype(np.int64),
        positions[order].astype(np.int64),
        distances[order].astype(np.int32),
    )


def by_numpy(held: Digests, queries: Digests, threshold_bits: int) -> Found:
    distances = np.bitwise_count(queries[:, None] ^ held[None]).sum(axis=2, dtype=np.int32)
    rows, positions = np.nonzero(distances <= threshold_bits)
    return in_order(rows, positions, distances[rows, positions])


def by_faiss(held: Digests, queries: Digests, threshold_bits: int) -> Found:
    index = faiss.IndexBinaryFlat(256)
    index.add(np.ascontiguousarray(held))
    # faiss leaves the radius itself out.
    limits, distances, positions = index.range_search(queries, threshold_bits + 1)
    rows = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
    return in_order(rows, positions, distances)


def assert_same(found: Found, wanted: Found) -> None:
    assert [part.dtype for part in found] == [np.int64, np.int64, np.int32]
    for part, expected in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(part, expected)


def check(held: Digests, queries: Digests, *, radii: tuple[int, ...] = RADII) -> None:
    index = NeighbourIndex(held)
    assert len(index) == len(held)
    for threshold_bits in radii:
        wanted = by_faiss(held, queries, threshold_bits)
        if len(held) * len(queries) < 1_000_000:
            assert_same(wanted, by_numpy(held, queries, threshold_bits))
        assert_same(index.find(queries, threshold_bits=threshold_bits), wanted)


def random_digests(rng: np.random.Generator, count: int) -> Digests:
    return rng.integers(0, 256, (count, 32), dtype=np.uint8)


def flipped(rng: np.random.Generator, digests: Digests, most_bits: int) -> Digests:
    """Flip 0 to ``most_bits`` bits of each digest."""
    ranks = rng.random((len(digests), 256)).argsort(axis=1).argsort(axis=1)
    flips = ranks < rng.integers(0, most_bits + 1, (len(digests), 1))
    changed: Digests = digests ^ np.packbits(flips, axis=1)
    return changed


def with_others(rng: np.random.Generator, held: Digests, count: int) -> Digests:
    """Fill up to ``count`` digests, so that another form of the index is taken."""
    return np.concatenate([held, random_digests(rng, max(count - len(held), 0))])


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 400),
    centres=st.integers(1, 50),
    most_bits=st.sampled_from([0, 1, 16, 31, 32, 40, 256]),
    threshold_bits=st.integers(0, 31),
)
def test_random_and_clustered_sets(
    seed: int, count: int, centres: int, most_bits: int, threshold_bits: int
) -> None:
    """Whatever the set and the radius, all that is within is found, once, and nothing else."""
    rng = np.random.default_rng(seed)
    middle = random_digests(rng, centres)
    held = flipped(rng, middle[rng.integers(0, centres, count)], most_bits)
    queries = flipped(rng, middle[rng.integers(0, centres, 140)], most_bits)

    check(held, queries, radii=(threshold_bits, 31))


@pytest.mark.parametrize("count", FORMS)
@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    parts=st.lists(st.integers(0, BANDS), min_size=BANDS, max_size=BANDS),
)
def test_any_spread_of_differences_over_the_bands(count: int, seed: int, parts: list[int]) -> None:
    """However 31 and 32 differing bits lie in the bands, 31 match and 32 do not."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((BANDS, 16), np.uint8)
    for band, share in enumerate(parts):
        bits[band, rng.permutation(16)[:share]] = 1
    places = rng.permutation(np.flatnonzero(bits))
    query = random_digests(rng, 1)
    held = []
    for differing in (15, 16, 31, 32):
        mask = np.zeros(256, np.uint8)
        mask[places[:differing]] = 1
        held.append(query[0] ^ np.packbits(mask))

    check(with_others(rng, np.array(held), count), query, radii=(15, 30, 31))


@pytest.mark.parametrize(
    "count",
    sorted({
        *(0, 1, 2, COMPARED_UP_TO, COMPARED_UP_TO + 1, BITMAPS_UP_TO, BITMAPS_UP_TO + 1),
        *(LONG_FROM - 1, LONG_FROM, 3 * LONG_FROM),
        *(near for count in changes_of_group for near in (count, count + 1)),
    }),
)  # fmt: skip
def test_around_every_change_of_form(count: int) -> None:
    """Where bitmaps end or groups change, copies at every distance to 40 are found as before."""
    rng = np.random.default_rng(count)
    held = random_digests(rng, count)
    queries = flipped(rng, held[: min(count, 300)], 40)

    check(held, np.concatenate([queries, random_digests(rng, 20)]), radii=(16, 31))


@pytest.mark.parametrize("queries", [1, 7, 8, 9, 127, 128, 129, 257])
@pytest.mark.parametrize("count", FORMS)
def test_any_number_of_queries(count: int, queries: int) -> None:
    """Blocks of queries end where the queries do."""
    rng = np.random.default_rng(queries)
    held = random_digests(rng, count)

    check(held, flipped(rng, held[rng.integers(0, count, queries)], 34), radii=(31,))


@pytest.mark.parametrize("count", [5, COMPARED_UP_TO, 300, BITMAPS_UP_TO + 1])
def test_all_equal(count: int) -> None:
    """Equal digests all match a near query, more than any group or first room holds."""
    rng = np.random.default_rng(2)
    held = np.repeat(random_digests(rng, 1), count, axis=0)

    check(held, np.concatenate([flipped(rng, held[:5], 33), random_digests(rng, 3)]))


@pytest.mark.parametrize("count", FORMS)
def test_one_bit_apart(count: int) -> None:
    """A digest and its neighbours: every bit counts once."""
    rng = np.random.default_rng(3)
    bits = np.vstack([np.zeros(256, bool), np.eye(256, dtype=bool)])
    held = (random_digests(rng, 1) ^ np.packbits(bits, axis=1))[: max(count, 200)]

    check(with_others(rng, held, count), held[::8])


@pytest.mark.parametrize("band", [0, 7, 14, 15])
def test_65536_in_one_bucket(band: int) -> None:
    """One value of a band in 65,536 digests makes look-ups slower, not wrong."""
    rng = np.random.default_rng(band)
    held = random_digests(rng, 65_536)
    held[:, 2 * band : 2 * band + 2] = 7
    queries = np.concatenate([flipped(rng, held[:30], 33), random_digests(rng, 10)])

    check(held, queries)
    check(held[:4_000], queries)


def test_equal_but_for_one_band() -> None:
    """The reverse: digests that share all bands but one, so that every group is long."""
    rng = np.random.default_rng(4)
    held = np.repeat(random_digests(rng, 1), 3_000, axis=0)
    held[:, 4:6] = rng.integers(0, 256, (len(held), 2))

    check(held, flipped(rng, held[:20], 33))


@pytest.mark.parametrize("fill", [0x00, 0xFF])
@pytest.mark.parametrize("count", [COMPARED_UP_TO, *range(49, 49 + LINE), BITMAPS_UP_TO + 1])
def test_ends_of_the_arrays(count: int, fill: int) -> None:
    """The first and the last group, and what stands behind the last sketch, add no match."""
    held = np.full((count, 32), fill, np.uint8)
    queries = np.array([[0x00] * 32, [0xFF] * 32, [0x01] + [0x00] * 31], np.uint8)

    check(held, queries, radii=(0, 31))


@pytest.mark.parametrize("count", [10, 200, 6_000])
def test_a_long_stream_with_few_matches(count: int) -> None:
    """Rows count on through a stream longer than what goes through together; a match at its end."""
    rng = np.random.default_rng(5)
    held = random_digests(rng, count)
    queries = random_digests(rng, (1 << 20) + 77)
    places = np.array([0, 1, 127, 128, 500_000, (1 << 20) - 1, 1 << 20, len(queries) - 1])
    queries[places] = flipped(rng, held[:8], 31)

    rows, positions, distances = NeighbourIndex(held).find(queries, threshold_bits=31)

    assert_same(
        (rows, positions, distances),
        in_order(
            places,
            np.arange(8),
            np.bitwise_count(queries[places] ^ held[:8]).sum(axis=1),
        ),
    )


@pytest.mark.parametrize("count", [COMPARED_UP_TO, 500, BITMAPS_UP_TO + 1])
@pytest.mark.parametrize("repeated", [20, 300])
def test_matches_that_overflow_the_room(count: int, repeated: int) -> None:
    """Many matches, in one block of queries or over many, are all there when the room was small."""
    rng = np.random.default_rng(6)
    held = random_digests(rng, count)
    held[: min(repeated, count - 1)] = held[0]
    queries = np.concatenate([random_digests(rng, 700), np.repeat(held[:1], 900, axis=0)])

    check(held, rng.permutation(queries), radii=(0, 31))


@pytest.mark.parametrize("count", [30, 1_000, 6_000])
def test_threads_share_an_index(count: int) -> None:
    """Eight threads that look up at once, the first while it is built, get what one gets alone."""
    rng = np.random.default_rng(7)
    held = random_digests(rng, count)
    index, other = NeighbourIndex(held), NeighbourIndex(held)
    batches = [flipped(rng, np.resize(held, (900, 32)), 35) for _ in range(6)]
    alone = [other.find(batch, threshold_bits=31) for batch in batches]

    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda batch: index.find(batch, threshold_bits=31), batches * 8)
        for number, found in enumerate(together):
            assert_same(found, alone[number % len(batches)])


@pytest.mark.parametrize("count", FORMS)
@pytest.mark.parametrize("offset", [0, 1, 2, 4])
def test_queries_in_a_mapped_file(count: int, offset: int) -> None:
    """Read-only queries inside a longer message are read in place, wherever they start."""
    rng = np.random.default_rng(8)
    held = random_digests(rng, count)
    near = flipped(rng, held[:40], 33)
    queries = np.frombuffer(bytes(offset) + near.tobytes(), np.uint8, offset=offset)

    assert_same(
        NeighbourIndex(held).find(queries.reshape(-1, 32), threshold_bits=31),
        by_faiss(held, near, 31),
    )


@pytest.mark.parametrize("count", [100, 1_000, 6_000])
def test_layout(count: int) -> None:
    """Every digest stands once in its own group and once in each that is one high bit away."""
    held = random_digests(np.random.default_rng(9), count)
    arrays = NeighbourIndex(held).arrays
    bits = group_bits_for(count)
    groups, values = 1 << (16 - bits), held.view("<u2").astype(np.int64)

    assert bool(arrays.bitmaps.size) is (count <= BITMAPS_UP_TO)
    assert (arrays.starts[0], arrays.starts[-1]) == (0, BANDS * (17 - bits) * count)
    assert all(first <= second for first, second in pairwise(arrays.starts.tolist()))
    for band in range(BANDS):
        own = values[arrays.positions[band], band] >> bits
        np.testing.assert_array_equal(own, np.repeat(np.arange(groups), np.diff(arrays.own[band])))
        np.testing.assert_array_equal(np.sort(arrays.positions[band]), np.arange(count))
        sizes = np.bincount(values[:, band] >> bits, minlength=groups)
        wanted = sizes + sum(sizes[np.arange(groups) ^ 1 << bit] for bit in range(16 - bits))
        starts = arrays.starts[band * groups : (band + 1) * groups + 1].astype(np.int64)
        np.testing.assert_array_equal(np.diff(starts), wanted)


def test_no_queries() -> None:
    """No query has no match, and the types stay."""
    empty = np.empty((0, 32), np.uint8)

    for held in (empty, np.zeros((5, 32), np.uint8), np.zeros((100, 32), np.uint8)):
        found = NeighbourIndex(held).find(empty, threshold_bits=31)
        assert_same(found, (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)))


def test_more_than_it_can_hold_is_refused() -> None:
    """Too many digests are an error when it is made, not a wrong answer later."""
    many = np.broadcast_to(np.zeros(32, np.uint8), (MAX_SIGNALS + 1, 32))

    with pytest.raises(ValueError, match="one index holds up to"):
        NeighbourIndex(many)


@pytest.mark.parametrize("wrong", [np.zeros((2, 31), np.uint8), np.zeros((2, 32), np.int8)])
@pytest.mark.parametrize("count", FORMS)
def test_other_shapes_and_types_are_refused(count: int, wrong: Digests) -> None:
    """Only uint8[n, 32] are digests, in every form."""
    with pytest.raises(InvalidDigestError):
        NeighbourIndex(np.zeros((count, 32), np.uint8)).find(wrong, threshold_bits=31)


@pytest.mark.parametrize("count", [0, 10, 1_999, 2_000])
def test_probable_look_ups(count: int) -> None:
    """Beyond 31 bits what is found is right, and what is near is all there."""
    rng = np.random.default_rng(10)
    held = random_digests(rng, count)
    queries = np.concatenate([flipped(rng, held[:50], 60), random_digests(rng, 5)])
    index = NeighbourIndex(held)

    found = index.find_probable(queries, threshold_bits=50)

    wanted = set(zip(*(part.tolist() for part in by_numpy(held, queries, 50)), strict=True))
    assert set(zip(*(part.tolist() for part in found), strict=True)) <= wanted
    near = found[2] <= 31
    assert_same((found[0][near], found[1][near], found[2][near]), by_numpy(held, queries, 31))
    assert index.meeting_probability(31) == 1.0
    assert 0 < index.meeting_probability(50) <= 1.0


def test_little_needs_no_kernels() -> None:
    """A process that asks little of few digests does not load numba; the answers are the same."""
    code = """if True:
        import sys
        import numpy as np
        from indexer.ann import choose_index
        digests = np.random.default_rng(1).integers(0, 256, (500, 32), dtype=np.uint8)
        index = choose_index(digests)
        little = index.find(digests[:20], threshold_bits=31)
        assert "numba" not in sys.modules
        for _ in range(30):  # each little, together much
            much = index.find(np.tile(digests, (20, 1)), threshold_bits=31)
        assert "numba" in sys.modules
        assert (much[1].reshape(20, 500) == np.arange(500)).all()
        assert all((part == other[:20]).all() for part, other in zip(little, much))
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
