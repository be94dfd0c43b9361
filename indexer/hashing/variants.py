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

from indexer.hashing.pdq import Block, coefficients, digest_of
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What a path makes of an image and of its three mirrorings."""

    upright: Block = field(repr=False)
    mirror: Block = field(repr=False)
    flip: Block = field(repr=False)
    turn_180: Block = field(repr=False)


def digests_of(blocks: Blocks, *, orientation: int = UPRIGHT_ORIENTATION) -> tuple[bytes, ...]:
    """Compute the digests of the eight variants, in the order of ``VARIANTS``.

    Args:
        blocks: of the pixels as stored.
        orientation: EXIF orientation, 1-8, to apply to the pixels first.
    """
    upright, mirror, flip, turn_180 = (
        coefficients(block)
        for block in (blocks.upright, blocks.mirror, blocks.flip, blocks.turn_180)
    )
    stored = {
        Variant.UPRIGHT: digest_of(upright),
        Variant.MIRROR: digest_of(mirror),
        Variant.FLIP: digest_of(flip),
        Variant.TURN_180: digest_of(turn_180),
        Variant.TRANSPOSE: digest_of(upright.T),
        Variant.TURN_90: digest_of(mirror.T),
        Variant.TURN_270: digest_of(flip.T),
        Variant.TRANSVERSE: digest_of(turn_180.T),
    }
    return tuple(stored[source] for source in _SOURCES[orientation])


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


def _sources() -> dict[int, tuple[Variant, ...]]:
    """Name, for each orientation, the variant of the stored pixels behind each variant.

    Two of the eight after another are again one of the eight; which one shows
    on a small array whose cells are all different.
    """
    cells = np.arange(6).reshape(2, 3)
    names = {_identity(transform(cells, variant)): variant for variant in VARIANTS}
    return {
        orientation: tuple(
            names[_identity(transform(transform(cells, shown), variant))] for variant in VARIANTS
        )
        for orientation, shown in _BY_ORIENTATION.items()
    }


def _identity(cells: NDArray[np.generic]) -> tuple[tuple[int, ...], bytes]:
    return cells.shape, cells.tobytes()


_SOURCES = _sources()
