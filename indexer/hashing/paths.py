"""The two ways to bring an image to 64x64 luma: *cpp* and *web* (docs/adr/0002).

Both take an RGB image as stored and give the blocks of its four mirrorings.
Every step is exact under mirroring and turning, so a variant has the very bits
that hashing the transformed pixels gives. The work is done in ``kernels``
(docs/adr/0008).

Luma is ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B; *web* takes it in 65536ths.
"""

import numpy as np
from PIL import Image

from indexer.hashing.folding import WORKING_SIDE, cpp_fold, web_blend
from indexer.hashing.modes import Pixels, packed
from indexer.hashing.pdq import BLOCK_SIDE
from indexer.hashing.variants import MIRRORINGS, Blocks

_SHAPE = (MIRRORINGS, BLOCK_SIDE, BLOCK_SIDE)
_STRIP_ROWS = 16


def cpp_blocks(image: Image.Image | Pixels) -> Blocks:
    """Follow Meta's C++ reference.

    (1) When a side exceeds 512: resize to 512x512, row i from row
        floor(i*height/512), columns alike. (2) Luma. (3) Jarosz filter and
        decimation (``folding.cpp_fold``).

    Source: ThreatExchange ``pdq/cpp/io/pdqio.cpp`` and ``downscaling.cpp``.

    Args:
        image: mode RGB, each side at least 5 pixels.
    """
    from indexer.hashing import kernels  # noqa: PLC0415 - a third of a second

    pixels = packed(image)
    height, width = pixels.shape
    resized = max(height, width) > WORKING_SIDE
    rows = cpp_fold(height, resized=resized, dense=False)
    columns = cpp_fold(width, resized=resized, dense=True)
    blocks = np.empty(_SHAPE)
    kernels.fold_cpp(
        pixels, rows.used, rows.at, rows.weights, columns.used, columns.at, columns.weights, blocks
    )
    return Blocks(stack=blocks)


def web_blocks(image: Image.Image | Pixels) -> Blocks:
    """Follow the browser hasher of StopNCII's operator.

    (1) Draw on a canvas of 512x512, as Chromium does: halve while both sides
        are at least 1024, then bilinear, cut to 8 bits. (2) Luma, taken before
        the bilinear step: a third of the work, 0.05 bits further off on average.
        (3) Box filter five wide, twice, edges replicated; sample at 8i+4.
        (4) Cut to whole numbers.

    Source: ``SWGFL/pdq``: ``src/pdq.ts``, ``luminance.ts``, ``jarosz-filter.ts``,
    ``rescale.ts``; the canvas is measured, not specified.

    Args:
        image: mode RGB.
    """
    from indexer.hashing import canvas  # noqa: PLC0415 - a third of a second

    pixels = _halved(packed(image))
    rows, columns = (web_blend(side) for side in pixels.shape)
    blocks = np.empty(_SHAPE)
    canvas.fold_web(pixels, rows.at, rows.weights, columns.at, columns.weights, blocks)
    return Blocks(stack=blocks)


def _halved(pixels: Pixels) -> Pixels:
    """Halve as long as both sides are at least 1024."""
    height, width = pixels.shape
    times = (min(height, width) // WORKING_SIDE).bit_length() - 1
    if times < 1:
        return pixels
    # In strips: what is halved again is then still in the cache. An odd number of rows is
    # averaged across their edges, so such an image is done as a whole.
    strip = height if height % (1 << times) else _STRIP_ROWS << times
    halved = np.empty((height >> times, width >> times), np.uint32)
    for top in range(0, height, strip):
        bottom = min(top + strip, height)
        _halve(pixels[top:bottom], times, halved[top >> times : bottom >> times])
    return halved


def _halve(pixels: Pixels, times: int, halved: Pixels) -> None:
    from indexer.hashing import canvas  # noqa: PLC0415 - a third of a second

    for _ in range(times - 1):
        part = np.empty((pixels.shape[0] // 2, pixels.shape[1] // 2), np.uint32)
        canvas.halve(pixels, part)
        pixels = part
    canvas.halve(pixels, halved)
