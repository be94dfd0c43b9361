"""An exact multi-index over digests: far fewer comparisons than digests held.

See ``mih_arrays`` for the layout, ``mih_kernels`` for the procedure and why it is exact, and
``docs/adr/0007-exact-index.md`` for what was tried and measured.
"""

import functools
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from indexer.ann.flat import checked
from indexer.ann.mih_arrays import BANDS, MihArrays, build_arrays
from indexer.ports import Digests, Found

MAX_THRESHOLD_BITS = 2 * BANDS - 1
"""Sixteen bands, each probed up to one bit away: exact up to 31 bits."""

_FEW, _SIGNALS_A_QUERY = 512, 4096
"""Walking whole bands beats probing one query after the other from so many queries, and from
one query for so many signals."""

_CHUNK = 16_384
"""Queries that go through together: more would leave the nearest caches."""


class MihIndex:
    """Exact look-ups in a fixed set of digests, up to 31 bits away. Thread-safe."""

    def __init__(self, digests: Digests) -> None:
        """Index a copy of ``digests``, uint8[n, 32].

        Raises:
            InvalidDigestError: wrong shape or type.
            ValueError: more digests than 32-bit positions can name.
        """
        self._arrays = build_arrays(checked(digests))

    @property
    def arrays(self) -> MihArrays:
        """The index itself."""
        return self._arrays

    def __len__(self) -> int:
        """Count the digests held."""
        return len(self._arrays.digests)

    def find(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find every held digest within the threshold, 0-31; see ``AnnIndex.find``.

        A result takes 20 bytes a match, and 28 while it is made.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
            ValueError: a threshold below 0 or above 31.
        """
        return find_in(self._arrays, queries, threshold_bits=threshold_bits)


def find_in(arrays: MihArrays, queries: Digests, *, threshold_bits: int) -> Found:
    """Find in arrays, wherever they lie; see ``MihIndex.find``."""
    if not 0 <= threshold_bits <= MAX_THRESHOLD_BITS:
        raise ValueError(f"threshold_bits is 0 to {MAX_THRESHOLD_BITS}, not {threshold_bits}")
    bands = checked(queries).view(np.uint16)
    if not bands.flags.aligned:  # they start at an odd address inside other bytes
        bands = bands.copy()
    budgets = _budgets(threshold_bits)
    chunks = [
        _matches(arrays, bands[first : first + _CHUNK], budgets)
        for first in range(0, len(bands), _CHUNK)
    ]
    total = sum(map(len, chunks))
    rows, positions = np.empty(total, np.int64), np.empty(total, np.int64)
    distances = np.empty(total, np.int32)
    done = 0
    for number, matches in enumerate(chunks):
        part = slice(done, done + len(matches))
        rows[part] = (matches >> np.uint64(38)).astype(np.int64) + number * _CHUNK
        distances[part] = matches >> np.uint64(32) & np.uint64(0x3F)
        positions[part] = matches & np.uint64(0xFFFFFFFF)
        done += len(matches)
    return rows, positions, distances


def _matches(
    arrays: MihArrays, bands: NDArray[np.uint16], budgets: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return the matches of a chunk, packed as in ``mih_kernels`` and so in order."""
    kernels = load_kernels()
    few = len(bands) < max(_FEW, len(arrays.digests) // _SIGNALS_A_QUERY)
    kernel = kernels.find_few if few else kernels.find_many
    matches = np.empty(4 * len(bands) + 1024, np.uint64)
    while True:
        found = kernel(
            bands, arrays.digests, arrays.starts, arrays.positions, arrays.sketches,
            budgets, matches,
        )  # fmt: skip
        if found <= len(matches):
            matches = matches[:found]
            matches.sort()
            return matches
        matches = np.empty(found, np.uint64)


@functools.cache
def _budgets(threshold_bits: int) -> NDArray[np.int64]:
    """Spread threshold + 1 over the bands as evenly as can be."""
    return (threshold_bits + 1 + np.arange(BANDS)) // BANDS


@functools.cache
def load_kernels() -> ModuleType:
    """Load numba and the compiled kernels, so that what looks nothing up starts fast.

    Takes 0.4 s, and some seconds more the first time on a machine, to compile.
    """
    from indexer.ann import mih_kernels  # noqa: PLC0415

    return mih_kernels
