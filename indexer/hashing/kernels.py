"""*cpp*, from pixels to blocks: the compiled inner loops of ``paths.cpp_blocks``.

Importing a module of kernels takes numba and machine code with it, a third of a
second, so it is imported where an image is hashed. The others are ``canvas`` and
``frequencies``.

Every sum is exact, in 64 bits that have room for every bit: its order is free,
and no compiler, processor or turn of the image changes a result.

Formulas and sources: ``paths`` and ``folding``.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, inlined, kernel

UInts = NDArray[np.uint32]
Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]

_SIDE = 64
_SCALE = 1 / 144**2  # the weights of each axis add up to 144
_RING = 32  # rows of luma held at once: more than any window of seven spans
_RING_MASK = np.uint32(_RING - 1)
_FEW, _SOME = 3, 5  # samples that windows of up to two and three spans reach over
_BYTE, _BYTE_BITS, _TWO_BYTES = np.uint32(255), np.uint32(8), np.uint32(16)
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)

_PIXELS = array(types.uint32, 2, readonly=True)
_BLOCKS = array(types.float64, 3)
_FOLD = (array(types.uint32, 1), array(types.uint32, 3), array(types.float64, 2))


@inlined
def _take_luma(row: UInts, columns: UInts, picked: UInts, luma: Singles) -> None:
    """Take BT.601 luma in 32 bits, added up in the reference's order."""
    if columns.size != row.size:
        # Picked first: eight are then multiplied at once.
        for x in range(columns.size):
            picked[x] = row[columns[x]]
        row = picked
    for x in range(columns.size):
        pixel = row[x]
        red = np.float32(np.int32(pixel & _BYTE)) * _RED
        green = np.float32(np.int32((pixel >> _BYTE_BITS) & _BYTE)) * _GREEN
        blue = np.float32(np.int32((pixel >> _TWO_BYTES) & _BYTE)) * _BLUE
        luma[x] = red + green + blue


@inlined
def _taps(weights: Doubles) -> int:
    """Say how many samples a window has: one, three, five or seven. The rest count nothing."""
    for k in range(weights.shape[1] - 1, 0, -1):
        for i in range(_SIDE):
            if weights[i, k] != 0:
                return k + 1
    return 1


@inlined
def _add_rows(ring: Singles, at: UInts, w: Doubles, taps: int, sums: Doubles) -> None:
    a, b, c = at[0] & _RING_MASK, at[1] & _RING_MASK, at[2] & _RING_MASK
    d, e = at[3] & _RING_MASK, at[4] & _RING_MASK
    f, g = at[5] & _RING_MASK, at[6] & _RING_MASK
    if taps <= _FEW:
        for x in range(sums.size):
            sums[x] = w[0] * ring[a, x] + w[1] * ring[b, x] + w[2] * ring[c, x]
        return
    if taps <= _SOME:
        for x in range(sums.size):
            low = w[0] * ring[a, x] + w[1] * ring[b, x] + w[2] * ring[c, x]
            sums[x] = low + w[3] * ring[d, x] + w[4] * ring[e, x]
        return
    for x in range(sums.size):
        low = w[0] * ring[a, x] + w[1] * ring[b, x] + w[2] * ring[c, x] + w[3] * ring[d, x]
        sums[x] = low + w[4] * ring[e, x] + w[5] * ring[f, x] + w[6] * ring[g, x]


@inlined
def _add_columns(sums: Doubles, at: UInts, w: Doubles, taps: int, block: Doubles) -> None:
    for j in range(_SIDE):
        low = w[j, 0] * sums[at[j, 0]] + w[j, 1] * sums[at[j, 1]] + w[j, 2] * sums[at[j, 2]]
        if taps > _FEW:
            low = low + w[j, 3] * sums[at[j, 3]] + w[j, 4] * sums[at[j, 4]]
        if taps > _SOME:
            low = low + w[j, 5] * sums[at[j, 5]] + w[j, 6] * sums[at[j, 6]]
        block[j] = _SCALE * low


@kernel(_PIXELS, *_FOLD, *_FOLD, _BLOCKS)
def fold_cpp(
    pixels: UInts, rows: UInts, row_at: UInts, row_weights: Doubles,
    columns: UInts, column_at: UInts, column_weights: Doubles, blocks: Doubles,
) -> None:  # fmt: skip
    """Take luma, filter and decimate by the tables of ``folding.cpp_fold``.

    Luma has 35 bits at most (0-255 in steps of 2^-27), the weights of both
    axes add up to 144 * 144, 15 bits: every sum has room in 53.

    Args:
        pixels: uint32[height, width]; red, green and blue from the lowest byte up.
        rows: which rows are looked at; likewise ``columns``.
        row_at: uint32[2, 64, 7]: for each direction and output, positions in ``rows``.
        row_weights: float64[64, 7], whole numbers; likewise ``column_weights``.
        blocks: float64[4, 64, 64], written: upright, mirror, flip, turn_180.
    """
    row_taps, column_taps = _taps(row_weights), _taps(column_weights)
    picked = np.empty(columns.size, np.uint32)
    ring = np.empty((_RING, columns.size), np.float32)
    held = np.full(_RING, -1, np.int64)
    sums = np.empty(columns.size, np.float64)
    for step in range(_SIDE):
        for backwards in range(2):
            # Both directions meet the same rows at the same time.
            i = _SIDE - 1 - step if backwards else step
            at = row_at[backwards, i]
            for k in at:
                slot = k & _RING_MASK
                if held[slot] != k:
                    _take_luma(pixels[rows[k]], columns, picked, ring[slot])
                    held[slot] = k
            _add_rows(ring, at, row_weights[i], row_taps, sums)
            for mirrored in range(2):
                block = blocks[2 * backwards + mirrored, i]
                _add_columns(sums, column_at[mirrored], column_weights, column_taps, block)
