"""From blocks to digests: the compiled inner loops of ``pdq``, which has formulas and sources.

Imported where an image is hashed, like ``kernels``.
"""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, expanded, inlined, kernel

Doubles = NDArray[np.float64]

_SIDE, _FREQUENCIES, _BITS = 64, 16, 256
_BYTES = _BITS // 8
_LOWER_MEDIAN = _BITS // 2 - 1
_HALVINGS = 10  # after which one to ten of 256 values are left, of a picture


@inlined
def _side_below(block: Doubles) -> int:
    """Say which side of the diagonal comes first: 1 below, -1 above, 0 where both are alike.

    Turning the block turns the answer: so one of the two can be chosen, and it is
    the same one whichever is given.
    """
    for y in range(_SIDE):
        for x in range(y):
            if block[y, x] != block[x, y]:
                return 1 if block[y, x] < block[x, y] else -1
    return 0


@expanded
def add_weighted(
    rows: Doubles,
    at: int,
    w: tuple[float, float, float, float, float, float, float, float],
    sums: Doubles,
    i: int,
) -> None:
    """Add eight weighted rows, the first at ``at``, to row ``i`` of sums, one after another.

    Each sum is loaded and stored once for eight. (Indices, not views: those are counted.)
    """
    for x in range(sums.shape[1]):
        half = sums[i, x] + w[0] * rows[at, x] + w[1] * rows[at + 1, x]
        half = half + w[2] * rows[at + 2, x] + w[3] * rows[at + 3, x]
        half = half + w[4] * rows[at + 4, x] + w[5] * rows[at + 5, x]
        sums[i, x] = half + w[6] * rows[at + 6, x] + w[7] * rows[at + 7, x]


@expanded
def eight_of(
    values: Doubles, i: int, j: int
) -> tuple[float, float, float, float, float, float, float, float]:
    """Take eight neighbours of row ``i``."""
    return (
        values[i, j], values[i, j + 1], values[i, j + 2], values[i, j + 3],
        values[i, j + 4], values[i, j + 5], values[i, j + 6], values[i, j + 7],
    )  # fmt: skip


@inlined
def frequencies_of(
    block: Doubles,
    cosines: Doubles,
    turned: bool,  # noqa: FBT001 - numba passes by position
    values: Doubles,
) -> None:
    """Take frequencies 1-16 of both axes of a block, or of the block turned over its diagonal.

    Each cosine is even or odd about the middle: half as many products.
    """
    half = _SIDE // 2
    folded, sums = np.empty((_SIDE, _SIDE)), np.zeros((_FREQUENCIES, _SIDE))
    weights = np.empty((_FREQUENCIES, half))
    for y in range(half):
        for x in range(_SIDE):
            upper = block[x, y] if turned else block[y, x]
            lower = block[x, _SIDE - 1 - y] if turned else block[_SIDE - 1 - y, x]
            folded[y, x], folded[half + y, x] = upper - lower, upper + lower
        for i in range(_FREQUENCIES):
            weights[i, y] = cosines[y, i]
    for i in range(_FREQUENCIES):
        for y in range(0, half, 8):
            add_weighted(folded, half * (i & 1) + y, eight_of(weights, i, y), sums, i)
        for j in range(_FREQUENCIES):
            values[i, j] = 0.0
        for x in range(0, _SIDE, 8):
            add_weighted(cosines, x, eight_of(sums, i, x), values, i)


@inlined
def select(values: NDArray[Any], rank: int) -> np.float64:
    """Find the value that has ``rank`` others before it in order; the values are moved about.

    Source: C. A. R. Hoare, "Algorithm 65: Find" (1961).
    """
    low, high = 0, values.size - 1
    while low < high:
        pivot = values[rank]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < rank:
            low = i
        if rank < i:
            high = j
    return np.float64(values[rank])


@inlined
def _lower_median(values: Doubles, moved: Doubles) -> np.float64:
    """Find the lower median: halve the range it lies in, then ``select`` from what is left there.

    Values are counted several at once; the selection goes by one, and guesses wrong half the time.

    Args:
        values: float64[16, 16].
        moved: float64[256], scratch.
    """
    flat = values.reshape(_BITS)
    low, high, below = -np.inf, flat[0], 0
    for k in range(_BITS):
        high = max(high, flat[k])
    middle, width = 0.0, max(high, 1.0)
    for _ in range(_HALVINGS):
        count = 0
        for k in range(_BITS):
            count += flat[k] <= middle
        width /= 2
        if count > _LOWER_MEDIAN:
            high = min(high, middle)
            middle -= width
        else:
            low, below = middle, count
            middle += width
    left = 0
    for k in range(_BITS):
        if low < flat[k] <= high:
            moved[left] = flat[k]
            left += 1
    return select(moved[:left], _LOWER_MEDIAN - below)


@kernel(array(types.float64, 3), array(types.float64, 2), array(types.uint8, 2))
def digest(blocks: Doubles, cosines: Doubles, digests: NDArray[np.uint8]) -> None:
    """Compute the digest of each block, and of each block turned over its diagonal.

    Turning a block turns its frequencies to the last bit: of the two, the same
    one is computed whichever is given.

    Args:
        blocks: float64[blocks, 64, 64].
        cosines: float64[64, 16], as of ``pdq``.
        digests: uint8[2 * blocks, 32], written: those of the blocks, then of the turned.
    """
    values, moved = np.empty((_FREQUENCIES, _FREQUENCIES)), np.empty(_BITS)
    count = blocks.shape[0]
    for b in range(count):
        side = _side_below(blocks[b])
        turned = side > 0
        frequencies_of(blocks[b], cosines, turned, values)
        if side == 0:
            for i in range(_FREQUENCIES):
                for j in range(i):
                    values[i, j] = values[j, i]
        median = _lower_median(values, moved)
        as_given, other = digests[b], digests[count + b]
        if turned:
            as_given, other = other, as_given
        for byte in range(_BYTES):
            bits, turned_bits = 0, 0
            for bit in range(8):
                i, j = byte >> 1, 8 * (byte & 1) + bit
                bits |= (values[i, j] > median) << bit
                turned_bits |= (values[j, i] > median) << bit
            as_given[_BYTES - 1 - byte] = bits
            other[_BYTES - 1 - byte] = turned_bits


@kernel(array(types.float64, 2), array(types.int64, 1))
def gradient(block: Doubles, total: NDArray[np.int64]) -> None:
    """Add up the steps between neighbours, each in whole percent of the luma range.

    The reference holds the block in 32 bits; where a step is cut depends on it.

    Args:
        block: float64[64, 64].
        total: int64[1], written.
    """
    percent, luma_range = np.float32(100), np.float32(255)
    steps = 0
    for y in range(_SIDE):
        for x in range(_SIDE):
            here = np.float32(block[y, x])
            if x:
                step = (here - np.float32(block[y, x - 1])) * percent / luma_range
                steps += abs(int(step))
            if y:
                step = (here - np.float32(block[y - 1, x])) * percent / luma_range
                steps += abs(int(step))
    total[0] = steps
