"""Guesses of what was done to a copy, undone before hashing: the compiled inner loops.

Formulas and sources: ``guesses`` and ``pdq``. A frame says where the picture that was hashed
lay: how much of it is missing beyond each edge of the copy, in shares of the copy's side;
what is missing is continued from the edge. Negative: the frame lies inside the copy.
"""

# ruff: noqa: C901, PLR0913, PLR0917 - a kernel is one nest of loops

from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, inlined, kernel
from indexer.hashing.frequencies import select

Bytes = NDArray[np.uint8]
UInts = NDArray[np.uint32]
Singles = NDArray[np.float32]
_Real: TypeAlias = Any  # a number, of the width that the compiler finds

SIDE = 64
"""Samples along each side of what guesses are made from."""

_BLOCK, _CANVAS, _STEP, _TAPS = 64, 256, 4, 5
_FREQUENCIES, _BITS, _BYTES, _LOWER_MEDIAN = 16, 256, 32, 127
_MIRRORINGS = 4
_ONE, _HALF = np.float32(1), np.float32(0.5)
_EARLIER = np.float32(0.25)
"""Of the canvas of 512 every second sample is taken, the first of each pair."""
_TENT = np.array([1, 3, 5, 3, 1], np.float32) / np.float32(13)
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)
_BYTE, _BYTE_BITS, _TWO_BYTES = np.uint32(255), np.uint32(8), np.uint32(16)

_SINGLES_1, _SINGLES_2 = array(types.float32, 1), array(types.float32, 2)
_WIDENING = np.float32(0.4)
"""Samples inside the edge that are averaged, for each that a place lies beyond it."""
_EDGES, _TURN = 4, 4
_LARGEST_SHARE = np.float32(0.3)
"""Most that may be missing or too much on one side."""


@inlined
def _covered(row: Singles, low: _Real, top: _Real) -> _Real:
    """Return the mean of a row between two places, cut at its ends."""
    low, top = max(low, 0.0), min(top, np.float64(row.size))
    first, last = int(low), min(int(top), row.size - 1)
    if first == last:
        return row[first]
    total = row[first] * np.float32(first + 1 - low) + row[last] * np.float32(top - last)
    for x in range(first + 1, last):
        total += row[x]
    return np.float32(total / np.float32(top - low))


@kernel(array(types.uint32, 2, readonly=True), _SINGLES_2)
def reduce(pixels: UInts, luma: Singles) -> None:
    """Average luma over equal parts of the image, or blend it where the image is smaller.

    Args:
        pixels: uint32[height, width]; red, green and blue from the lowest byte up.
        luma: float32[n, n], written: 0-255.
    """
    height, width = pixels.shape
    side = luma.shape[0]
    wide, high = max(width / side, 1.0), max(height / side, 1.0)
    row, part = np.empty(width, np.float32), np.empty(side, np.float32)
    luma[:] = 0
    done = 0
    # Each row of the image enters one or two parts; a part takes rows in their order.
    for y in range(height):
        for x in range(width):
            pixel = pixels[y, x]
            red = np.float32(np.int32(pixel & _BYTE)) * _RED
            green = np.float32(np.int32((pixel >> _BYTE_BITS) & _BYTE)) * _GREEN
            row[x] = red + green + np.float32(np.int32((pixel >> _TWO_BYTES) & _BYTE)) * _BLUE
        for i in range(side):
            centre = (i + 0.5) * width / side
            part[i] = _covered(row, centre - wide / 2, centre + wide / 2)
        while done < side and (done + 0.5) * height / side + high / 2 <= y:
            done += 1
        for i in range(done, side):
            centre = (i + 0.5) * height / side
            low, top = max(centre - high / 2, 0.0), min(centre + high / 2, np.float64(height))
            if low >= y + 1:
                break
            share = np.float32((min(top, y + 1.0) - max(low, np.float64(y))) / (top - low))
            if share > 0:
                for x in range(side):
                    luma[i, x] += share * part[x]


@inlined
def _resample(
    luma: Singles,
    left: _Real,
    top: _Real,
    width: _Real,
    height: _Real,
    radians: _Real,
    aspect: _Real,
    out: Singles,
) -> None:
    n, m = np.float32(luma.shape[0]), np.float32(out.shape[0])
    most, last = n - _ONE, luma.shape[0] - 2
    # Where a sample of the output covers more than one of the input, a few are averaged.
    times = max(1, int(np.ceil(max(width, height) * n / m - 0.01)))
    weight = _ONE / np.float32(times * times)
    cosine, sine = np.float32(np.cos(radians)), np.float32(np.sin(radians))
    part = n / (m * np.float32(times))
    x_right, y_right = width * cosine * part, -width * sine * aspect * part
    x_down, y_down = height * sine / aspect * part, height * cosine * part
    middle = (m * np.float32(times) - _ONE) / np.float32(2)
    x_first = (left + width / np.float32(2)) * n - _HALF - middle * (x_right + x_down)
    y_first = (top + height / np.float32(2)) * n - _HALF - middle * (y_right + y_down)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = np.float32(0)
            for a in range(times):
                down = np.float32(i * times + a)
                for b in range(times):
                    right = np.float32(j * times + b)
                    x = x_first + down * x_down + right * x_right
                    y = y_first + down * y_down + right * y_right
                    x, y = min(max(x, np.float32(0)), most), min(max(y, np.float32(0)), most)
                    x0, y0 = min(int(x), last), min(int(y), last)
                    p, q = x - np.float32(x0), y - np.float32(y0)
                    upper = luma[y0, x0] + p * (luma[y0, x0 + 1] - luma[y0, x0])
                    lower = luma[y0 + 1, x0] + p * (luma[y0 + 1, x0 + 1] - luma[y0 + 1, x0])
                    total += upper + q * (lower - upper)
            out[i, j] = total * weight


@kernel(
    _SINGLES_2, types.float32, types.float32, types.float32, types.float32,
    types.float32, types.float32, _SINGLES_2,
)  # fmt: skip
def resample(
    luma: Singles,
    left: _Real,
    top: _Real,
    width: _Real,
    height: _Real,
    radians: _Real,
    aspect: _Real,
    out: Singles,
) -> None:
    """Cut a rectangle out of an image, turned back by an angle about the rectangle's middle.

    Args:
        luma: float32[n, n] of the whole image.
        left, top, width, height: of the rectangle, in shares of the image.
        radians: by which the picture inside was turned, anticlockwise.
        aspect: width of the whole image through its height, in pixels.
        out: float32[m, m], written; beyond the image stands its edge.
    """
    _resample(luma, left, top, width, height, radians, aspect, out)


@inlined
def _fold(before: _Real, after: _Real, cosines: Singles, row: Singles, out: Singles) -> None:
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
            for f in range(_FREQUENCIES):
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
        _fold(frames[i, 0], frames[i, 1], cosines, row, out[i])


@inlined
def _multiply(left: Singles, right: Singles, out: Singles) -> None:
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
    v, h = vertical.shape[0] // _FREQUENCIES, horizontal.shape[1] // _FREQUENCIES
    half = np.empty((vertical.shape[0], SIDE), np.float32)
    values = np.empty((vertical.shape[0], horizontal.shape[1]), np.float32)
    _multiply(vertical, luma, half)
    _multiply(half, horizontal, values)
    one, moved = np.empty((_FREQUENCIES, _FREQUENCIES), np.float32), np.empty(_BITS, np.float32)
    for row in range(v):
        for column in range(h):
            at = (row * h + column) * len(variants)
            for symmetry in range(_MIRRORINGS):
                wanted = False
                for variant in variants:
                    wanted |= variant % _MIRRORINGS == symmetry
                if not wanted:
                    continue
                for i in range(_FREQUENCIES):
                    for j in range(_FREQUENCIES):
                        value = values[_FREQUENCIES * row + i, _FREQUENCIES * column + j]
                        one[i, j] = _signed(value, i, j, symmetry)
                        moved[_FREQUENCIES * i + j] = one[i, j]
                median = np.float32(select(moved, _LOWER_MEDIAN))
                for number in range(len(variants)):
                    if variants[number] % _MIRRORINGS == symmetry:
                        _pack(one, median, variants[number] != symmetry, digests[at + number])


@inlined
def _halve(fold: Singles, luma: Singles, half: Singles) -> None:
    """Take the vertical frequencies: float32[16, SIDE] from a fold and the luma."""
    half[:] = 0
    for y in range(SIDE):
        source = luma[y]
        for f in range(_FREQUENCIES):
            weight, row = fold[y, f], half[f]
            for x in range(SIDE):
                row[x] += weight * source[x]


@inlined
def _cost(values: Singles, target: Bytes, scales: Singles, moved: Singles) -> _Real:
    """Return the share of all scaled margins that lies on the wrong side of the median."""
    for i in range(_FREQUENCIES):
        for j in range(_FREQUENCIES):
            moved[_FREQUENCIES * i + j] = values[i, j]
    median = np.float32(select(moved, _LOWER_MEDIAN))
    wrong, total = np.float32(0), np.float32(1e-6)
    for i in range(_FREQUENCIES):
        for j in range(_FREQUENCIES):
            margin = values[i, j] - median
            size = abs(margin) * scales[i, j]
            total += size
            if (margin > 0) != (target[_FREQUENCIES * i + j] != 0):
                wrong += size
    return wrong / total


@kernel(
    _SINGLES_2, types.float32, _SINGLES_2, _SINGLES_2, array(types.uint8, 1, readonly=True),
    _SINGLES_2, _SINGLES_2, types.int64, types.float32, _SINGLES_1, _SINGLES_2,
)  # fmt: skip
def refine(
    luma: Singles,
    aspect: _Real,
    down_cosines: Singles,
    across_cosines: Singles,
    target: Bytes,
    scales: Singles,
    moves: Singles,
    levels: int,
    size: _Real,
    frame: Singles,
    values: Singles,
) -> None:
    """Move a frame to where the copy comes closest to one digest.

    Takes each move that helps, again and again, then halves the moves. What is made small is
    the share of the margins on the wrong side.

    Args:
        luma: float32[SIDE, SIDE] of the copy, or of a rectangle in it.
        aspect: its width through its height, in pixels.
        down_cosines, across_cosines: float32[64, 16]; with their signs changed where the
            variant mirrors or flips.
        target: uint8[256]: bits of the digest, vertical frequency first; turned over the
            diagonal by the caller where the variant is.
        scales: float32[16, 16]: what a margin of each frequency counts.
        moves: float32[n, 5]: what to try adding to a frame.
        levels: how often the moves are tried, halved after each; 0 leaves the frame as it is.
        size: by which the moves are multiplied at first.
        frame: float32[5]: top, bottom, left, right, angle in radians; the start, then the end.
        values: float32[16, 16], written: the frequencies there.
    """
    row, moved = np.zeros(SIDE + 1, np.float32), np.empty(_BITS, np.float32)
    turned, tried_turned = np.empty((SIDE, SIDE), np.float32), np.empty((SIDE, SIDE), np.float32)
    fold, across = np.empty((SIDE, 16), np.float32), np.empty((SIDE, 16), np.float32)
    half, tried_half = np.empty((16, SIDE), np.float32), np.empty((16, SIDE), np.float32)
    tried, tried_values = np.empty(5, np.float32), np.empty((16, 16), np.float32)
    tried_across = np.empty((SIDE, 16), np.float32)
    zero, whole = np.float32(0), np.float32(1)
    _resample(luma, zero, zero, whole, whole, frame[_TURN], aspect, turned)
    _fold(frame[0], frame[1], down_cosines, row, fold)
    _halve(fold, turned, half)
    _fold(frame[2], frame[3], across_cosines, row, across)
    _multiply(half, across, values)
    best = _cost(values, target, scales, moved)
    for _ in range(levels):
        # Ends when no move has helped since the last that did.
        move, failed = 0, 0
        while failed < 2 * len(moves):
            step = moves[move >> 1]
            sign = -size if move & 1 else size
            for k in range(5):
                tried[k] = frame[k] + sign * step[k]
            turns = step[_TURN] != 0
            down = turns or step[0] != 0 or step[1] != 0
            sideways = step[2] != 0 or step[3] != 0
            cost = best
            if np.abs(tried[:_EDGES]).max() <= _LARGEST_SHARE:
                if turns:
                    _resample(luma, zero, zero, whole, whole, tried[_TURN], aspect, tried_turned)
                if down:
                    _fold(tried[0], tried[1], down_cosines, row, fold)
                    _halve(fold, tried_turned if turns else turned, tried_half)
                if sideways:
                    _fold(tried[2], tried[3], across_cosines, row, tried_across)
                _multiply(
                    tried_half if down else half,
                    tried_across if sideways else across,
                    tried_values,
                )
                cost = _cost(tried_values, target, scales, moved)
            if cost < best:
                best, failed = cost, 1
                frame[:] = tried
                values[:] = tried_values
                if turns:
                    turned[:] = tried_turned
                if down:
                    half[:] = tried_half
                if sideways:
                    across[:] = tried_across
                move += move & 1 ^ 1  # the way back need not be tried
            else:
                failed += 1
            move = (move + 1) % (2 * len(moves))
        size /= 2
