"""From a block to what is kept beside its digest: the compiled inner loops of ``traits``.

Imported where an image is hashed, like ``kernels``. Formulas and sources: ``traits``.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, expanded, inlined, kernel
from indexer.hashing.frequencies import add_weighted, eight_of, frequencies_of

Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]

_SIDE, _CELLS, _CELL, _REACH = 64, 16, 4, 3
_TINY = 1e-9
_SQUARINGS = 5


@expanded
def _times(left: Doubles, right: Doubles, product: Doubles) -> float:
    """Multiply two matrices; returns the trace of the product."""
    trace = 0.0
    for i in range(_CELLS):
        for j in range(_CELLS):
            product[i, j] = 0.0
        for k in range(0, _CELLS, 8):
            add_weighted(right, k, eight_of(left, i, k), product, i)
        trace += product[i, i]
    return trace


@expanded
def _product_share(values: Doubles, gram: Doubles, raised: Doubles, spare: Doubles) -> float:
    """Do what ``traits._product_share`` does; the last three are scratch."""
    for i in range(_CELLS):
        for j in range(_CELLS):
            spare[j, i] = values[i, j]
    power = _times(values, spare, gram)
    if power <= _TINY:
        return 0.0
    for i in range(_CELLS):
        for j in range(_CELLS):
            gram[i, j] /= power
            raised[i, j] = gram[i, j]
    for _ in range(_SQUARINGS):
        _times(raised, raised, spare)
        raised, spare = spare, raised
    trace = _times(raised, gram, spare)  # both are symmetric: the sum of their products
    total = 0.0
    for i in range(_CELLS):
        total += raised[i, i]
    return trace / total


@inlined
def _means_around(cells: Doubles, around: Doubles) -> None:
    """Average seven cells along each row, the edges mirrored; turned over in passing."""
    for y in range(_CELLS):
        for x in range(_CELLS):
            total = 0.0
            for step in range(-_REACH, _REACH + 1):
                at = x + step
                if at < 0:
                    at = -1 - at
                elif at >= _CELLS:
                    at = 2 * _CELLS - 1 - at
                total += cells[y, at]
            around[x, y] = total / (2 * _REACH + 1)


@kernel(array(types.float64, 2), array(types.float64, 1), array(types.uint8, 2))
def compare_around(block: Doubles, above: Doubles, bright: Bytes) -> None:
    """Say which cells are brighter than the cells around them.

    Args:
        block: float64[64, 64].
        above: float64[1]: by how much at least.
        bright: uint8[16, 16], written: 1 or 0.
    """
    cells, rows = np.empty((_CELLS, _CELLS)), np.empty((_CELLS, _CELLS))
    around = np.empty((_CELLS, _CELLS))
    for y in range(_CELLS):
        for x in range(_CELLS):
            total = 0.0
            for i in range(_CELL):
                for j in range(_CELL):
                    total += block[_CELL * y + i, _CELL * x + j]
            cells[y, x] = total / _CELL**2
    _means_around(cells, rows)
    _means_around(rows, around)
    for y in range(_CELLS):
        for x in range(_CELLS):
            bright[y, x] = cells[y, x] > around[y, x] + above[0]


@kernel(
    array(types.float64, 2), array(types.float64, 2), array(types.float64, 2),
    array(types.float64, 2), array(types.float64, 1),
)  # fmt: skip
def measure(
    block: Doubles, cosines: Doubles, pitch: Doubles, signs: Doubles, found: Doubles
) -> None:
    """Measure how strong the frequencies of a digest are, and how like a product of two profiles.

    Args:
        block: float64[64, 64].
        cosines: float64[64, 16], as of ``pdq``.
        pitch: float64[16, 16]: weight of each frequency.
        signs: float64[16, 16]: the digest's bits as +1 and -1.
        found: float64[4], written: power of all there is but the mean, power of the frequencies,
            share of a product in the weighted frequencies and in the signs.
    """
    values, weighted = np.empty((_CELLS, _CELLS)), np.empty((_CELLS, _CELLS))
    gram, raised = np.empty((_CELLS, _CELLS)), np.empty((_CELLS, _CELLS))
    spare = np.empty((_CELLS, _CELLS))
    sums = np.zeros(_SIDE)
    for y in range(_SIDE):
        for x in range(_SIDE):
            sums[x] += block[y, x]
    mean = sums.sum() / _SIDE**2
    sums[:] = 0
    for y in range(_SIDE):
        for x in range(_SIDE):
            sums[x] += (block[y, x] - mean) ** 2
    seen = 0.0
    frequencies_of(block, cosines, False, values)
    for i in range(_CELLS):
        for j in range(_CELLS):
            seen += values[i, j] ** 2
            weighted[i, j] = values[i, j] * pitch[i, j]
    found[0], found[1] = sums.sum(), seen
    found[2] = _product_share(weighted, gram, raised, spare)
    found[3] = _product_share(signs, gram, raised, spare)
