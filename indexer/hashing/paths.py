"""The two ways to bring an image to 64x64 luma: *cpp* and *web* (docs/adr/0002).

Both take an RGB image as stored and give the blocks of its four mirrorings.
Every step is exact under mirroring and turning, so a variant has the very bits
that hashing the transformed pixels gives.

Luma is ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.hashing.folding import (
    WEB_WEIGHT,
    WORKING_SIDE,
    apply_folds,
    cpp_fold,
    fold_rows,
    web_fold,
)
from indexer.hashing.pdq import Block
from indexer.hashing.variants import Blocks

Luma = NDArray[np.floating]

_RED, _GREEN, _BLUE = (np.float32(share) for share in (0.299, 0.587, 0.114))
_CANVAS = (WORKING_SIDE, WORKING_SIDE)
# Half of the smallest distance between two values of i * side / 512.
_BEFORE_EDGE = 1 / (2 * WORKING_SIDE)


def cpp_blocks(image: Image.Image) -> Blocks:
    """Follow Meta's C++ reference.

    (1) When a side exceeds 512: resize to 512x512, row i from row
        floor(i*height/512), columns alike. (2) Luma. (3) Jarosz filter and
        decimation (``folding.cpp_fold``).

    Source: ThreatExchange ``pdq/cpp/io/pdqio.cpp`` and ``downscaling.cpp``.

    Args:
        image: mode RGB, each side at least 5 pixels.
    """
    return Blocks(
        upright=_cpp_block(_picked(image)),
        mirror=_cpp_block(_picked(image, mirror=True)),
        flip=_cpp_block(_picked(image, flip=True)),
        turn_180=_cpp_block(_picked(image, mirror=True, flip=True)),
    )


def web_blocks(image: Image.Image) -> Blocks:
    """Follow the browser hasher of StopNCII's operator.

    (1) Draw on a canvas of 512x512, as Chromium does: halve while both sides
        are at least 1024, then bilinear, cut to 8 bits. (2) Luma, taken before
        the bilinear step: a third of the work, 0.05 bits further off on average.
        (3) Box filter and sampling (``folding.web_fold``). (4) Cut to whole numbers.

    Source: ``SWGFL/pdq``: ``src/pdq.ts``, ``luminance.ts``, ``jarosz-filter.ts``,
    ``rescale.ts``; the canvas is measured, not specified.

    Args:
        image: mode RGB.
    """
    luma = np.asarray(_drawn(image)).astype(np.float32)  # (1), (2)
    rows, flipped_rows = fold_rows(luma, web_fold()), fold_rows(luma[::-1], web_fold())
    return Blocks(
        upright=_web_block(rows),
        mirror=_web_block(rows[:, ::-1]),
        flip=_web_block(flipped_rows),
        turn_180=_web_block(flipped_rows[:, ::-1]),
    )


def _cpp_block(image: Image.Image) -> Block:
    luma = _luma(image)
    rows, columns = luma.shape
    return np.asarray(apply_folds(luma, rows=cpp_fold(rows), columns=cpp_fold(columns)))


def _web_block(rows: Luma) -> Block:
    total = fold_rows(rows.T, web_fold()).T
    return np.floor(total.astype(np.float64) / WEB_WEIGHT)


def _luma(image: Image.Image) -> Luma:
    # Added up in the reference's order, never by a matrix product: BLAS rounds the
    # same pixel otherwise at another place, and turned copies would differ.
    red, green, blue = (np.asarray(band) for band in image.split())
    luma: Luma = red * _RED
    luma += green * _GREEN
    luma += blue * _BLUE
    return luma


def _picked(image: Image.Image, *, mirror: bool = False, flip: bool = False) -> Image.Image:
    """Mirror and flip, then pick 512x512 pixels when a side exceeds 512."""
    size = _CANVAS if max(image.size) > WORKING_SIDE else image.size
    across = _picks(image.width, size[0], backwards=mirror)
    down = _picks(image.height, size[1], backwards=flip)
    matrix = (across[0], 0.0, across[1], 0.0, down[0], down[1])
    return image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def _picks(side: int, picked_side: int, *, backwards: bool) -> tuple[float, float]:
    """Give step and start, so that Pillow's sample i is floor(i*side/picked_side).

    Or, backwards, its mirror image side-1-floor(...). Pillow samples at
    floor(step*(i+0.5)+start); with 512 picks every value is exact in binary.
    """
    step = side / picked_side
    if backwards:
        return -step, side - _BEFORE_EDGE + step / 2
    return step, -step / 2


def _drawn(image: Image.Image) -> Image.Image:
    """Draw the luma of the image on a canvas of 512x512, smoothed as Chromium does it."""
    while min(image.size) >= 2 * WORKING_SIDE:
        image = _halved(image)
    # Multiples of 1/512 are exact in binary: so are the blends, and mirroring
    # the image mirrors the canvas to the bit.
    matrix = (image.width / WORKING_SIDE, 0.0, 0.0, 0.0, image.height / WORKING_SIDE, 0.0)
    grey = image.convert("L")
    return grey.transform(_CANVAS, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _halved(image: Image.Image) -> Image.Image:
    """Halve both sides by means of 2x2 pixels.

    An odd side counts its pixels 1-2-1, the mean of the two ways to pair
    them, so that neither edge is favoured.
    """
    width, height = (side // 2 * 2 for side in image.size)
    halves = [
        image.reduce(2, box=(left, top, left + width, top + height))
        for left in range(image.width % 2 + 1)
        for top in range(image.height % 2 + 1)
    ]
    if len(halves) == 1:
        return halves[0]
    total = np.sum([np.asarray(half, dtype=np.uint16) for half in halves], axis=0)
    return Image.fromarray((total // len(halves)).astype(np.uint8))
