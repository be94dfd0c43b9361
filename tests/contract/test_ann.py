"""The contract of ``ports.AnnIndex``, on every index: exactly what brute force finds."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.ann import FlatIndex, MihIndex, NeighbourIndex
from indexer.ann.neighbours import load_kernels
from indexer.errors import InvalidDigestError
from indexer.model import DIGEST_BITS, DIGEST_BYTES
from indexer.ports import AnnIndex, Digests, Found

MakeIndex = Callable[[Digests], AnnIndex]
RADII = (0, 1, 15, 16, 31)
EXACT_TO_31 = [MihIndex, NeighbourIndex]
indexes = pytest.mark.parametrize("make_index", [FlatIndex, *EXACT_TO_31])


@pytest.fixture(autouse=True, scope="module")
def _kernels() -> None:
    """Load them, so that no small look-up is left to the flat index."""
    load_kernels()


def brute_force(held: Digests, queries: Digests, threshold_bits: int) -> Found:
    """Compare every query with every digest, by row, then distance, then position."""
    distances = np.bitwise_count(queries[:, None, :] ^ held[None, :, :]).sum(axis=2, dtype=np.int32)
    rows, positions = np.nonzero(distances <= threshold_bits)
    order = np.lexsort((positions, distances[rows, positions], rows))
    rows, positions = rows[order], positions[order]
    return rows.astype(np.int64), positions.astype(np.int64), distances[rows, positions]


def as_digests(digests: list[bytes]) -> Digests:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def flipped(digest: bytes, positions: frozenset[int]) -> bytes:
    number = int.from_bytes(digest)
    for position in positions:
        number ^= 1 << position
    return number.to_bytes(DIGEST_BYTES)


def random_digests(rng: np.random.Generator, count: int) -> Digests:
    return rng.integers(0, 256, (count, DIGEST_BYTES), dtype=np.uint8)


def scattered(rng: np.random.Generator, digest: NDArray[np.uint8], bits: int) -> Digests:
    """Change that many bits of a digest, anywhere."""
    mask = np.zeros(DIGEST_BITS, np.uint8)
    mask[rng.choice(DIGEST_BITS, bits, replace=False)] = 1
    changed: Digests = digest ^ np.packbits(mask)
    return changed


def check(make_index: MakeIndex, held: Digests, queries: Digests) -> None:
    """Compare an index with brute force at every radius: rows, positions, distances, order."""
    index = make_index(held)
    assert len(index) == len(held)
    for threshold_bits in RADII:
        found = index.find(queries, threshold_bits=threshold_bits)
        expected = brute_force(held, queries, threshold_bits)
        assert [part.dtype for part in found] == [np.int64, np.int64, np.int32]
        for part, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, wanted)


corners = st.sampled_from([bytes(32), b"\xff" * 32, b"\x80" + bytes(31), bytes(31) + b"\x01"])
digests = st.one_of(corners, st.binary(min_size=32, max_size=32))
near = st.frozensets(st.integers(0, 255), max_size=33)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Digests, Digests]:
    """Draw held digests and queries around a few centres, most within reach of each other."""
    centres = draw(st.lists(digests, min_size=1, max_size=3))
    members = st.builds(flipped, st.sampled_from(centres), near)
    held = draw(st.lists(st.one_of(members, digests), max_size=20))
    queries = draw(st.lists(st.one_of(members, digests), max_size=8))
    return as_digests(held), as_digests(queries)


@indexes
@settings(deadline=None)
@given(clusters())
def test_it_finds_what_brute_force_finds(
    make_index: MakeIndex, sets: tuple[Digests, Digests]
) -> None:
    """Recall and precision are 1 at every radius, with equal distances in equal order."""
    check(make_index, *sets)


@indexes
@pytest.mark.parametrize("held", [0, 1, 2, 1000])
def test_random_sets(make_index: MakeIndex, held: int) -> None:
    """Sets from empty to a thousand, with copies of held digests at every distance to 33."""
    rng = np.random.default_rng(held)
    digests = random_digests(rng, held)
    planted = [
        scattered(rng, digests[bits * 7 % held], bits) for bits in range(34) if held
    ] or random_digests(rng, 3)

    check(make_index, digests, np.array(planted, np.uint8))


@indexes
def test_all_equal(make_index: MakeIndex) -> None:
    """Five hundred equal digests are five hundred matches, by position."""
    rng = np.random.default_rng(5)
    digest = random_digests(rng, 1)
    queries = np.array([scattered(rng, digest[0], bits) for bits in (0, 1, 15, 16, 31, 32)])

    check(make_index, np.repeat(digest, 500, axis=0), queries)


@indexes
def test_one_bit_apart(make_index: MakeIndex) -> None:
    """A digest and each of its 256 neighbours: every bit counts, wherever it lies."""
    bits = np.vstack([np.zeros(DIGEST_BITS, np.uint8), np.eye(DIGEST_BITS, dtype=np.uint8)])
    neighbours = np.packbits(bits, axis=1) ^ random_digests(np.random.default_rng(6), 1)

    check(make_index, neighbours, neighbours[::16])


@indexes
def test_differences_in_one_place(make_index: MakeIndex) -> None:
    """31 differing bits in one run match and 32 do not, wherever the run lies.

    An index over substrings has to find them when all differences fall into one.
    """
    base = random_digests(np.random.default_rng(7), 1)
    runs = []
    for start in range(0, DIGEST_BITS - 33, 3):
        for length in (15, 16, 17, 31, 32):
            mask = np.zeros(DIGEST_BITS, np.uint8)
            mask[start : start + length] = 1
            runs.append(base[0] ^ np.packbits(mask))

    check(make_index, np.array(runs, np.uint8), base)


@indexes
def test_differences_spread_evenly(make_index: MakeIndex) -> None:
    """31 differing bits spread over the digest match, 32 do not: the pigeon-hole's worst case."""
    base = random_digests(np.random.default_rng(8), 1)
    spread = []
    for shift in range(8):
        for count in (15, 16, 31, 32):
            mask = np.zeros(DIGEST_BITS, np.uint8)
            mask[(np.arange(count) * DIGEST_BITS // count + shift) % DIGEST_BITS] = 1
            spread.append(base[0] ^ np.packbits(mask))

    check(make_index, base, np.array(spread, np.uint8))


@indexes
def test_clusters_of_dense_neighbours(make_index: MakeIndex) -> None:
    """Many digests around few centres, all within twice the radius: long lists stay exact."""
    rng = np.random.default_rng(9)
    centres = random_digests(rng, 4)
    held = [scattered(rng, centres[number % 4], number % 33) for number in range(400)]
    queries = [scattered(rng, centres[number % 4], number % 33) for number in range(40)]

    check(make_index, np.array(held, np.uint8), np.array(queries, np.uint8))


@pytest.mark.parametrize("threshold_bits", [0, 32, 128, 255, 256])
def test_radii_up_to_all_bits(threshold_bits: int) -> None:
    """The flat index's threshold may be anything from 0 to 256; at 256 everything matches."""
    rng = np.random.default_rng(10)
    held, queries = random_digests(rng, 50), random_digests(rng, 5)
    queries[0] = ~held[0]

    found = FlatIndex(held).find(queries, threshold_bits=threshold_bits)

    for part, wanted in zip(found, brute_force(held, queries, threshold_bits), strict=True):
        np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("make_index", EXACT_TO_31)
@pytest.mark.parametrize("threshold_bits", [-1, 32, 256])
def test_radii_that_would_not_be_exact_are_refused(
    make_index: MakeIndex, threshold_bits: int
) -> None:
    """Where a look-up beyond 31 bits could miss a match it is an error, not an answer."""
    index = make_index(np.zeros((1, 32), np.uint8))

    for queries in (np.zeros((0, 32), np.uint8), np.zeros((1, 32), np.uint8)):
        with pytest.raises(ValueError, match="threshold_bits is 0 to 31"):
            index.find(queries, threshold_bits=threshold_bits)


@indexes
def test_the_index_does_not_change_with_what_it_was_built_from(make_index: MakeIndex) -> None:
    """What was indexed stays, also when the array it came from is overwritten."""
    rng = np.random.default_rng(11)
    held = random_digests(rng, 20)
    index = make_index(held)
    before = held.copy()
    held[:] = 0

    assert len(index.find(before, threshold_bits=0)[0]) == 20


@indexes
def test_views_of_any_stride_are_read(make_index: MakeIndex) -> None:
    """Read-only, reversed and strided arrays are taken as what they show."""
    rng = np.random.default_rng(12)
    wide = random_digests(rng, 40)
    held, queries = wide[::-2], np.asfortranarray(wide[:10])
    queries.flags.writeable = False

    check(make_index, held, queries)


@indexes
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 31), np.uint8),
        np.zeros((2, 33), np.uint8),
        np.zeros((2, 256), np.uint8),
        np.zeros(32, np.uint8),
        np.zeros((1, 2, 32), np.uint8),
        np.zeros((2, 32), np.int8),
        np.zeros((2, 32), np.uint16),
        np.zeros((2, 32), np.float64),
        np.zeros((2, 32), bool),
        np.zeros((0, 8), np.uint8),
        np.uint8(0),
        [bytes(32)],
        [[0] * 32],
        bytes(32),
        None,
    ],
    ids=lambda wrong: (
        f"{type(wrong).__name__}-{getattr(wrong, 'shape', '')}-{getattr(wrong, 'dtype', '')}"
    ),
)
def test_other_shapes_and_types_are_refused(make_index: MakeIndex, wrong: Digests) -> None:
    """Only uint8[n, 32] are digests; everything else is an error, never an empty answer."""
    index = make_index(np.zeros((1, 32), np.uint8))

    with pytest.raises(InvalidDigestError):
        index.find(wrong, threshold_bits=31)
    with pytest.raises(InvalidDigestError):
        make_index(wrong)
