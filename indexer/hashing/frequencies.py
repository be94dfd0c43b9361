"""From blocks to digests: the compiled inner loops of ``pdq``, which has formulas and sources.

Imported where an image is hashed, like ``kernels``.
"""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, inlined, kernel

Doubles = NDArray[np.float64]

_SIDE, _FREQUENCIES, _BITS = 64, 16, 256
_BYTES = _BITS // 8
_LOWER_MEDIAN = _BITS // 2 - 1


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


@inlined
def _frequencies(
    block: Doubles,
    cosines: Doubles,
    turned: bool,  # noqa: FBT001 - numba passes by position
    values: Doubles,
) -> None:
    """Take frequencies 1-16 of both axes of a block, or of the block turned over its diagonal.

    Each cosine is even or odd about the middle: half as many products.
    """
    half = _SIDE // 2
    folded, rows = np.empty((2, half, _SIDE)), np.empty(_SIDE)
    for y in range(half):
        for x in range(_SIDE):
            upper = block[x, y] if turned else block[y, x]
            lower = block[x, _SIDE - 1 - y] if turned else block[_SIDE - 1 - y, x]
            folded[0, y, x], folded[1, y, x] = upper - lower, upper + lower
    for i in range(_FREQUENCIES):
        for x in range(_SIDE):
            rows[x] = 0.0
        for y in range(half):
            weight, source = cosines[y, i], folded[i & 1, y]
            for x in range(_SIDE):
                rows[x] += weight * source[x]
        value = values[i]
        for j in range(_FREQUENCIES):
            value[j] = 0.0
        for x in range(_SIDE):
            weight, cosine = rows[x], cosines[x]
            for j in range(_FREQUENCIES):
                value[j] += weight * cosine[j]


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
        _frequencies(blocks[b], cosines, turned, values)
        if side == 0:
            for i in range(_FREQUENCIES):
                for j in range(i):
                    values[i, j] = values[j, i]
        for k in range(_BITS):
            moved[k] = values[k >> 4, k & 15]
        median = select(moved, _LOWER_MEDIAN)
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
