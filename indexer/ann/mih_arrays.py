"""The arrays of an exact multi-index over digests, and how they are built.

A digest of 256 bits is cut into sixteen bands of 16 bits. For each band the digests
are listed in the order of that band's value, so that all with one value, a bucket,
lie side by side; beside each stands a sketch, the 32 bits of the two bands that follow
(after the last band comes the first). Most of what a look-up reads is sketches.

All arrays are contiguous, little-endian and free of pointers: they can lie in a mapped file.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.model import DIGEST_BITS
from indexer.ports import Digests

BAND_BITS = 16
BANDS = DIGEST_BITS // BAND_BITS
BUCKETS = 1 << BAND_BITS

LANES = 32
"""Sketches that are compared at once; so many zeros stand behind each band's last sketch."""

MAX_SIGNALS = (1 << 32) - LANES
"""Positions are 32 bits wide."""


@dataclass(frozen=True, slots=True, repr=False)
class MihArrays:
    """The index over n digests. 160 bytes a digest and 4 MiB.

    Attributes:
        digests: uint64[n, 4], the digests' bytes in the order given.
        starts: uint32[16, 65537]; bucket v of a band is ``starts[band, v]`` up to but not
            including ``starts[band, v + 1]`` in the two arrays below.
        positions: uint32[16, n], rows of ``digests``, ascending inside a bucket.
        sketches: uint32[16, n + 32], the next band in the low half, the one after it in the
            high half.
    """

    digests: NDArray[np.uint64]
    starts: NDArray[np.uint32]
    positions: NDArray[np.uint32]
    sketches: NDArray[np.uint32]

    @property
    def size_bytes(self) -> int:
        """Count the bytes of all arrays."""
        return sum(
            array.nbytes for array in (self.digests, self.starts, self.positions, self.sketches)
        )


def build_arrays(digests: Digests) -> MihArrays:
    """Index digests, uint8[n, 32] and contiguous; they are copied.

    Raises:
        ValueError: more than ``MAX_SIGNALS``.
    """
    count = len(digests)
    if count > MAX_SIGNALS:
        raise ValueError(f"one index holds up to {MAX_SIGNALS} digests, not {count}")
    digests = digests.copy()
    bands = digests.view(np.uint16)
    starts = np.zeros((BANDS, BUCKETS + 1), np.uint32)
    positions = np.empty((BANDS, count), np.uint32)
    sketches = np.zeros((BANDS, count + LANES), np.uint32)
    for band in range(BANDS):
        values = bands[:, band].copy()
        starts[band, 1:] = np.cumsum(np.bincount(values, minlength=BUCKETS))
        # For 16 bits numpy's stable sort is a radix sort: linear.
        positions[band] = order = np.argsort(values, kind="stable")
        sketches[band, :count] = sketches_of(bands, band)[order]
    return MihArrays(digests.view(np.uint64), starts, positions, sketches)


def sketches_of(bands: NDArray[np.uint16], band: int) -> NDArray[np.uint32]:
    """Return the sketches of digests, given as uint16[n, 16], beside one band: uint32[n]."""
    low, high = (bands[:, (band + ahead) % BANDS].astype(np.uint32) for ahead in (1, 2))
    return low | high << np.uint32(BAND_BITS)
