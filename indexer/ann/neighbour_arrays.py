"""The arrays of an index of few signals for very many queries.

As in ``mih_arrays`` a digest is sixteen bands of 16 bits and a *sketch* is the two bands that
follow a band. But here a signal is held under every value that is up to one bit away from its
own, so that a query looks at one place a band instead of seventeen.

Values that differ in the low bits alone share a *group*. Flipping a low bit stays in the
group, flipping a high bit leads to another one. So with groups of 2**k values a signal stands
in 17 - k groups a band: in its own, and in those 16 - k that differ in one high bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.ann.mih_arrays import BAND_BITS, BANDS, LANES

LINE = 16
"""Sketches that are compared at once; ``LANES`` where groups are long, and so many zeros stand
behind the last sketch."""

LONG_FROM = 30_000
"""Signals from which groups, then of one value each, are long."""

GROUP_OF_ROWS = 8
"""Queries that are compared at once with one signal."""

WORDS = 2
"""Words of 64 bits that are compared first: unrelated digests hardly ever agree in 97 of 128."""

COMPARED_UP_TO = 48
"""Signals up to which comparing every query with every signal is fastest."""

BITMAPS_UP_TO = 5_000
"""Signals up to which bitmaps pay; for more, nearly every value is near a signal."""

_GROUP_SIZE = 10
"""Sketches in a group on average, at most: few groups shall be longer than ``LINE``."""

_MOST_GROUP_BITS = 11

MAX_SIGNALS = 1 << 22
"""Slots are 32 bits wide; and other indexes are better long before."""


@dataclass(frozen=True, slots=True, repr=False)
class NeighbourArrays:
    """The index over n digests, with groups of 2**k values, g of them a band.

    Attributes:
        digests: uint8[n, 32], in the order given.
        bitmaps: uint32[16 * 2048]; bit v of a band's 65,536 is set where a digest's value is
            up to one bit away from v. Empty for more than ``BITMAPS_UP_TO``.
        own: uint32[16, g + 1]; the digests whose own value is in group j of a band are
            ``own[band, j]`` up to but not including ``own[band, j + 1]`` of ``positions[band]``.
        positions: uint32[16, n], rows of ``digests``.
        starts: uint32[16 * g + 1]; the sketches of group j of a band go from slot
            ``starts[band * g + j]`` up to the next start. First those of the digests whose
            own group it is, then of those whose lowest group bit is flipped, and so on.
        sketches: uint32[16 * (17 - k) * n + 32], the next band in the low half.
    """

    digests: NDArray[np.uint8]
    bitmaps: NDArray[np.uint32]
    own: NDArray[np.uint32]
    positions: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    sketches: NDArray[np.uint32]

    @property
    def size_bytes(self) -> int:
        """Count the bytes of all arrays."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)


def group_bits_for(count: int) -> int:
    """Choose how many low bits are left out of a group's number, 0 to 11."""
    for bits in range(_MOST_GROUP_BITS, 0, -1):
        if (BAND_BITS + 1 - bits) * count <= _GROUP_SIZE << (BAND_BITS - bits):
            return bits
    return 0


def empty_arrays(digests: NDArray[np.uint8]) -> NeighbourArrays:
    """Make room for the index over ``digests``, uint8[n, 32], which are not copied."""
    count = len(digests)
    bits = group_bits_for(count)
    groups = 1 << (BAND_BITS - bits)
    words = BANDS << (BAND_BITS - 5) if count <= BITMAPS_UP_TO else 0
    return NeighbourArrays(
        digests=digests,
        bitmaps=np.zeros(words, np.uint32),
        own=np.zeros((BANDS, groups + 1), np.uint32),
        positions=np.empty((BANDS, count), np.uint32),
        starts=np.empty(BANDS * groups + 1, np.uint32),
        sketches=np.zeros(BANDS * (BAND_BITS + 1 - bits) * count + LANES, np.uint32),
    )
