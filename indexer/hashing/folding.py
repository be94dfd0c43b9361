"""The tables of the kernels: which samples enter each output along one axis, and how they count.

Both paths blur with a box filter, twice, and keep one sample in about eight.
That is linear and the same along each axis, so the block is 64 weighted sums
of rows of 64 weighted sums of columns: one multiply-add for each pixel that
counts, and nothing of the size of the image. What *cpp* picks of large images
is a choice of samples, and goes into the same table.

Formulas: Wojciech Jarosz, "Fast Image Convolutions" (2001), as in Meta's
ThreatExchange ``pdq/cpp/downscaling/downscaling.cpp``. The filter of *web* has
no table: nine samples out of ten count 1-2-3-4-5-4-3-2-1, everywhere alike.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.pdq import BLOCK_SIDE

WORKING_SIDE = 512
"""Both paths bring what is larger to this many rows and columns before they filter."""

_TAPS = 7  # samples of one output: a window of four, twice
_WHOLE = 12  # weights of one window, whole for windows of one to four samples
_PAYS = 4  # beyond one column in four, luma of all columns is faster than picking
_BLEND_STEPS = 2 * WORKING_SIDE
_SIDES_KEPT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """The 64 weighted sums that stand for pick, filter and decimation along one axis.

    Attributes:
        used: uint32[n], ascending: the samples that are looked at.
        at: uint32[2, 64, 7]: positions in ``used`` of what enters each sum, forwards
            and with the axis mirrored.
        weights: float64[64, 7]: whole numbers that add up to 144 for each sum.
    """

    used: NDArray[np.uint32] = field(repr=False)
    at: NDArray[np.uint32] = field(repr=False)
    weights: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """How one axis is drawn onto 512 samples: bilinear between centres, clamped at the edges.

    Attributes:
        at: uint32[512]: the lower of the two samples that are blended.
        weights: int32[512]: share of the upper, in 1/1024: exact for every side.
    """

    at: NDArray[np.uint32] = field(repr=False)
    weights: NDArray[np.int32] = field(repr=False)


@lru_cache(maxsize=_SIDES_KEPT)
def cpp_fold(side: int, *, resized: bool, dense: bool) -> Fold:
    """Fold the reference's pick and filter over an axis.

    Args:
        side: samples of the axis; 512 at most unless resized.
        resized: the image is brought to 512x512 first: sample i is floor(i * side / 512).
        dense: use every sample where more than every fourth is needed anyway.
    """
    length = WORKING_SIDE if resized else side
    positions, weights = _filter(length)
    picks = np.arange(length) * side // length
    both = np.stack([picks[positions], side - 1 - picks[positions]])
    used = np.unique(both)
    if dense and used.size * _PAYS > side:
        used = np.arange(side)
    at = np.searchsorted(used, both)
    return Fold(used=used.astype(np.uint32), at=at.astype(np.uint32), weights=weights)


@lru_cache(maxsize=_SIDES_KEPT)
def web_blend(side: int) -> Blend:
    """Place the centres of 512 samples on an axis: (i + 1/2) * side / 512 - 1/2, not below 0."""
    steps = (2 * np.arange(WORKING_SIDE) + 1) * side - WORKING_SIDE
    at, weights = np.divmod(np.maximum(steps, 0), _BLEND_STEPS)
    return Blend(at=at.astype(np.uint32), weights=weights.astype(np.int32))


@lru_cache(maxsize=WORKING_SIDE)  # one entry for each possible length
def _filter(length: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Give the samples and weights of 64 outputs, [64, 7] each, for an axis of 5-512.

    A window averages each sample with its neighbours, and shrinks at the edges.
    Written out, not as a product of matrices: BLAS would start threads that spin.
    """
    # At 128 samples and below the window is one sample wide: no filter at all.
    window = (length + 2 * BLOCK_SIDE - 1) // (2 * BLOCK_SIDE)
    right = window // 2
    left = window - 1 - right
    samples = np.arange(length)
    shares = _WHOLE // (np.minimum(samples + right, length - 1) - np.maximum(samples - left, 0) + 1)
    centres = ((np.arange(BLOCK_SIDE) + 0.5) * length / BLOCK_SIDE).astype(np.intp)
    weights = np.zeros((BLOCK_SIDE, _TAPS))
    for first, second in product(range(-left, right + 1), repeat=2):
        middle = centres + first
        inside = (np.clip(middle, 0, length - 1) == middle) & (middle + second >= 0)
        inside &= middle + second < length
        share = shares[centres] * shares[np.clip(middle, 0, length - 1)]
        weights[:, first + second + 2 * left] += inside * share
    positions = centres[:, np.newaxis] - 2 * left + np.arange(_TAPS)
    # What counts nothing may stand beyond an edge: any other sample will do.
    return np.where(weights != 0, positions, centres[:, np.newaxis]), weights
