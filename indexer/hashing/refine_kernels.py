"""Moving a frame to where the copy comes closest to one digest: the compiled inner loops.

What a frame is: ``frame_kernels``.
"""

# ruff: noqa: C901, PLR0913, PLR0917 - a kernel is one nest of loops

from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, inlined, kernel
from indexer.hashing.frame_kernels import BITS, FREQUENCIES, LOWER_MEDIAN, SIDE, fold, multiply
from indexer.hashing.frequencies import select
from indexer.hashing.sampling_kernels import cut

Bytes = NDArray[np.uint8]
Singles = NDArray[np.float32]
_Real: TypeAlias = Any  # a number, of the width that the compiler finds

_EDGES, _TURN = 4, 4
_LARGEST_SHARE = np.float32(0.3)
"""Most that may be missing or too much on one side."""
_SINGLES_1, _SINGLES_2 = array(types.float32, 1), array(types.float32, 2)


@inlined
def _halve(folded: Singles, luma: Singles, half: Singles) -> None:
    """Take the vertical frequencies: float32[16, SIDE] from a fold and the luma."""
    half[:] = 0
    for y in range(SIDE):
        source = luma[y]
        for f in range(FREQUENCIES):
            weight, row = folded[y, f], half[f]
            for x in range(SIDE):
                row[x] += weight * source[x]


@inlined
def _cost(values: Singles, target: Bytes, scales: Singles, moved: Singles) -> _Real:
    """Return the share of all scaled margins that lies on the wrong side of the median."""
    for i in range(FREQUENCIES):
        for j in range(FREQUENCIES):
            moved[FREQUENCIES * i + j] = values[i, j]
    median = np.float32(select(moved, LOWER_MEDIAN))
    wrong, total = np.float32(0), np.float32(1e-6)
    for i in range(FREQUENCIES):
        for j in range(FREQUENCIES):
            margin = values[i, j] - median
            size = abs(margin) * scales[i, j]
            total += size
            if (margin > 0) != (target[FREQUENCIES * i + j] != 0):
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
    row, moved = np.zeros(SIDE + 1, np.float32), np.empty(BITS, np.float32)
    turned, tried_turned = np.empty((SIDE, SIDE), np.float32), np.empty((SIDE, SIDE), np.float32)
    along, across = np.empty((SIDE, 16), np.float32), np.empty((SIDE, 16), np.float32)
    half, tried_half = np.empty((16, SIDE), np.float32), np.empty((16, SIDE), np.float32)
    tried, tried_values = np.empty(5, np.float32), np.empty((16, 16), np.float32)
    tried_across = np.empty((SIDE, 16), np.float32)
    zero, whole = np.float32(0), np.float32(1)
    cut(luma, zero, zero, whole, whole, frame[_TURN], aspect, turned)
    fold(frame[0], frame[1], down_cosines, row, along)
    _halve(along, turned, half)
    fold(frame[2], frame[3], across_cosines, row, across)
    multiply(half, across, values)
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
                    cut(luma, zero, zero, whole, whole, tried[_TURN], aspect, tried_turned)
                if down:
                    fold(tried[0], tried[1], down_cosines, row, along)
                    _halve(along, tried_turned if turns else turned, tried_half)
                if sideways:
                    fold(tried[2], tried[3], across_cosines, row, tried_across)
                multiply(
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
