"""Box filters and the decimation to 64 samples, folded into weights for one axis.

Both paths blur with a box filter, twice, and keep one sample in about eight.
That is linear and the same along each axis, so the block is 64 weighted sums
of rows of 64 weighted sums of columns: one multiply-add for each pixel that
counts, and nothing of the size of the image.

Formulas: Wojciech Jarosz, "Fast Image Convolutions" (2001), as in Meta's
ThreatExchange ``pdq/cpp/downscaling/downscaling.cpp``; the operator's public
``SWGFL/pdq``, ``src/jarosz-filter.ts`` and ``src/rescale.ts``.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.pdq import BLOCK_SIDE

WORKING_SIDE = 512
"""Both paths bring what is larger to this many rows and columns before they filter."""

_WEB_RADIUS = 2
WEB_WEIGHT = (2 * _WEB_RADIUS + 1) ** 4
"""How often *web* counts the luma of one sample of the block: 5x5, twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """The 64 weighted sums that stand for filter and decimation along one axis.

    Attributes:
        positions: intp[64, taps]: which samples enter each sum.
        weights: floats[64, 1, taps]. *cpp*: 64 bits, adding up to one. *web*: whole
            numbers in 32 bits, so that sums of 8-bit luma are exact in any order.
    """

    positions: NDArray[np.intp] = field(repr=False)
    weights: NDArray[np.floating] = field(repr=False)


def apply_folds(luma: NDArray[np.floating], *, rows: Fold, columns: Fold) -> NDArray[np.floating]:
    """Filter and decimate a luma image to 64x64, of the precision of luma and weights."""
    return fold_rows(fold_rows(luma, rows).T, columns).T


def fold_rows(luma: NDArray[np.floating], fold: Fold) -> NDArray[np.floating]:
    """Filter and decimate the rows alone: 64 rows of as many columns as before."""
    return np.asarray(np.matmul(fold.weights, luma[fold.positions])[:, 0])


@lru_cache(maxsize=WORKING_SIDE)  # one entry for each possible length
def cpp_fold(length: int) -> Fold:
    """Fold the reference's filter over an axis of ``length`` samples, 5-512."""
    # At 128 samples and below the window is one sample wide: no filter at all.
    window = (length + 2 * BLOCK_SIDE - 1) // (2 * BLOCK_SIDE)
    right = window // 2
    box = _box(length, left=window - 1 - right, right=right)
    centres = ((np.arange(BLOCK_SIDE) + 0.5) * length / BLOCK_SIDE).astype(np.intp)
    return _folded((box @ box)[centres])


@lru_cache(maxsize=1)
def web_fold() -> Fold:
    """Fold the browser hasher's filter, five wide, over the 512 samples of its canvas.

    The weights add up to 25 for one axis: the sum is left to be divided at the end.
    """
    box = _box_with_replicated_edges(WORKING_SIDE)
    step = WORKING_SIDE // BLOCK_SIDE
    return _folded((box @ box)[step // 2 :: step].astype(np.float32))


def _box(length: int, *, left: int, right: int) -> NDArray[np.float64]:
    """Average each sample with its neighbours; at the edges the window shrinks."""
    offsets = np.arange(length)[np.newaxis, :] - np.arange(length)[:, np.newaxis]
    inside = (offsets >= -left) & (offsets <= right)
    return np.asarray(inside / inside.sum(axis=1, keepdims=True))


def _box_with_replicated_edges(length: int) -> NDArray[np.float64]:
    """Add up each sample and two on each side; beyond the edge stands the edge."""
    box = np.zeros((length, length))
    sample = np.arange(length)
    for offset in range(-_WEB_RADIUS, _WEB_RADIUS + 1):
        np.add.at(box, (sample, np.clip(sample + offset, 0, length - 1)), 1)
    return box


def _folded(matrix: NDArray[np.floating]) -> Fold:
    """Keep of 64 rows of weights the narrowest windows that hold all that is not zero."""
    length = matrix.shape[1]
    first = (matrix != 0).argmax(axis=1)
    last = length - 1 - (matrix[:, ::-1] != 0).argmax(axis=1)
    taps = int((last - first).max()) + 1
    start = np.minimum(first, length - taps)
    positions = start[:, np.newaxis] + np.arange(taps)
    weights = np.take_along_axis(matrix, positions, axis=1)[:, np.newaxis, :]
    return Fold(positions=positions.astype(np.intp), weights=np.ascontiguousarray(weights))
