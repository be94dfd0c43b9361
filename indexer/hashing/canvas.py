"""*web*, from pixels to blocks: the compiled inner loops of ``paths.web_blocks``.

Whole numbers throughout, so every sum is exact. (numba adds whole numbers in 64
bits; only where each step is cut to 32 are eight of them added at once.)

Formulas and sources: ``paths`` and ``folding``. A pixel is 32 bits: red, green
and blue from the lowest byte up; the highest is not looked at.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, inlined, kernel

UInts = NDArray[np.uint32]
Ints = NDArray[np.int32]
Shorts = NDArray[np.int16]
Doubles = NDArray[np.float64]

_SIDE, _CANVAS, _STEP = 64, 512, 8
_SCALE = 1 / 25**2  # nine samples of one axis count 25
_BYTE, _BYTE_BITS, _TWO_BYTES = np.uint32(255), np.uint32(8), np.uint32(16)
_RED, _GREEN, _BLUE, _HALF = np.uint32(19595), np.uint32(38470), np.uint32(7471), np.uint32(32768)
_BLEND_BITS, _CUT_BITS = np.int32(10), np.int32(20)
_EVEN, _ROUND, _FOUR = np.uint32(0x00FF00FF), np.uint32(0x00020002), np.uint32(2)

_PIXELS = array(types.uint32, 2, readonly=True)
_BLEND = (array(types.uint32, 1), array(types.int32, 1))


@inlined
def _take_luma(row: UInts, pairs: UInts) -> None:
    """Take whole BT.601 luma; put with each sample, in the upper half, its right neighbour."""
    width = row.size
    for x in range(width):
        red = np.uint32((row[x] & _BYTE) * _RED)
        green = np.uint32(((row[x] >> _BYTE_BITS) & _BYTE) * _GREEN)
        blue = np.uint32(((row[x] >> _TWO_BYTES) & _BYTE) * _BLUE)
        pairs[x] = np.uint32(np.uint32(red + green) + np.uint32(blue + _HALF)) >> _TWO_BYTES
    pairs[width] = pairs[width - 1]
    for x in range(width):
        pairs[x] = pairs[x] | np.uint32(pairs[x + 1] << _TWO_BYTES)


@inlined
def _blend_columns(
    pairs: UInts, positions: UInts, weights: Ints, picked: UInts, blended: Ints
) -> None:
    """Blend one row to 512 samples, in 1/1024."""
    for x in range(_CANVAS):
        picked[x] = pairs[positions[x]]
    for x in range(_CANVAS):
        left, right = np.int32(picked[x] & _BYTE), np.int32(picked[x] >> _TWO_BYTES)
        step = np.int32(np.int32(right - left) * weights[x])
        blended[x] = np.int32(np.int32(left << _BLEND_BITS) + step)


@inlined
def _blend_rows(upper: Ints, lower: Ints, weight: np.int32, canvas: Shorts) -> None:
    """Blend two rows, and cut to whole luma. 28 bits at most."""
    for x in range(_CANVAS):
        step = np.int32(np.int32(lower[x] - upper[x]) * weight)
        canvas[x] = np.int16(np.int32(np.int32(upper[x] << _BLEND_BITS) + step) >> _CUT_BITS)


@inlined
def _five(a: np.int16, b: np.int16, c: np.int16, d: np.int16, e: np.int16) -> np.int16:
    """Add up a box, cut to 16 bits at every step: sixteen are then added at once."""
    return np.int16(np.int16(np.int16(np.int16(a + b) + c) + d) + e)


@inlined
def _add_rows(rows: Shorts, sums: Shorts) -> None:
    """Add up two boxes of ten rows: forwards, and as an image turned upside down has them.

    A box is 1275 at most, a box of boxes 6375, one more along the other axis 31875: 15 bits.
    """
    r0, r1, r2, r3, r4 = rows[0], rows[1], rows[2], rows[3], rows[4]
    r5, r6, r7, r8, r9 = rows[5], rows[6], rows[7], rows[8], rows[9]
    for x in range(_CANVAS):
        b0 = _five(r0[x], r1[x], r2[x], r3[x], r4[x])
        b1 = np.int16(np.int16(b0 - r0[x]) + r5[x])
        b2 = np.int16(np.int16(b1 - r1[x]) + r6[x])
        b3 = np.int16(np.int16(b2 - r2[x]) + r7[x])
        b4 = np.int16(np.int16(b3 - r3[x]) + r8[x])
        b5 = np.int16(np.int16(b4 - r4[x]) + r9[x])
        backward = _five(b0, b1, b2, b3, b4)
        sums[1, x + 1] = backward
        sums[0, x + 1] = np.int16(np.int16(backward - b0) + b5)
    for direction in range(2):
        sums[direction, 0] = sums[direction, 1]
        sums[direction, _CANVAS + 1] = sums[direction, _CANVAS]


@inlined
def _add_columns(
    sums: Shorts, once: Shorts, twice: Ints, upright: Doubles, mirror: Doubles
) -> None:
    """Add up two boxes of columns everywhere, and keep two of eight."""
    for x in range(_CANVAS - 2):
        once[x] = _five(sums[x], sums[x + 1], sums[x + 2], sums[x + 3], sums[x + 4])
    for x in range(_CANVAS - 6):
        low = np.int32(np.int32(once[x]) + np.int32(once[x + 1]))
        high = np.int32(np.int32(once[x + 3]) + np.int32(once[x + 4]))
        twice[x] = np.int32(np.int32(low + np.int32(once[x + 2])) + high)
    for j in range(_SIDE):
        # Half a step keeps whole quotients from falling below themselves.
        upright[j] = np.floor((twice[_STEP * j + 1] + 0.5) * _SCALE)
        mirror[_SIDE - 1 - j] = np.floor((twice[_STEP * j] + 0.5) * _SCALE)


@kernel(_PIXELS, *_BLEND, *_BLEND, array(types.float64, 3))
def fold_web(
    pixels: UInts, row_at: UInts, row_weights: Ints,
    column_at: UInts, column_weights: Ints, blocks: Doubles,
) -> None:  # fmt: skip
    """Draw luma on the canvas by the tables of ``folding.web_blend``; filter and decimate.

    Args:
        pixels: uint32[height, width], already halved.
        row_at: uint32[512], the upper of two rows; likewise ``column_at``.
        row_weights: int32[512], of the lower, in 1/1024; likewise ``column_weights``.
        blocks: float64[4, 64, 64], written: upright, mirror, flip, turn_180.
    """
    height, width = pixels.shape
    pairs, picked = np.empty(width + 1, np.uint32), np.empty(_CANVAS, np.uint32)
    blended = np.empty((2, _CANVAS), np.int32)
    held = np.full(2, -1, np.int64)
    # Beyond an edge stands the edge: one more sample on each side is all that is asked for.
    canvas = np.empty((_CANVAS + 2, _CANVAS), np.int16)
    sums = np.empty((2, _CANVAS + 2), np.int16)
    once, twice = np.empty(_CANVAS - 2, np.int16), np.empty(_CANVAS - 6, np.int32)
    for y in range(_CANVAS):
        upper = np.int64(row_at[y])
        lower = min(upper + (row_weights[y] > 0), height - 1)
        for row in (upper, lower):
            slot = row & 1
            if held[slot] != row:
                _take_luma(pixels[row], pairs)
                _blend_columns(pairs, column_at, column_weights, picked, blended[slot])
                held[slot] = row
        _blend_rows(blended[upper & 1], blended[lower & 1], row_weights[y], canvas[y + 1])
    for x in range(_CANVAS):
        canvas[0, x], canvas[_CANVAS + 1, x] = canvas[1, x], canvas[_CANVAS, x]
    for band in range(_SIDE):
        _add_rows(canvas[_STEP * band : _STEP * band + 10], sums)
        last = _SIDE - 1 - band
        _add_columns(sums[0], once, twice, blocks[0, band], blocks[1, band])
        _add_columns(sums[1], once, twice, blocks[2, last], blocks[3, last])


@inlined
def _mean(a: np.uint32, b: np.uint32, c: np.uint32, d: np.uint32) -> np.uint32:
    """Mean of four pixels, rounded; two colours at once, each in 16 bits."""
    even = np.uint32((a & _EVEN) + (b & _EVEN) + (c & _EVEN) + (d & _EVEN) + _ROUND)
    left = ((a >> _BYTE_BITS) & _EVEN) + ((b >> _BYTE_BITS) & _EVEN)
    right = ((c >> _BYTE_BITS) & _EVEN) + ((d >> _BYTE_BITS) & _EVEN)
    odd = np.uint32(left + right + _ROUND)
    return np.uint32((even >> _FOUR) & _EVEN) | np.uint32(((odd >> _FOUR) & _EVEN) << _BYTE_BITS)


@kernel(_PIXELS, array(types.uint32, 2))
def halve(pixels: UInts, halved: UInts) -> None:
    """Halve by means of 2x2 pixels; an odd side counts its pixels 1-2-1.

    That is the mean, cut, of the two or four rounded means of its pairings, so
    that neither edge is favoured.

    Args:
        pixels: uint32[height, width].
        halved: uint32[height // 2, width // 2], written.
    """
    downs, rights = pixels.shape[0] % 2 + 1, pixels.shape[1] % 2 + 1
    shift = np.uint32(downs * rights // 2)
    width = halved.shape[1]
    even, odd = np.empty(width, np.uint32), np.empty(width, np.uint32)
    for y in range(halved.shape[0]):
        row = halved[y]
        if shift == 0:
            upper, lower = pixels[2 * y], pixels[2 * y + 1]
            for x in range(width):
                at = 2 * x
                row[x] = _mean(upper[at], upper[at + 1], lower[at], lower[at + 1])
            continue
        for x in range(width):
            even[x], odd[x] = 0, 0
        for down in range(downs):
            upper, lower = pixels[2 * y + down], pixels[2 * y + down + 1]
            for left in range(rights):
                for x in range(width):
                    at = 2 * x + left
                    mean = _mean(upper[at], upper[at + 1], lower[at], lower[at + 1])
                    even[x] += mean & _EVEN
                    odd[x] += (mean >> _BYTE_BITS) & _EVEN
        for x in range(width):
            upper_bytes = np.uint32(((odd[x] >> shift) & _EVEN) << _BYTE_BITS)
            row[x] = np.uint32((even[x] >> shift) & _EVEN) | upper_bytes
