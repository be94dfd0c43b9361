"""The multi-index finds what NumPy and faiss find by comparing everything with everything."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.ann import MihIndex, NeighbourIndex, choose_index
from indexer.ann.mih import MAX_THRESHOLD_BITS, find_in
from indexer.ann.mih_arrays import BANDS, BUCKETS, LANES, MihArrays, build_arrays
from indexer.errors import InvalidDigestError
from indexer.ports import Digests, Found

RADII = (0, 1, 15, 16, 31)
MANY = 700
"""Queries enough for the kernel that walks whole bands; fewer go one by one."""


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


def in_order(rows: np.ndarray, positions: np.ndarray, distances: np.ndarray) -> Found:
    order = np.lexsort((positions, distances, rows))
    return (
        rows[order].astype(np.int64),
        positions[order].astype(np.int64),
        distances[order].astype(np.int32),
    )


def assert_same(found: Found, wanted: Found) -> None:
    assert [part.dtype for part in found] == [np.int64, np.int64, np.int32]
    for part, expected in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(part, expected)


def check(held: Digests, queries: Digests, *, radii: tuple[int, ...] = RADII) -> None:
    """Compare at several radii, with few queries and, the same repeated, with many."""
    index = MihIndex(held)
    assert len(index) == len(held)
    repeated = np.tile(queries, (-(-MANY // len(queries)), 1))
    for threshold_bits in radii:
        wanted = by_faiss(held, queries, threshold_bits)
        if len(held) * len(queries) < 1_000_000:
            assert_same(wanted, by_numpy(held, queries, threshold_bits))
        assert_same(index.find(queries, threshold_bits=threshold_bits), wanted)
        assert_same(
            index.find(repeated, threshold_bits=threshold_bits),
            by_faiss(held, repeated, threshold_bits),
        )


def random_digests(rng: np.random.Generator, count: int) -> Digests:
    return rng.integers(0, 256, (count, 32), dtype=np.uint8)


def flipped(rng: np.random.Generator, digests: Digests, most_bits: int) -> Digests:
    """Flip 0 to ``most_bits`` bits of each digest."""
    ranks = rng.random((len(digests), 256)).argsort(axis=1).argsort(axis=1)
    flips = ranks < rng.integers(0, most_bits + 1, (len(digests), 1))
    changed: Digests = digests ^ np.packbits(flips, axis=1)
    return changed


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 400),
    centres=st.integers(1, 50),
    most_bits=st.sampled_from([0, 1, 16, 31, 32, 40, 256]),
)
def test_random_and_clustered_sets(seed: int, count: int, centres: int, most_bits: int) -> None:
    """Whatever the set, all that is within the radius is found, once, and nothing else."""
    rng = np.random.default_rng(seed)
    middle = random_digests(rng, centres)
    held = flipped(rng, middle[rng.integers(0, centres, count)], most_bits)

    check(held, flipped(rng, middle[rng.integers(0, centres, 12)], most_bits))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    parts=st.lists(st.integers(0, BANDS), min_size=BANDS, max_size=BANDS),
)
def test_any_spread_of_differences_over_the_bands(seed: int, parts: list[int]) -> None:
    """However 31 and 32 differing bits lie in the bands, 31 match and 32 do not."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((BANDS, 16), np.uint8)
    for band, share in enumerate(parts):
        bits[band, rng.permutation(16)[:share]] = 1
    places = rng.permutation(np.flatnonzero(bits))
    query = random_digests(rng, 1)
    held = []
    for count in (31, 32):
        mask = np.zeros(256, np.uint8)
        mask[places[:count]] = 1
        held.append(query[0] ^ np.packbits(mask))

    check(np.array(held), query, radii=(15, 30, 31))


def test_real_scale_of_neighbours() -> None:
    """Among 100,000, a query at each distance from 0 to 40 is found exactly up to the radius."""
    rng = np.random.default_rng(1)
    held = random_digests(rng, 100_000)
    queries = flipped(rng, held[:600], 40)

    check(held, queries, radii=(*RADII, 30))


def test_all_equal() -> None:
    """All of 5,000 equal digests match a near query: more than any first guess of room."""
    rng = np.random.default_rng(2)
    held = np.repeat(random_digests(rng, 1), 5_000, axis=0)

    check(held, np.concatenate([flipped(rng, held[:20], 33), random_digests(rng, 3)]))


def test_one_bit_apart() -> None:
    """A digest and its 256 neighbours: every bit counts once."""
    base = random_digests(np.random.default_rng(3), 1)
    held = base ^ np.packbits(np.vstack([np.zeros(256, bool), np.eye(256, dtype=bool)]), axis=1)

    check(held, held[::8])


@pytest.mark.parametrize("band", [0, 7, 14, 15])
def test_65536_in_one_bucket(band: int) -> None:
    """One value of a band in 65,536 digests makes look-ups slower, not wrong."""
    rng = np.random.default_rng(band)
    held = random_digests(rng, 65_536)
    held[:, 2 * band : 2 * band + 2] = 7
    queries = np.concatenate([flipped(rng, held[:30], 33), random_digests(rng, 10)])

    check(held, queries)


def test_equal_but_for_one_band() -> None:
    """The reverse: 65,536 digests that share all bands but one, so that every bucket is long."""
    rng = np.random.default_rng(4)
    held = np.repeat(random_digests(rng, 1), 65_536, axis=0)
    held[:, 10:12] = np.arange(65_536, dtype="<u2").view(np.uint8).reshape(-1, 2)
    queries = held[rng.integers(0, 65_536, 3)] ^ np.packbits(
        np.arange(256) % 8 == 0
    )  # two bits in every band: 32 in all, one too many but for the free band

    check(held, queries, radii=(0, 15, 31))
    check(held[:2_000], flipped(rng, held[:10], 33))


@pytest.mark.parametrize("count", [0, 1, LANES - 1, LANES, LANES + 1])
@pytest.mark.parametrize("fill", [0x00, 0xFF])
def test_ends_of_the_arrays(count: int, fill: int) -> None:
    """The first and the last bucket, and what stands behind the last sketch, add no match."""
    held = np.full((count, 32), fill, np.uint8)
    queries = np.array([[0x00] * 32, [0xFF] * 32, [0x01] + [0x00] * 31], np.uint8)

    check(held, queries)


def test_no_queries() -> None:
    """No query has no match, and the types stay."""
    empty = np.empty((0, 32), np.uint8)

    for found in (
        MihIndex(empty).find(empty, threshold_bits=31),
        MihIndex(np.zeros((5, 32), np.uint8)).find(empty, threshold_bits=31),
    ):
        assert_same(found, (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)))


def test_more_queries_than_go_together() -> None:
    """Rows count on from one chunk of queries to the next."""
    rng = np.random.default_rng(5)
    held = random_digests(rng, 300)
    queries = random_digests(rng, 40_000)
    queries[::997] = held[: len(queries[::997])]

    assert_same(
        MihIndex(held).find(queries, threshold_bits=31), by_faiss(held, queries, threshold_bits=31)
    )


def test_threads_share_an_index() -> None:
    """Eight threads that look up at once get what one gets alone."""
    rng = np.random.default_rng(6)
    held = random_digests(rng, 20_000)
    index = MihIndex(held)
    batches = [flipped(rng, held[first : first + 900], 35) for first in range(0, 14_400, 900)]
    alone = [index.find(batch, threshold_bits=31) for batch in batches]

    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda batch: index.find(batch, threshold_bits=31), batches * 4)
        for number, found in enumerate(together):
            assert_same(found, alone[number % len(batches)])


def test_arrays_of_a_mapped_file() -> None:
    """Read-only arrays and queries, as from a mapped file or a message, are taken as they are."""
    rng = np.random.default_rng(7)
    held = random_digests(rng, 3_000)
    built = build_arrays(held)
    parts = [
        np.frombuffer(part.tobytes(), part.dtype).reshape(part.shape)
        for part in (built.digests, built.starts, built.positions, built.sketches)
    ]
    queries = np.frombuffer(flipped(rng, held[:MANY], 35).tobytes(), np.uint8).reshape(-1, 32)

    for some in (queries[:5], queries):
        found = find_in(MihArrays(*parts), some, threshold_bits=31)
        assert_same(found, by_faiss(held, some, threshold_bits=31))


def test_queries_at_an_odd_address() -> None:
    """Queries inside a longer message are read wherever they start."""
    held = random_digests(np.random.default_rng(9), 10)
    queries = np.frombuffer(b"x" + held.tobytes(), np.uint8, offset=1).reshape(-1, 32)

    assert len(MihIndex(queries).find(queries, threshold_bits=0)[0]) == 10


def test_layout() -> None:
    """Every digest stands once in each band, in the bucket of its value, at most 400 bytes each."""
    held = random_digests(np.random.default_rng(8), 50_000)
    arrays = build_arrays(held)
    values = held.view("<u2")

    assert arrays.size_bytes <= 400 * len(held)
    for band in range(BANDS):
        starts, positions = arrays.starts[band].astype(np.int64), arrays.positions[band]
        assert (starts[0], starts[-1]) == (0, len(held))
        np.testing.assert_array_equal(
            values[positions, band], np.repeat(np.arange(BUCKETS), np.diff(starts))
        )
        np.testing.assert_array_equal(np.sort(positions), np.arange(len(held)))
        assert all(
            low < high
            for low, high in pairwise(positions[: starts[values[0, band] + 1]])
            if values[low, band] == values[high, band]
        )


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 31), np.uint8),
        np.zeros(32, np.uint8),
        np.zeros((1, 2, 32), np.uint8),
        np.zeros((2, 32), np.int8),
        np.zeros((2, 4), np.uint64),
        np.zeros((2, 32), np.float64),
    ],
)
def test_other_shapes_and_types_are_refused(wrong: Digests) -> None:
    """Only uint8[n, 32] are digests, in the index and in a query."""
    with pytest.raises(InvalidDigestError):
        MihIndex(wrong)
    with pytest.raises(InvalidDigestError):
        MihIndex(np.zeros((1, 32), np.uint8)).find(wrong, threshold_bits=31)
    with pytest.raises(InvalidDigestError):
        choose_index(wrong)


@pytest.mark.parametrize("threshold_bits", [-1, MAX_THRESHOLD_BITS + 1, 256])
def test_a_threshold_that_would_not_be_exact_is_refused(threshold_bits: int) -> None:
    """Beyond 31 bits a match could be missed, so it is an error and not an answer."""
    index = MihIndex(np.zeros((1, 32), np.uint8))

    with pytest.raises(ValueError, match="threshold_bits is 0 to 31"):
        index.find(np.zeros((1, 32), np.uint8), threshold_bits=threshold_bits)


@pytest.mark.parametrize(
    ("count", "kind"), [(0, NeighbourIndex), (30_000, NeighbourIndex), (30_001, MihIndex)]
)
def test_the_index_is_chosen_by_the_number_of_digests(count: int, kind: type) -> None:
    """Up to 30,000 digests stand with their neighbours; of more, queries look for those."""
    assert type(choose_index(np.zeros((count, 32), np.uint8))) is kind
