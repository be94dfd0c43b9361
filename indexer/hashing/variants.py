"""The eight dihedral variants of a path's hash, from four blocks.

A block sampled from mirrored pixels is not the mirrored block: neither the
picked rows nor the 64 sampling points lie symmetrically. So a path makes a
block for each of the four mirrorings; turning a block by swapping its rows and
columns is exact, since both axes are treated alike. The reference's own
shortcut, to change signs of coefficients, is some bits off and not used.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.pdq import Block, digests_of_blocks
from indexer.model import VARIANTS, Variant

UPRIGHT_ORIENTATION = 1

_BY_ORIENTATION = {
    1: Variant.UPRIGHT,
    2: Variant.MIRROR,
    3: Variant.TURN_180,
    4: Variant.FLIP,
    5: Variant.TRANSPOSE,
    6: Variant.TURN_270,
    7: Variant.TRANSVERSE,
    8: Variant.TURN_90,
}
"""What a viewer does to stored pixels under each EXIF orientation (CIPA DC-008, tag 274)."""


MIRRORINGS = 4
"""Blocks of a path: upright, mirror, flip, turn_180."""

HASHED = (
    Variant.UPRIGHT,
    Variant.MIRROR,
    Variant.FLIP,
    Variant.TURN_180,
    # The same four turned over their diagonal, as seen from the stored pixels.
    Variant.TRANSPOSE,
    Variant.TURN_90,
    Variant.TURN_270,
    Variant.TRANSVERSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What a path makes of an image and of its three mirrorings.

    Attributes:
        stack: float64[4, 64, 64], contiguous: upright, mirror, flip, turn_180.
    """

    stack: NDArray[np.float64] = field(repr=False)

    @property
    def upright(self) -> Block:
        """The block of the image as stored."""
        return np.asarray(self.stack[0])


def digests_of(blocks: Blocks, *, orientation: int = UPRIGHT_ORIENTATION) -> tuple[bytes, ...]:
    """Compute the digests of the eight variants, in the order of ``VARIANTS``.

    Args:
        blocks: of the pixels as stored.
        orientation: EXIF orientation, 1-8, to apply to the pixels first.
    """
    digests = digests_of_blocks(blocks.stack)
    return tuple(digests[source].tobytes() for source in _SOURCES[orientation])


def transform(pixels: NDArray[np.generic], variant: Variant) -> NDArray[np.generic]:
    """Do to an array of rows and columns what a variant's name says."""
    turns = {Variant.TURN_90: 1, Variant.TURN_180: 2, Variant.TURN_270: 3}
    if variant in turns:
        return np.rot90(pixels, turns[variant])
    if variant is Variant.MIRROR:
        return np.fliplr(pixels)
    if variant is Variant.FLIP:
        return np.flipud(pixels)
    if variant is Variant.UPRIGHT:
        return pixels
    swapped = np.swapaxes(pixels, 0, 1)
    return swapped if variant is Variant.TRANSPOSE else np.rot90(swapped, 2)


def _sources() -> dict[int, tuple[int, ...]]:
    """Say, for each orientation, which digest of the stored pixels is behind each variant.

    Two of the eight after another are again one of the eight; which one shows
    on a small array whose cells are all different.
    """
    cells = np.arange(6).reshape(2, 3)
    places = {_identity(transform(cells, hashed)): at for at, hashed in enumerate(HASHED)}
    return {
        orientation: tuple(
            places[_identity(transform(transform(cells, shown), variant))] for variant in VARIANTS
        )
        for orientation, shown in _BY_ORIENTATION.items()
    }


def _identity(cells: NDArray[np.generic]) -> tuple[tuple[int, ...], bytes]:
    return cells.shape, cells.tobytes()


_SOURCES = _sources()
