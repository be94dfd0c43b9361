"""Sampling an image for guesses: the compiled inner loops.

First all of it at once (``reduce``), then parts of that, turned back (``resample``).
"""

from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, inlined, kernel

UInts = NDArray[np.uint32]
Singles = NDArray[np.float32]
_Real: TypeAlias = Any  # a number, of the width that the compiler finds

_ONE, _HALF = np.float32(1), np.float32(0.5)
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)
_BYTE, _BYTE_BITS, _TWO_BYTES = np.uint32(255), np.uint32(8), np.uint32(16)
_SINGLES_2 = array(types.float32, 2)


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
def cut(
    luma: Singles,
    left: _Real,
    top: _Real,
    width: _Real,
    height: _Real,
    radians: _Real,
    aspect: _Real,
    out: Singles,
) -> None:
    """Do the work of ``resample``, inside another kernel."""
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
    cut(luma, left, top, width, height, radians, aspect, out)
