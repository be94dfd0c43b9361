"""Hashing many frames of one image: the compiled inner loops.

Formulas and sources: ``guesses`` and ``pdq``. A frame says where the picture that was hashed
lay: how much of it is missing beyond each edge of the copy, in shares of the copy's side;
what is missing is continued from the edge. Negative: the frame lies inside the copy.
"""

from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, inlined, kernel
from indexer.hashing.frequencies import select

Bytes = NDArray[np.uint8]
Singles = NDArray[np.float32]
_Real: TypeAlias = Any  # a number, of the width that the compiler finds

SIDE = 64
"""Samples along each side of what guesses are made from."""

FREQUENCIES, BITS, LOWER_MEDIAN = 16, 256, 127

_BLOCK, _CANVAS, _STEP, _TAPS, _BYTES = 64, 256, 4, 5, 32
_MIRRORINGS = 4
_ONE, _HALF = np.float32(1), np.float32(0.5)
_EARLIER = np.float32(0.25)
"""Of the canvas of 512 every second sample is taken, the first of each pair."""
_TENT = np.array([1, 3, 5, 3, 1], np.float32) / np.float32(13)
_WIDENING = np.float32(0.4)
"""Samples inside the edge that are averaged, for each that a place lies beyond it."""
_SINGLES_2 = array(types.float32, 2)


@inlined
def fold(before: _Real, after: _Real, cosines: Singles, row: Singles, out: Singles) -> None:
    """Fold frame, filter, decimation and frequencies 1-16 along one axis: float32[SIDE, 16].

    Args:
        before, after: what is missing on either side.
        cosines: float32[64, 16].
        row: float32[SIDE + 1] of zeros, left so.
    """
    out[:] = 0
    scale = (_ONE + before + after) * np.float32(SIDE / _CANVAS)
    shift = before * np.float32(SIDE) + _HALF
    most = np.float32(SIDE - 1)
    for i in range(_BLOCK):
        first, last = SIDE, 0
        for tap in range(_TAPS):
            place = np.float32(min(_STEP * i + tap, _CANVAS - 1)) + _EARLIER
            x = place * scale - shift
            weight = _TENT[tap]
            if x >= 0 and x <= most:
                low = int(x)
                part = x - np.float32(low)
                row[low] += weight * (_ONE - part)
                row[low + 1] += weight * part
                first, last = min(first, low), max(last, low + 1)
                continue
            # The farther beyond the edge, the more samples speak for what may stand there.
            wide = _ONE + _WIDENING * (-x if x < 0 else x - most)
            weight /= wide
            for k in range(int(wide) + 1):
                at = k if x < 0 else SIDE - 1 - k
                row[at] += weight * min(_ONE, wide - np.float32(k))
            if x < 0:
                first, last = 0, max(last, int(wide))
            else:
                first, last = min(first, SIDE - 1 - int(wide)), SIDE
        for at in range(first, min(last, SIDE - 1) + 1):
            share = row[at]
            for f in range(FREQUENCIES):
                out[at, f] += cosines[i, f] * share
        row[first : last + 1] = 0


@kernel(_SINGLES_2, _SINGLES_2, array(types.float32, 3))
def folds(frames: Singles, cosines: Singles, out: Singles) -> None:
    """Fold several frames along one axis.

    Args:
        frames: float32[n, 2]: what is missing before and after.
        cosines: float32[64, 16], frequency last.
        out: float32[n, SIDE, 16], written.
    """
    row = np.zeros(SIDE + 1, np.float32)
    for i in range(len(frames)):
        fold(frames[i, 0], frames[i, 1], cosines, row, out[i])


@inlined
def multiply(left: Singles, right: Singles, out: Singles) -> None:
    """Matrix product, row by row, so that each sum has one order and many are added at once."""
    for i in range(left.shape[0]):
        row = out[i]
        row[:] = 0
        for k in range(left.shape[1]):
            weight, source = left[i, k], right[k]
            for j in range(row.size):
                row[j] += weight * source[j]


@inlined
def _signed(value: _Real, i: int, j: int, symmetry: int) -> _Real:
    """Turn a frequency over: 1 mirrors, 2 flips. Odd frequencies change their sign."""
    odd = (symmetry & 1 and not j & 1) != (symmetry & 2 and not i & 1)
    return -value if odd else value


@inlined
def _pack(
    values: Singles,
    median: _Real,
    turned: bool,  # noqa: FBT001 - numba passes by position
    digest: Bytes,
) -> None:
    """Write the digest of frequencies, or of the same turned over their diagonal."""
    for byte in range(_BYTES):
        i, first, bits = byte >> 1, 8 * (byte & 1), 0
        for bit in range(8):
            j = first + bit
            bits |= ((values[j, i] if turned else values[i, j]) > median) << bit
        digest[_BYTES - 1 - byte] = bits


@kernel(
    _SINGLES_2, _SINGLES_2, _SINGLES_2, array(types.int64, 1, readonly=True),
    array(types.uint8, 2),
)  # fmt: skip
def coarse(
    luma: Singles,
    vertical: Singles,
    horizontal: Singles,
    variants: NDArray[np.int64],
    digests: Bytes,
) -> None:
    """Hash an image in all pairs of frames, in some dihedral variants each.

    Args:
        luma: float32[SIDE, SIDE].
        vertical: float32[16 * v, SIDE]: folds; ``horizontal``: float32[SIDE, 16 * h], turned.
        variants: int64[n]: of upright, mirror, flip, turn_180, and the same turned over their
            diagonal, 0-7.
        digests: uint8[v * h * n, 32], written: by vertical frame, horizontal frame, variant.
    """
    v, h = vertical.shape[0] // FREQUENCIES, horizontal.shape[1] // FREQUENCIES
    half = np.empty((vertical.shape[0], SIDE), np.float32)
    values = np.empty((vertical.shape[0], horizontal.shape[1]), np.float32)
    multiply(vertical, luma, half)
    multiply(half, horizontal, values)
    one, moved = np.empty((FREQUENCIES, FREQUENCIES), np.float32), np.empty(BITS, np.float32)
    for row in range(v):
        for column in range(h):
            at = (row * h + column) * len(variants)
            for symmetry in range(_MIRRORINGS):
                wanted = False
                for variant in variants:
                    wanted |= variant % _MIRRORINGS == symmetry
                if not wanted:
                    continue
                for i in range(FREQUENCIES):
                    for j in range(FREQUENCIES):
                        value = values[FREQUENCIES * row + i, FREQUENCIES * column + j]
                        one[i, j] = _signed(value, i, j, symmetry)
                        moved[FREQUENCIES * i + j] = one[i, j]
                median = np.float32(select(moved, LOWER_MEDIAN))
                for number in range(len(variants)):
                    if variants[number] % _MIRRORINGS == symmetry:
                        _pack(one, median, variants[number] != symmetry, digests[at + number])
