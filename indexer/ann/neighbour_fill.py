"""Filling ``NeighbourArrays``, compiled. Importing this module loads numba and compiles."""

from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.ann.lanes import compiled, lowest_one
from indexer.ann.mih_arrays import BAND_BITS, BANDS

_U16: TypeAlias = NDArray[np.uint16]
_U32: TypeAlias = NDArray[np.uint32]
_Int: TypeAlias = Any  # a whole number; numba finds out how wide


@compiled()
def flipped(group: _Int, flip: _Int) -> _Int:
    """Return a group for flip 0, and for flip k the one that differs in bit k - 1."""
    return group ^ (1 << flip >> 1)


@compiled()
def _mark(bands: _U16, band: _Int, bitmaps: _U32) -> None:
    """Set the bits of all values up to one bit away from a digest's."""
    for digest in range(len(bands)):
        for flip in range(BAND_BITS + 1):
            bit = band << BAND_BITS | flipped(np.int64(bands[digest, band]), flip)
            bitmaps[bit >> 5] |= np.uint32(1) << np.uint32(bit & 31)


@compiled(
    types.void(
        types.Array(types.uint16, 2, "C", readonly=True),
        types.uint32[::1],
        types.uint32[:, ::1],
        types.uint32[:, ::1],
        types.uint32[::1],
        types.uint32[::1],
    )
)
def fill(
    bands: _U16, bitmaps: _U32, own: _U32, positions: _U32, starts: _U32, sketches: _U32
) -> None:
    """Fill the arrays that ``empty_arrays`` made; ``bands`` are the digests, uint16[n, 16]."""
    groups = own.shape[1] - 1
    group_bits = BAND_BITS - lowest_one(np.uint64(groups))
    flips = BAND_BITS + 1 - group_bits
    held, ordered = np.empty(len(bands), np.int64), np.empty(len(bands), np.uint32)
    ends = np.empty(groups, np.int64)
    slot = np.int64(0)
    for band in range(BANDS):
        if bitmaps.size:
            _mark(bands, band, bitmaps)
        first = own[band]
        for digest in range(len(bands)):
            first[(np.int64(bands[digest, band]) >> group_bits) + 1] += 1
        for group in range(groups):
            first[group + 1] += first[group]
            ends[group] = first[group]
        for digest in range(len(bands)):
            group = np.int64(bands[digest, band]) >> group_bits
            place = ends[group]
            ends[group] += 1
            positions[band, place], held[place] = digest, group
            low = np.uint32(bands[digest, (band + 1) % BANDS])
            high = np.uint32(bands[digest, (band + 2) % BANDS])
            ordered[place] = low | high << np.uint32(BAND_BITS)
        for group in range(groups):
            starts[band * groups + group] = ends[group] = slot
            for flip in range(flips):
                source = flipped(group, flip)
                slot += np.int64(first[source + 1]) - np.int64(first[source])
        for flip in range(flips):
            for place in range(len(bands)):
                group = flipped(held[place], flip)
                sketches[ends[group]] = ordered[place]
                ends[group] += 1
    starts[BANDS * groups] = slot
